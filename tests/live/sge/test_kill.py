"""Trees on a real Grid Engine that are killed: nothing of them is left in the queue.

Read next: ../workflows.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.live.sge.lab import Lab
from tests.live.sge.trees import Tree
from tests.live.trees import POLICY, planting
from tests.live.workflows import kill_while_the_scheduler_is_away, kill_with_and_without_a_master

COUNT = 20


def test_kill_leaves_none_in_the_queue_whether_a_master_lives_or_not(
    sge: Lab, plant: Callable[..., Tree]
) -> None:
    kill_with_and_without_a_master(plant(), COUNT, len(sge.hosts) * sge.slots)


def test_kill_without_a_qmaster_says_what_is_open_and_finishes_when_it_is_back(
    sge: Lab, open_tmp_path: Path
) -> None:
    """Not by DRMAA: of such jobs Grid Engine then holds back the ends."""
    with planting(partial(Tree, "sge"), sge, open_tmp_path) as plant:
        tree = plant(constants={POLICY: {"kill_s": 12.0}})
        stop, start = (partial(sge.fault, f"{verb}-master") for verb in ("kill", "start"))
        at_once = len(sge.hosts) * sge.slots
        kill_while_the_scheduler_is_away(tree, COUNT, at_once, stop, start)
