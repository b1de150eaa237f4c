"""Masters of trees that die while a real Grid Engine has their jobs: who runs what, how often.

Owns the life of masters, and what goes well with many jobs. Read next: trees.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from pwd import struct_passwd

import pytest

from tests.live.examples import assert_examples_are_right
from tests.live.sge.lab import Lab
from tests.live.sge.trees import CLIENTS, Tree
from tests.live.trees import FIVE_LAST_S, POLL_S, calls, counting_clients
from tests.live.workflows import assert_level_ran_once, kill_a_master_and_restart, write_level

Plant = Callable[..., Tree]

pytestmark = pytest.mark.parametrize("system", ["sge"])


@pytest.mark.parametrize("who", ["root", "an ordinary user"])
def test_the_examples_finish_with_the_right_result(
    plant: Plant, who: str, ordinary_user: struct_passwd, open_tmp_path: Path
) -> None:
    user = None if who == "root" else ordinary_user
    assert_examples_are_right(plant, user, open_tmp_path)


MANY = 300


def test_a_killed_masters_jobs_are_adopted_and_none_runs_twice(plant_wide: Plant) -> None:
    runs = kill_a_master_and_restart(plant_wide(), MANY, "r", "qw")
    assert Counter(run.end for run in runs) == {("0", "0"): MANY}


MOST_TIMES_BARE = 8.0
"""Each job of a tree starts a Python; those of the bare array start nothing of that size."""


@pytest.mark.timeout(600)
def test_a_thousand_like_jobs_take_five_commands(
    wide: Lab, bare_thousand_s: float, plant_wide: Plant
) -> None:
    tree = plant_wide(brisk=False)
    write_level(tree, 1000, None)
    tree.bin = counting_clients(tree.home / "bin", CLIENTS, wide.env["PATH"])
    began = time.monotonic()
    tree.run(limit_s=500)
    took_s = time.monotonic() - began
    assert_level_ran_once(tree, 1000)
    assert Counter(run.end for run in tree.ended_runs(1000, "Leaf")) == {("0", "0"): 1000}
    made = calls(tree.bin)
    _, level, follow_on = (at for at, name in enumerate(made) if name == "qsub")
    print("all commands:", " ".join(made))
    ratio = took_s / bare_thousand_s
    print(f"bare array {bare_thousand_s:.1f} s, whole tree {took_s:.1f} s, ratio {ratio:.2f}")
    most = 5 + max(0.0, took_s - FIVE_LAST_S) / POLL_S
    assert follow_on - level <= most, "from the submission of the thousand to the end of the last"
    assert took_s < MOST_TIMES_BARE * bare_thousand_s
