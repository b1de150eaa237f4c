"""The master's waits for an end: it sleeps, whatever has been due or rung since its last turn."""

from __future__ import annotations

import os
import selectors
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from batchsystems.clock import MachineClock
from batchsystems.interface import Accepted
from jobtree.master import loop
from tests.unit.master.world import NEEDS, world


class Counted(selectors.DefaultSelector):
    """Counts how often anything was waited for."""

    waits = 0

    def select(self, timeout: float | None = None) -> Any:
        Counted.waits += 1
        return super().select(timeout)


@pytest.fixture
def overdue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[loop.Master]:
    """Make a master with a job that does not end, whose bell rings and whose timers are due."""
    ringing, other = os.pipe()
    os.write(other, b"x")
    with world(tmp_path, NEEDS, wait_s=0.0) as it:
        (issue,) = it.turn()
        it.hears(issue, Accepted("1"))
        it.mailbox.bell = SimpleNamespace(address=None, fileno=lambda: ringing)
        scheduler: Any = it.scheduler
        scheduler.getUpdatedJobs, scheduler.fileno = dict, lambda: None
        it.run.clock = MachineClock()
        it.run.policy = it.run.policy._replace(kill_s=0.5)
        lease: Any = SimpleNamespace(keep=lambda: None)
        with closing(loop.Master(it.run, lease)) as master:
            master._swept_at = master._controlled_at = master._looked_at = -1e9
            monkeypatch.setattr(Counted, "waits", 0)
            monkeypatch.setattr(selectors, "DefaultSelector", Counted)
            yield master
    os.close(ringing)
    os.close(other)


def test_the_master_sleeps_while_it_waits_for_the_end_of_what_it_killed(
    overdue: loop.Master,
) -> None:
    assert len(overdue.kill_everything("the user's kill")) == 1
    assert 1 <= Counted.waits <= 4


def test_the_master_sleeps_while_it_waits_for_a_second_interrupt(
    overdue: loop.Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LINGER_S", 0.3)
    overdue.interrupt(may_kill=True)
    overdue._linger()
    assert 1 <= Counted.waits <= 3
