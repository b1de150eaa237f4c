"""A fake Slurm for tests: the executables of tests/fakebin/slurm over a directory of their own.

Owns its set-up and what a test asks of it. Read next: tests/fakebin/slurm/fakeslurm.py.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from batchsystems.commandline.pacing import Pace, Patience
from batchsystems.slurm import Slurm
from batchsystems.slurmwords import SlurmSettings

FAKEBIN = Path(__file__).parents[1] / "fakebin" / "slurm"

QUICK = Pace(submits_per_s=100, queries_per_minute=6000, poll_s=0.5, poll_min_s=0.05)
"""A pace for tests that should not take long."""

BRIEF = Patience(
    submit_s=10,
    query_s=10,
    kill_s=10,
    visibility_s=0.6,
    two_looks_s=0.3,
    absence_s=0.5,
    history_s=30,
    history_pause_s=0.2,
    hold_s=0.1,
    hold_most_s=0.5,
    stale_s=0.3,
    kill_again_s=2,
)
"""Graces for tests that should not take long."""


class FakeSlurm:
    """The fake's directory, and what happened there."""

    def __init__(self, top: Path) -> None:
        self.top = top
        top.mkdir()
        (top / "slurm.conf").write_text("# only its directory counts\n")
        (top / "python").write_text(f"{sys.executable}\n")

    def configure(self, **values: Any) -> None:
        """Change how the fake is, before it is used."""
        (self.top / "config.json").write_text(json.dumps(values))

    def fault(self, command: str, do: str, times: int = 1, **more: Any) -> None:
        """Have the next runs of a command go wrong."""
        path = self.top / "faults.json"
        known = json.loads(path.read_text()) if path.exists() else []
        path.write_text(json.dumps([*known, {"command": command, "do": do, "times": times} | more]))

    def heal(self) -> None:
        """End all faults."""
        (self.top / "faults.json").unlink(missing_ok=True)

    def calls(self, command: str = "") -> list[list[str]]:
        """Return the argument lists of the commands run so far."""
        path = self.top / "calls.log"
        lines = path.read_text().splitlines() if path.exists() else []
        every: list[list[str]] = [json.loads(line) for line in lines]
        return [call for call in every if command in ("", call[0])]

    def submissions(self) -> list[dict[str, Any]]:
        """Return what the fake knows of each submission."""
        paths = sorted((self.top / "jobs").glob("*.json"), key=lambda path: int(path.stem))
        return [json.loads(path.read_text()) for path in paths]

    def forget(self, native: str) -> None:
        """Lose a submission, as a controller killed at the wrong moment does."""
        (self.top / "jobs" / f"{native}.json").unlink()


def use(monkeypatch: pytest.MonkeyPatch, top: Path) -> FakeSlurm:
    """Put a fake Slurm first on PATH."""
    fake = FakeSlurm(top)
    monkeypatch.setenv("PATH", f"{FAKEBIN}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_CONF", str(top / "slurm.conf"))
    return fake


def quick(settings: SlurmSettings | None = None, patience: Patience = BRIEF) -> Slurm:
    """Return an adapter that does not make a test wait."""
    return Slurm(settings, QUICK, patience)
