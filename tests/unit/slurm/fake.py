"""A fake Slurm for tests: the executables of tests/fakebin/slurm.

Owns its set-up. Read next: ../commandline/fakecluster.py, what a test asks of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from batchsystems.commandline.adapter import CommandLine
from batchsystems.commandline.factory import AdapterOf
from batchsystems.commandline.pacing import Timeouts
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.slurm.settings import SlurmSettings
from tests.unit.commandline.fakecluster import BRIEF, QUICK, FakeCluster, on_path


class FakeSlurm(FakeCluster):
    """A fake Slurm's directory."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        (top / "slurm.conf").write_text("# only its directory counts\n")


def use(monkeypatch: pytest.MonkeyPatch, top: Path) -> FakeSlurm:
    """Put a fake Slurm first on PATH."""
    fake = FakeSlurm(top)
    on_path(monkeypatch, "slurm")
    monkeypatch.setenv("SLURM_CONF", str(top / "slurm.conf"))
    return fake


def quick(settings: SlurmSettings | None = None, timeouts: Timeouts = BRIEF) -> CommandLine:
    """Return an adapter that does not make a test wait."""
    return AdapterOf(SlurmDialect)(settings, QUICK, timeouts)
