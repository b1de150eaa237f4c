"""Conformance: the contract of batch systems as tests, for adapters of any package.

    from batchsystems.conformance import Conformance

    class TestMine(Conformance):
        @pytest.fixture
        def make(self, tmp_path):
            return lambda: Mine(str(tmp_path))    # each call: an instance over the same jobs

Owns the suite and what tests of an adapter may want besides; needs pytest, which nothing else
here does. Read next: suite.py; plugin.py, which pytest loads first, so that it rewrites assertions.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchsystems.conformance.suite import Conformance
    from batchsystems.conformance.watching import PATIENCE_S, Watcher, end_all, gated, sh, wait_for

__all__ = ["PATIENCE_S", "Conformance", "Watcher", "end_all", "gated", "sh", "wait_for"]


def __getattr__(name: str) -> object:
    """Import what is asked for when it is."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "suite" if name == "Conformance" else "watching"
    return getattr(import_module(f"{__name__}.{home}"), name)
