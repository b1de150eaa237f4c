"""Fake schedulers for tests: executables over a directory of their own, and what to ask of them.

Owns what all fakes have in common, and graces that make no test wait. Read next:
tests/fakebin/fakecluster.py, the fakes themselves; ../slurm/fake.py, ../sge/fake.py.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from batchsystems.commandline.pacing import Pace, Timeouts

FAKEBIN = Path(__file__).parents[2] / "fakebin"

QUICK = Pace(submits_per_s=100, queries_per_minute=6000, poll_s=0.5)
"""A pace for tests that should not take long."""

BRIEF = Timeouts(
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
    held_s=0.2,
    stale_s=0.3,
    kill_again_s=2,
    reason_s=0.2,
)
"""Graces for tests that should not take long."""


class FakeCluster:
    """A fake's directory, and what happened there."""

    def __init__(self, top: Path) -> None:
        self.top = top
        top.mkdir()
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

    def states(self) -> list[str]:
        """Return the states of all tasks of all submissions."""
        return [task["state"] for sub in self.submissions() for task in sub["tasks"]]

    def rename(self, native: str, name: str) -> None:
        """Give a submission another name, as if its id had been used again."""
        path = self.top / "jobs" / f"{native}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"name": name}))

    def forget(self, native: str) -> None:
        """Lose a submission, as a controller killed at the wrong moment does."""
        (self.top / "jobs" / f"{native}.json").unlink()


def on_path(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """Put the fake commands of one scheduler first on PATH."""
    monkeypatch.setenv("PATH", f"{FAKEBIN / folder}{os.pathsep}{os.environ['PATH']}")
