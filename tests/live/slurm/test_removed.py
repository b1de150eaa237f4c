"""Jobs that Slurm, an administrator or jobTree itself takes away: each is issued again.

Owns what somebody wanted; what merely breaks is in test_nodes.py and test_outages.py.
Read next: trees.py.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.flows import ROOT
from tests.live.slurm.lab import Lab
from tests.live.slurm.trees import Tree
from tests.live.trees import POLICY
from tests.live.waiting import eventually

Plant = Callable[..., Tree]

LEAVES_BODY = """
class Root(Target):
    def run(self):
        for number in range(COUNT):
            self.addChildTarget(Leaf(number))
class Leaf(Target):
    def __init__(self, number):
        super().__init__(memory="100M", time=60, cpu=CPU)
        self.number = number
    def run(self):
        note("began", f"{self.number}/{batch_id()}/{os.environ['SLURMD_NODENAME']}")
        wait_for("gate")
        note("ran", str(self.number))
"""


def leaves(tree: Tree, count: int, cpu: int = 1) -> None:
    tree.write(f"COUNT, CPU = {count}, {cpu}\n{LEAVES_BODY}")


def assert_each_once(tree: Tree, count: int) -> None:
    assert sorted(map(int, tree.lines("ran"))) == list(range(count))


def test_a_preempted_job_runs_again_and_nobody_is_charged(slurm: Lab, plant: Plant) -> None:
    """Both ways of preemption at once: each tree has half of the nodes, and loses all of it."""
    trees = [plant(slurm={"partition": name}) for name in ("low", "lowkill")]
    half = len(slurm.nodes) // 2
    masters = []
    for tree in trees:
        leaves(tree, half, cpu=8)
        masters.append(tree.start())
        tree.wait_for_lines("began", half)
    for node in slurm.nodes:  # by name: one that is free again would serve the next as well
        slurm.submit("-p", "high", "-w", node, "-c", "8", "--wrap", "true")
    for tree, master in zip(trees, masters, strict=True):
        tree.wait_for_lines("began", 2 * half)
        tree.open("gate")
        ended = master.end()
        tree.assert_done(ended)
        assert_each_once(tree, half)
        assert "failed job" not in ended.said
        assert ended.said.count(": preempted on ") == half
        states = Counter(run.state for run in tree.ended_runs(2 * half, "Leaf"))
        assert states == {"PREEMPTED": half, "COMPLETED": half}


def test_requeued_cancelled_and_drained_by_an_administrator(slurm: Lab, plant: Plant) -> None:
    tree = plant()
    leaves(tree, 40)
    master = tree.start()
    begun = [line.split("/") for line in tree.wait_for_lines("began", 32)]
    requeued, cancelled = begun[0], begun[1]
    pending = tree.wait_queued(8, "Leaf", "PENDING")[-1]
    slurm.fault("drain", cancelled[2])
    slurm.run("scontrol", "update", f"job={requeued[1]}", "requeue=1")
    slurm.fault("requeue", requeued[1])
    slurm.run("scancel", cancelled[1])
    slurm.run("scancel", pending)
    tree.wait_ended(requeued[1], cancelled[1], states=("RUNNING", "COMPLETING"))
    tree.open("gate")
    ended = master.end()
    later = [line.split("/") for line in tree.lines("began")[32:]]
    assert cancelled[2] not in {line[2] for line in later}, "a drained node begins nothing"
    assert {requeued[0], cancelled[0]} <= {line[0] for line in later}
    tree.assert_done(ended)
    assert_each_once(tree, 40)
    assert ended.said.count("lost job=") == 2, "those cancelled; who was requeued is not charged"
    assert "failed job" not in ended.said
    runs = tree.ended_runs(
        40 + 3, "Leaf"
    )  # of a waiting task that is cancelled Slurm keeps nothing
    of_requeued = [run for run in runs if run.job == requeued[1]]
    assert [run.state for run in of_requeued] == ["REQUEUED", "FAILED"]
    assert of_requeued[1].code == "75:0", "its copy met the claim of its dead first run"


def test_ends_that_only_accounting_remembers(slurm: Lab, plant: Plant) -> None:
    tree = plant()
    leaves(tree, 6)
    with slurm.configured(MinJobAge="2"):
        master = tree.start()
        begun = [line.split("/") for line in tree.wait_for_lines("began", 6)]
        master.signal(signal.SIGSTOP)
        slurm.run("scancel", begun[0][1])
        tree.wait_ended(begun[0][1])
        tree.open("gate")
        eventually(
            "the queue has forgotten them",
            lambda: slurm.run("squeue", "-h", "-t", "all", "-o", "%A").stdout,
            lambda told: not told,
        )
        master.signal(signal.SIGCONT)
        ended = master.end()
    tree.assert_done(ended)
    assert_each_once(tree, 6)
    assert ended.said.count("lost job=") == 1
    assert "cancelled" in ended.said
    tree.ended_runs(7, "Leaf")


LONG_BODY = """
class Root(Target):
    def run(self):
        self.addChildTarget(Leaf("long"))
        self.addChildTarget(Leaf("removed"))
class Leaf(Target):
    def __init__(self, name):
        super().__init__(memory="100M", time=60)
        self.name = name
    def run(self):
        note(f"{self.name}-began", batch_id())
        if first_time(self.name):
            wait_for("never")
        note("ran", self.name)
"""


@pytest.mark.parametrize("system", ["slurm", "fourMethods"])
def test_over_long_and_removed_jobs_are_issued_again_by_any_adapter(
    slurm: Lab, plant: Plant, system: str
) -> None:
    tree = plant(rescue={"published": 3}, constants={POLICY: {"missing_s": 3.0}})
    tree.write(LONG_BODY)
    tree.system = system
    tree.path = f"{ROOT}:{installed(tree.home)}"
    master = tree.start("--maxJobDuration", "5", "--rescueJobsFrequency", "1")
    (long,) = tree.wait_for_lines("long-began", 1)
    (removed,) = tree.wait_for_lines("removed-began", 1)
    slurm.run("scancel", removed)
    master.wait_for_word("a step ran for more than --maxJobDuration (5 s)")
    eventually("it leaves the queue", tree.queued, lambda found: long not in found)
    ended = master.end()
    tree.assert_done(ended)
    assert sorted(tree.lines("ran")) == ["long", "removed"]
    assert [len(tree.lines(f"{name}-began")) for name in ("long", "removed")] == [2, 2]
    assert "failed job" not in ended.said
    tree.ended_runs(4, "Leaf")
    eventually("nothing left", tree.queued, lambda found: not found)


def installed(home: Path) -> Path:
    """Install the third party's batch system as its package would: by an entry point."""
    about = home / "packages" / "fourmethods-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fourmethods\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[jobtree.batchsystems]\nfourMethods = tests.live.slurm.fourmethods:FourMethods\n"
    )
    return about.parent
