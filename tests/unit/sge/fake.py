"""A fake Grid Engine for tests: the executables of tests/fakebin/sge.

Owns its set-up. Read next: ../commandline/fakecluster.py, what a test asks of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from batchsystems.commandline.adapter import CommandLine
from batchsystems.commandline.factory import AdapterOf
from batchsystems.commandline.pacing import Timeouts
from batchsystems.sge.dialect import SgeDialect
from batchsystems.sge.settings import SgeSettings
from tests.unit.commandline.fakecluster import BRIEF, QUICK, FakeCluster, on_path

HEADER = "# Version: 8.1.9\n# \n# DO NOT MODIFY THIS FILE MANUALLY!\n# \n"


class FakeSge(FakeCluster):
    """A fake cell's directory. Jobs have run there before, so that it has an accounting file."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        self.accounting.parent.mkdir(parents=True)
        self.accounting.write_text(HEADER)

    @property
    def accounting(self) -> Path:
        """Return where its accounting file is."""
        return self.top / "default" / "common" / "accounting"


def use(monkeypatch: pytest.MonkeyPatch, top: Path) -> FakeSge:
    """Put a fake Grid Engine first on PATH."""
    fake = FakeSge(top)
    on_path(monkeypatch, "sge")
    monkeypatch.setenv("SGE_ROOT", str(top))
    monkeypatch.delenv("SGE_CELL", raising=False)
    return fake


def quick(settings: SgeSettings | None = None, timeouts: Timeouts = BRIEF) -> CommandLine:
    """Return an adapter that does not make a test wait."""
    return AdapterOf(SgeDialect)(settings, QUICK, timeouts)
