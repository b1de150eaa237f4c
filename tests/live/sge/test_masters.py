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

Plant = Callable[..., Tree]

pytestmark = pytest.mark.parametrize("system", ["sge"])


@pytest.mark.parametrize("who", ["root", "an ordinary user"])
def test_the_examples_finish_with_the_right_result(
    plant: Plant, who: str, ordinary_user: struct_passwd, open_tmp_path: Path
) -> None:
    user = None if who == "root" else ordinary_user
    assert_examples_are_right(plant, user, open_tmp_path)


MANY = 300

MANY_BODY = f"""
class Root(Target):
    def run(self):
        for number in range({MANY}):
            self.addChildTarget(Leaf(number))
        self.setFollowOnTarget(Sum())
class Leaf(Target):
    def __init__(self, number):
        super().__init__(memory="100M", time=60)
        self.number = number
    def run(self):
        note("began", str(self.number))
        wait_for("early" if self.number % 2 else "late")
        note("ran", str(self.number))
class Sum(Target):
    def run(self):
        note("sum", str(sum(int(line) for line in open("ran"))))
"""


def test_a_killed_masters_jobs_are_adopted_and_none_runs_twice(plant_wide: Plant) -> None:
    tree = plant_wide()
    tree.write(MANY_BODY)
    master = tree.start()
    tree.wait_queued(MANY, "Leaf")
    tree.wait_for_lines("began", 8)
    master.kill()
    tree.open("early")
    ended_meanwhile = len(tree.wait_for_lines("ran", 4))
    heir = tree.restart()
    heir.wait_for_word("adopted ")
    adopted = int(heir.said.partition("adopted ")[2].split()[0])
    assert adopted >= MANY, heir.said
    print(f"adopted {adopted}; {ended_meanwhile} had ended while there was no master")
    assert tree.queued("Leaf", "r")
    assert tree.queued("Leaf", "qw")
    tree.open("late")
    tree.assert_done(heir.end())
    assert sorted(map(int, tree.lines("ran"))) == list(range(MANY))
    assert tree.lines("sum") == [str(sum(range(MANY)))]
    runs = tree.ended_runs(MANY, "Leaf")
    assert Counter(run.end for run in runs) == {("0", "0"): MANY}


LEVEL_BODY = """
class Root(Target):
    def run(self):
        for number in range(1000):
            self.addChildTarget(Leaf(number))
        self.setFollowOnTarget(Sum())
class Leaf(Target):
    def __init__(self, number):
        super().__init__(memory="100M", time=None)
        self.number = number
    def run(self):
        note("ran", str(self.number))
class Sum(Target):
    def run(self):
        note("sum", str(sum(int(line) for line in open("ran"))))
"""

MOST_TIMES_BARE = 8.0
"""Each job of a tree starts a Python; those of the bare array start nothing of that size."""


@pytest.mark.timeout(600)
def test_a_thousand_like_jobs_take_five_commands(
    wide: Lab, bare_thousand_s: float, plant_wide: Plant
) -> None:
    tree = plant_wide(brisk=False)
    tree.write(LEVEL_BODY)
    tree.bin = counting_clients(tree.home / "bin", CLIENTS, wide.env["PATH"])
    began = time.monotonic()
    tree.run(limit_s=500)
    took_s = time.monotonic() - began
    assert tree.lines("sum") == [str(sum(range(1000)))]
    assert len(set(tree.lines("ran"))) == len(tree.lines("ran")) == 1000
    assert Counter(run.end for run in tree.ended_runs(1000, "Leaf")) == {("0", "0"): 1000}
    made = calls(tree.bin)
    _, level, follow_on = (at for at, name in enumerate(made) if name == "qsub")
    print("all commands:", " ".join(made))
    ratio = took_s / bare_thousand_s
    print(f"bare array {bare_thousand_s:.1f} s, whole tree {took_s:.1f} s, ratio {ratio:.2f}")
    most = 5 + max(0.0, took_s - FIVE_LAST_S) / POLL_S
    assert follow_on - level <= most, "from the submission of the thousand to the end of the last"
    assert took_s < MOST_TIMES_BARE * bare_thousand_s
