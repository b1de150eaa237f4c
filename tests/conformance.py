"""The conformance suite by the name under which tests here have always known it.

Owns nothing. Read next: batchsystems/conformance/.
"""

from __future__ import annotations

from batchsystems.conformance import (
    PATIENCE_S,
    Conformance,
    Watcher,
    end_all,
    gated,
    sh,
    wait_for,
)

__all__ = ["PATIENCE_S", "Conformance", "Watcher", "end_all", "gated", "sh", "wait_for"]
