"""The cell's master killed or frozen, its accounting absent or late: no job is lost or run twice.

Owns outages; hosts that die are in test_nodes.py. Read next: contrib/sge/README.md.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.live.sge.lab import Lab
from tests.live.sge.trees import Tree
from tests.live.waiting import eventually
from tests.live.workflows import assert_all_once, write_gated

Plant = Callable[..., Tree]

AWAY_S, LATE_S = 30.0, 26.0


def test_a_master_that_is_away_is_waited_for_and_one_that_is_frozen(
    sge: Lab, plant: Plant, system: str
) -> None:
    """One tree has all its jobs out, of which some wait; the other is about to submit its own.

    What ends while the master is away is recorded only half a minute after it is back; of jobs
    that came by DRMAA only ten minutes after, unless their hosts' daemons are started again.
    """
    timeouts = {"submit": 4, "query": 4}
    tree = plant(timeouts=timeouts, grace={"visibility": 10, "second_look": 2})
    late = plant(timeouts=timeouts, grace={"absence": 60})
    slots = sge.slots * len(sge.hosts)
    write_gated(tree, 4)
    tree.open("gate")
    master = tree.start("--retryCount", "0")
    tree.wait_for_lines("root", 1)
    write_gated(late, slots)
    late.open("gate0")
    of_late = late.start("--retryCount", "0")
    late.wait_for_lines("began", slots - 2)
    assert late.queued("Leaf", "qw"), "not all of them run yet"
    sge.fault("freeze-master")
    tree.open("gate0")
    master.wait_for_word("got no clear answer")
    sge.fault("kill-master")
    stopped = time.monotonic()
    late.open("gate")
    late.wait_for_lines("ran", slots - 2)
    of_late.wait_for_word("jobs go on")
    while time.monotonic() - stopped < AWAY_S:
        assert master.lives(), master.said
        assert of_late.lives(), of_late.said
        time.sleep(1)  # the half minute itself is what is tested
    sge.fault("start-master")
    if system == "drmaa":
        of_late.wait_for_word("holds back the ends of these jobs")
        for host in sge.hosts:
            sge.fault("kill-execd", host)
            sge.fault("start-execd", host)
    tree.assert_done(master.end())
    late.assert_done(of_late.end())
    assert_all_once(tree, 4)
    assert_all_once(late, slots)


LONG_BODY = """
class Root(Target):
    def run(self):
        for number in range(COUNT):
            self.addChildTarget(Leaf(number))
class Leaf(Target):
    def __init__(self, number):
        super().__init__(memory="100M", time=60)
        self.number = number
    def run(self):
        note("began", f"{self.number}/{batch_id()}")
        if first_time(f"first{self.number}"):
            wait_for("never" if self.number == 0 else "gate")
        note("ran", str(self.number))
"""


@pytest.mark.parametrize("system", ["sge"])
def test_without_an_accounting_file_what_is_removed_is_issued_again(sge: Lab, plant: Plant) -> None:
    """A step runs for too long, and jobs are deleted by hand: one that runs, one that waits."""
    tree = plant(rescue={"missing": 3, "published": 3})
    count = sge.slots * len(sge.hosts) + 2
    tree.write(f"COUNT = {count}\n{LONG_BODY}")
    sge.fault("hide-accounting")
    master = tree.start("--maxJobDuration", "12", "--rescueJobsFrequency", "1")
    begun = dict(line.split("/") for line in tree.wait_for_lines("began", count - 2))
    waiting = tree.wait_queued(1, "Leaf", "qw")
    deleted = next(number for number in begun if number != "0")
    for job in (begun[deleted], waiting[0]):
        sge.delete(job)
    tree.open("gate")
    master.wait_for_word("a step ran for more than --maxJobDuration (12 s)")
    ended = master.end()
    tree.assert_done(ended)
    assert sorted(map(int, tree.lines("ran"))) == list(range(count))
    assert "failed job" not in ended.said
    starts = [line.split("/")[0] for line in tree.lines("began")]
    assert (starts.count("0"), starts.count(deleted)) == (2, 2)
    assert tree.queued() == []
    sge.fault("show-accounting")
    tree.ended_runs(count + 2, "Leaf")  # of a waiting task that is deleted nothing is recorded


LIMITED_BODY = """
class Root(Target):
    def run(self):
        for name in ("long", "deleted"):
            self.addChildTarget(Leaf(name))
class Leaf(Target):
    def __init__(self, name):
        super().__init__(memory="100M", time=4 if name == "long" else 60)
        self.name = name
    def run(self):
        note(f"{self.name}-began", batch_id())
        if first_time(self.name):
            wait_for("never")
        note("ran", self.name)
"""


@pytest.mark.parametrize("system", ["sge"])
def test_what_a_record_tells_counts_though_it_comes_late(sge: Lab, plant: Plant) -> None:
    """A limit that was reached is answered with more time, as it would be at once."""
    tree = plant(jobs={"min_time": 4, "time_margin": 1}, grace={"absence": 60})
    tree.write(LIMITED_BODY)
    sge.fault("hide-accounting")
    master = tree.start("--retryCount", "0")
    (deleted,) = tree.wait_for_lines("deleted-began", 1)
    sge.delete(deleted)
    eventually("both have left the queue", lambda: tree.queued("Leaf"), lambda found: not found)
    left = time.monotonic()
    while time.monotonic() - left < LATE_S:
        assert master.lives(), master.said
        assert len(tree.lines("deleted-began")) == 1, "nothing is known of it yet"
        time.sleep(1)  # the delay itself is what is tested
    sge.fault("show-accounting")
    ended = master.end()
    tree.assert_done(ended)
    assert "reached its time limit of 4 s" in ended.said
    assert "its worker was killed by signal 9" in ended.said
    assert ended.said.count("lost job=") == 2
    assert "failed job" not in ended.said
    limits = Counter(run.limit("h_rt") for run in tree.ended_runs(4, "Leaf"))
    assert limits == {"60": 2, "4": 1, "8": 1}
