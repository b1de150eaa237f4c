"""Planted faults that only the real engine's commands show: bugs this simulator once found.

Owns them; must not break the checker. Read next: planted.py, all others; test_commands.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from batchsystems.commandline import clock_offset, reconcile
from batchsystems.commandline.abandoned import Abandoned
from batchsystems.commandline.clock_offset import SchedulerClock
from batchsystems.commandline.reconcile import Reconciler
from jobtree.master import run_state
from tests.simulation.planted import Plant


def names_shared(patch: pytest.MonkeyPatch) -> None:
    """A name tells the class, the tree's base name, epoch and number: other trees have it too."""

    def without_id(label: str, tree_name: str, tree_id: str, epoch: int, number: int) -> str:
        return f"j-{label}-{tree_name}.{epoch}-{number}"

    patch.setattr(run_state, "submission_name", without_id)


def dropped_by_a_clock(patch: pytest.MonkeyPatch) -> None:
    """What was submitted long before its intent, by the scheduler's clock, is another's."""
    owner = Reconciler._owner

    def strict(self: Reconciler, sighting: Any, now: float) -> Any:
        job = owner(self, sighting, now)
        intent = 0.0 if job is None else job.begun + self.clock._epoch() - now
        return None if (sighting.submitted or intent) < intent - 300 else job

    patch.setattr(Reconciler, "_owner", strict)


def clock_not_learnt(patch: pytest.MonkeyPatch) -> None:
    """The scheduler's clock is taken to be ours."""
    patch.setattr(SchedulerClock, "learn", lambda *_: None)
    for module in (clock_offset, reconcile):
        patch.setattr(module, "bounded", lambda job, running_s, now: max(0.0, running_s))


def given_up_and_left(patch: pytest.MonkeyPatch) -> None:
    """What was given up is left to run when it shows again."""
    patch.setattr(Abandoned, "is_due", lambda *_: False)


COMMAND_FORCED: dict[str, dict[str, float]] = {
    "was there: names that other trees have": {"namesake submits": 0.5, "predecessor submits": 0.5},
    "was there: a job dropped by a clock": {"clocks differ": 1.0},
    "was there: run times by two clocks": {"clocks differ": 1.0},
    "was there: given up, and never killed": {"job absent for a while": 0.7},
}

COMMAND_PLANTS: dict[str, Plant] = {
    "was there: names that other trees have": names_shared,
    "was there: a job dropped by a clock": dropped_by_a_clock,
    "was there: run times by two clocks": clock_not_learnt,
    "was there: given up, and never killed": given_up_and_left,
}
