"""A fake DRMAA library for tests: the Python package in tests/fakebin/drmaa, over a directory.

Owns its set-up. Read next: ../commandline/fakecluster.py, what a test asks of it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from batchsystems.commandline.pacing import Timeouts
from batchsystems.drmaa.adapter import Drmaa
from batchsystems.drmaa.settings import DrmaaSettings
from batchsystems.sge.settings import SgeSettings
from tests.unit.commandline.fakecluster import BRIEF, FAKEBIN, QUICK, FakeCluster

SLOW = replace(BRIEF, submit_s=1.5, query_s=1.5, visibility_s=1.0)
"""Graces that give a library time to hang."""


class FakeDrmaa(FakeCluster):
    """A fake's directory, and that in which an adapter keeps its records."""

    @property
    def records(self) -> Path:
        """Return where the adapter keeps its records."""
        return self.top / "records"

    def quick(
        self,
        settings: DrmaaSettings | None = None,
        timeouts: Timeouts = BRIEF,
        sge: SgeSettings | None = None,
    ) -> Drmaa:
        """Return an adapter that does not make a test wait; all have the same records."""
        return Drmaa(settings, sge, None, QUICK, timeouts, str(self.records))

    @property
    def asked(self) -> str:
        """Return the native specification of the last submission."""
        return str(self.submissions()[-1]["native"])


def use(monkeypatch: pytest.MonkeyPatch, top: Path) -> FakeDrmaa:
    """Have processes that load the Python package drmaa find the fake."""
    fake = FakeDrmaa(top)
    path = os.pathsep.join(p for p in (str(FAKEBIN / "drmaa"), os.environ.get("PYTHONPATH")) if p)
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("FAKE_DRMAA", str(top))
    monkeypatch.setenv("SGE_ROOT", str(top))
    monkeypatch.setenv("DRMAA_LIBRARY_PATH", os.path.realpath(sys.executable))
    return fake
