"""Masters that die or are told to stop while a real Slurm has their jobs: who runs what, how often.

Owns the life of masters; what happens to nodes and services is tested elsewhere.
Read next: trees.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from tests.live.slurm.lab import Lab
from tests.live.slurm.trees import Tree
from tests.live.workflows import kill_a_master_and_restart

Plant = Callable[..., Tree]

MANY = 500


def test_a_killed_masters_jobs_are_adopted_and_none_runs_twice(plant: Plant) -> None:
    runs = kill_a_master_and_restart(plant(), MANY, "RUNNING", "PENDING")
    assert Counter(run.state for run in runs) == {"COMPLETED": MANY}


KILL_BODY = """
class Root(Target):
    def run(self):
        for number in range(60):
            self.addChildTarget(Leaf(number))
class Leaf(Target):
    def __init__(self, number):
        super().__init__(memory="100M", time=60)
        self.number = number
    def run(self):
        note("began", str(self.number))
        wait_for("gate")
        note("ran", str(self.number))
"""


def test_kill_leaves_none_in_the_queue_whether_a_master_lives_or_not(plant: Plant) -> None:
    tree = plant()
    tree.write(KILL_BODY)
    for master_lives in (True, False):
        master = tree.start()
        tree.wait_queued(20, "Leaf", "RUNNING")
        assert tree.queued("Leaf", "PENDING")
        if not master_lives:
            master.kill()
        asked = time.monotonic()
        killed = tree.verb("kill").end()
        took_s = time.monotonic() - asked
        print(f"master lives: {master_lives}; killed in {took_s:.1f} s")
        assert killed.status == 0, killed.said
        assert tree.queued() == []
        assert took_s < 60
        if master_lives:
            assert master.end().status == 1
    tree.open("gate")
    tree.assert_done(tree.restart().end())
    assert sorted(map(int, tree.lines("ran"))) == list(range(60))


def test_kill_without_a_controller_says_what_is_open_and_finishes_when_it_is_back(
    slurm: Lab, plant: Plant
) -> None:
    tree = plant(rescue={"kill": 12})
    tree.write(KILL_BODY)
    master = tree.start()
    tree.wait_queued(20, "Leaf", "RUNNING")
    assert len(tree.wait_queued(60, "Leaf")) == 60
    slurm.fault("stop-controller")
    told = tree.verb("kill").end()
    assert told.status == 4, told.said
    assert "could not be confirmed" in told.said
    open_names = [line for line in told.said.splitlines() if line.startswith("  j-Leaf-")]
    assert len(open_names) == 60
    assert master.end().status == 1
    slurm.fault("start-controller")
    assert len(tree.queued("Leaf")) == 60, "nothing of it has ended by itself"
    began = len(tree.lines("began"))
    again = tree.verb("kill").end()
    assert again.status == 0, again.said
    assert tree.queued() == []
    assert len(tree.lines("began")) == began, "what was to be killed began nothing more"
    tree.open("gate")
    tree.assert_done(tree.restart().end())
    assert sorted(map(int, tree.lines("ran"))) == list(range(60))
