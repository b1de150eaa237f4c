"""Conformance: the contract of batch systems as tests, for adapters of any package.

    from batchsystems.conformance import Conformance

    class TestMine(Conformance):
        @pytest.fixture
        def make(self, tmp_path):
            return lambda: Mine(str(tmp_path))    # each call: an instance over the same jobs

Owns the suite and what tests of an adapter may want besides; needs pytest, which nothing else
here does. Read next: suite.py; ../pytest_plugin.py, by which pytest knows of it.
"""

from __future__ import annotations

from batchsystems.conformance.suite import Conformance
from batchsystems.conformance.watching import PATIENCE_S, Watcher, end_all, gated, sh, wait_for

__all__ = ["PATIENCE_S", "Conformance", "Watcher", "end_all", "gated", "sh", "wait_for"]
