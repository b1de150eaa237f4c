"""Masters that die or are told to stop while a real Slurm has their jobs: who runs what, how often.

Owns the life of masters; what happens to nodes and services is tested elsewhere.
Read next: trees.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from tests.live.slurm.lab import Lab
from tests.live.slurm.trees import Tree
from tests.live.trees import POLICY
from tests.live.workflows import (
    kill_a_master_and_restart,
    kill_while_the_scheduler_is_away,
    kill_with_and_without_a_master,
)

Plant = Callable[..., Tree]

MANY = 500
AT_ONCE = 32
"""As many jobs of one processor as the nodes have."""


def test_a_killed_masters_jobs_are_adopted_and_none_runs_twice(plant: Plant) -> None:
    runs = kill_a_master_and_restart(plant(), MANY)
    assert Counter(run.state for run in runs) == {"COMPLETED": MANY}


def test_kill_leaves_none_in_the_queue_whether_a_master_lives_or_not(plant: Plant) -> None:
    kill_with_and_without_a_master(plant(), 60, AT_ONCE)


def test_kill_without_a_controller_says_what_is_open_and_finishes_when_it_is_back(
    slurm: Lab, plant: Plant
) -> None:
    tree = plant(constants={POLICY: {"kill_s": 12.0}})
    stop, start = (partial(slurm.fault, f"{verb}-controller") for verb in ("stop", "start"))
    kill_while_the_scheduler_is_away(tree, 60, AT_ONCE, stop, start)
