"""Other jobs of the same user in a real Slurm's queue, of every shape: no tree is harmed by them.

Owns the neighbours; must not break anything. Read next: trees.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from batchsystems import Reason
from batchsystems.commandline.factory import AdapterOf
from batchsystems.conformance import Watcher, end_all, sh
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.transport.local import Local
from tests.live.slurm.lab import Lab
from tests.live.slurm.test_adapter import BRIEF, QUICK
from tests.live.slurm.trees import Tree

Plant = Callable[..., Tree]

BODY = """
class Root(Target):
    def run(self):
        for number in range(6):
            self.addChildTarget(Leaf(number))
class Leaf(Target):
    def __init__(self, number):
        super().__init__(memory="100M", time=60)
        self.number = number
    def run(self):
        if self.number < 3:
            note("began", batch_id())
            wait_for("gate")
        note("ran", str(self.number))
"""


def neighbours(slurm: Lab, place: Path) -> list[str]:
    """Fill the queue with jobs that jobTree would never submit; return their ids."""
    script = place / "neighbour.sh"
    script.write_text("#!/bin/sh\nsleep 600\n")
    names = ("two\nlines", "\n", "a|b,c", "grün und größer", "x" * 300, "12 34", "-t")
    jobs = [slurm.submit("-n1", f"--job-name={name}", str(script)) for name in names]
    jobs.append(slurm.submit("-n1", "--job-name=het", ":", "-n1", str(script)))
    jobs.append(slurm.submit("--hold", "--array=1,3,5-7:2%2", "--job-name=ar\nray", str(script)))
    jobs.append(slurm.submit("-n1", "--begin=now+1hour", "--comment=a\nb", str(script)))
    return jobs


def test_a_tree_ends_and_sees_what_was_cancelled_whatever_else_is_in_the_queue(
    slurm: Lab, plant: Plant, open_tmp_path: Path
) -> None:
    others = neighbours(slurm, open_tmp_path)
    shown = slurm.run("squeue", "-h", "-r", "-t", "all", "-O", "JobArrayID:40").stdout.split()
    assert {f"{others[7]}+0", f"{others[7]}+1"} <= set(shown), "the heterogeneous job is there"
    tree = plant()
    tree.write(BODY)
    master = tree.start("--jobTime", "0")
    slurm.run("scancel", tree.wait_for_lines("began", 3)[0])
    tree.wait_for_lines("began", 4, limit_s=150)
    tree.open("gate")
    ended = master.end()
    tree.assert_done(ended)
    assert sorted(set(tree.lines("ran"))) == list("012345")
    assert "no complete answer" not in ended.said
    assert "gives no answer" not in ended.said
    assert slurm.state(others[0]), "and none of them was touched"
    assert all(slurm.state(job) not in ("CANCELLED", "") for job in others)


def test_with_more_jobs_in_the_queue_than_an_answer_may_have_it_asks_by_name(
    slurm: Lab, open_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbours(slurm, open_tmp_path)
    monkeypatch.setenv("SLURM_CONF", slurm.env["SLURM_CONF"])
    batch = AdapterOf(SlurmDialect)(None, QUICK, BRIEF, Local(cap_bytes=3000))
    watcher = Watcher(batch)
    many = batch.issueJobs([sh("exit 3", "many", index=index) for index in range(4)])
    job, other = batch.issueJob(sh("sleep 600", "one")), batch.issueJob(sh("exit 4", "other"))
    watcher.until(lambda: job in batch.getRunningJobIDs(), "it runs")
    slurm.run("scancel", watcher.accepted(job))
    assert watcher.end(job).reason is Reason.CANCELLED
    assert {end.exit_status for end in watcher.ends([*many, other]).values()} == {3, 4}
    end_all(batch)
