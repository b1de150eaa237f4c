"""Nodes and step daemons that die under a tree's jobs, whose processes live on as orphans.

Owns what is lost without a word; what Slurm itself ends is in test_removed.py.
Read next: contrib/slurm/README.md, for what the faults do.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.live.slurm.lab import Lab
from tests.live.slurm.trees import Tree
from tests.live.trees import HEARTBEAT
from tests.live.waiting import eventually, is_running

Plant = Callable[..., Tree]

SILENCE_S = 12
"""Longer than a worker takes to begin, or to be seen suspended, on a busy machine."""

NODE_BODY = """
from jobtree.payload.node import node_of
class Root(Target):
    def run(self):
        for number in range(12):
            self.addChildTarget(Leaf(number))
class Leaf(Target):
    def __init__(self, number):
        super().__init__(memory="100M", time=60)
        self.number = number
    def run(self):
        job, attempt = node_of(self).context.job, self.getAttempt()
        first = first_time(f"first{self.number}")
        node = os.environ["SLURMD_NODENAME"]
        note("first" if first else "second", f"{self.number}/{job}/{attempt}/{node}")
        wait_for("gate1" if first else "gate2")
        for _ in range(2):
            self.addChildTarget(After(self.number, attempt))
        note("through", f"{job}/{attempt}")
class After(Target):
    def __init__(self, number, attempt):
        super().__init__(memory="100M", time=60)
        self.number, self.attempt = number, attempt
    def run(self):
        note("after", f"{self.number}/{self.attempt}")
"""


def test_a_dead_nodes_jobs_run_elsewhere_and_its_orphans_results_are_not_taken(
    slurm: Lab, plant: Plant
) -> None:
    tree = plant()
    tree.write(NODE_BODY)
    master = tree.start()
    begun = [line.split("/") for line in tree.wait_for_lines("first", 12)]
    node = Counter(line[3] for line in begun).most_common(1)[0][0]
    orphans = {int(number): (job, attempt) for number, job, attempt, at in begun if at == node}
    print(f"{len(orphans)} of 12 jobs run on {node}, which dies now")
    slurm.fault("kill-node", node)
    again = [line.split("/") for line in tree.wait_for_lines("second", len(orphans))]
    assert {int(line[0]) for line in again} == set(orphans)
    assert node not in {line[3] for line in again}

    tree.open("gate1")  # only now do the orphans write what they have done
    for job, attempt in orphans.values():
        eventually(f"the orphan's result of job {job}", partial(has_result, tree, job, attempt))
    tree.open("gate2")
    ended = master.end()
    tree.assert_done(ended)
    assert "failed job" not in ended.said, "no retries were there to be used"
    assert ended.said.count("node failed") == len(orphans)
    accepted = {int(line.split("/")[0]): line.split("/")[2] for line in tree.lines("first")}
    accepted |= {int(line.split("/")[0]): line.split("/")[2] for line in tree.lines("second")}
    expected = {f"{number}/{attempt}": 2 for number, attempt in accepted.items()}
    assert Counter(tree.lines("after")) == expected, "one adopted result each, the second one"
    states = Counter(run.state for run in tree.ended_runs(12 + len(orphans), "Leaf"))
    assert states == {"COMPLETED": 12, "NODE_FAIL": len(orphans)}


def has_result(tree: Tree, job: str, attempt: str) -> bool:
    """Tell whether a worker has written that this attempt at a job is done."""
    line = f'["done",{job},{attempt},'
    return any(line in path.read_text() for path in (tree.directory / "results").iterdir())


STEPD_BODY = """
class Root(Target):
    def run(self):
        self.addChildTarget(Leaf("spared"))
        self.addChildTarget(Leaf("silent"))
        self.addChildTarget(Leaf("suspended"))
class Leaf(Target):
    def __init__(self, name):
        super().__init__(memory="100M", time=60)
        self.name = name
    def run(self):
        note(f"{self.name}-began", f"{batch_id()}/{os.getpid()}")
        if first_time(self.name):
            wait_for("gate")
        note("through", self.name)
"""


def test_without_its_step_daemon_a_worker_counts_and_a_silent_one_is_rescued(
    slurm: Lab, plant: Plant
) -> None:
    tree = plant(rescue={"published": 3, "silence": SILENCE_S}, constants={HEARTBEAT: 1.0})
    tree.write(STEPD_BODY)
    master = tree.start("--rescueJobsFrequency", "1")
    (spared,) = tree.wait_for_lines("spared-began", 1)
    (silent,) = tree.wait_for_lines("silent-began", 1)
    (suspended,) = tree.wait_for_lines("suspended-began", 1)
    slurm.run("scontrol", "suspend", suspended.split("/")[0])
    for line in (spared, silent):
        slurm.fault("kill-stepd", line.split("/")[0])
    os.kill(int(silent.split("/")[1]), signal.SIGKILL)
    master.wait_for_word(f"no heartbeat for {SILENCE_S} s")
    tree.wait_for_lines("silent-began", 2)
    assert is_running(int(spared.split("/")[1])), "it beats, so it is left alone"
    slurm.run("scontrol", "resume", suspended.split("/")[0])
    tree.open("gate")
    ended = master.end()
    tree.assert_done(ended)
    assert sorted(tree.lines("through")) == ["silent", "spared", "suspended"]
    assert len(tree.lines("suspended-began")) == 1, "who is suspended cannot beat"
    assert len(tree.lines("spared-began")) == 1, "an orphan's result is a result"
    runs = tree.ended_runs(4, "Leaf")
    by_job = {run.job: run.state.partition(" ")[0] for run in runs}
    assert by_job[spared.split("/")[0]] == "CANCELLED", "Slurm would show it running for ever"
    assert by_job[silent.split("/")[0]] == "CANCELLED"


def test_a_job_that_runs_and_never_begins_is_rescued(plant: Plant, open_tmp_path: Path) -> None:
    hangs_once = f"if mkdir {open_tmp_path}/hung 2>/dev/null; then exec sleep 300; fi"
    tree = plant(
        rescue={"silence": SILENCE_S}, worker={"setup": hangs_once}, constants={HEARTBEAT: 1.0}
    )
    tree.write("class Root(Target):\n    def run(self):\n        note('ran', 'x')\n")
    ended = tree.start("--rescueJobsFrequency", "1").end()
    tree.assert_done(ended)
    assert "but no worker has begun" in ended.said
    assert tree.lines("ran") == ["x"]
    states = [run.state.partition(" ")[0] for run in tree.ended_runs(2)]
    assert states == ["CANCELLED", "COMPLETED"]
