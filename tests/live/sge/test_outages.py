"""The cell's master killed or frozen, its accounting absent or late: no job is lost or run twice.

Owns outages; hosts that die are in test_nodes.py. Each has a cell of its own, some side by side:
see ../errands.py. Read next: contrib/sge/README.md.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial

import pytest

from tests.live.errands import do_at_once, wanted
from tests.live.sge.conftest import SYSTEMS, on_its_own, require_machines
from tests.live.sge.lab import Lab
from tests.live.sge.trees import Tree
from tests.live.trees import POLICY, TIMEOUTS
from tests.live.waiting import eventually
from tests.live.workflows import assert_all_once, write_gated

Plant = Callable[..., Tree]

AWAY_S, LATE_S = 30.0, 26.0


def away(cell: Lab, plant: Plant) -> None:
    """A master that is away is waited for, and one that is frozen.

    One tree has all its jobs out, of which some wait; the other is about to submit its own.

    What ends while the master is away is recorded only half a minute after it is back; of jobs
    that came by DRMAA only ten minutes after, unless their hosts' daemons are started again.
    """
    timeouts, submits = {"query": 8}, {"submit_s": 8.0}
    looks = {"visibility_s": 10.0, "two_looks_s": 2.0}
    tree = plant(timeouts=timeouts, constants={TIMEOUTS: submits | looks})
    late = plant(timeouts=timeouts, grace={"absence": 60}, constants={TIMEOUTS: submits})
    slots = cell.slots * len(cell.hosts)
    write_gated(tree, 4)
    tree.open("gate")
    master = tree.start("--retryCount", "0")
    tree.wait_for_lines("root", 1)
    write_gated(late, slots)
    late.open("gate0")
    of_late = late.start("--retryCount", "0")
    late.wait_for_lines("began", slots - 2)
    assert late.queued("Leaf", "qw"), "not all of them run yet"
    cell.fault("freeze-master")
    tree.open("gate0")
    master.wait_for_word("got no clear answer")
    cell.fault("kill-master")
    stopped = time.monotonic()
    late.open("gate")
    late.wait_for_lines("ran", slots - 2)
    of_late.wait_for_word("jobs go on")
    while time.monotonic() - stopped < AWAY_S:
        assert master.lives(), master.said
        assert of_late.lives(), of_late.said
        time.sleep(1)  # the half minute itself is what is tested
    cell.fault("start-master")
    if late.system == "drmaa":
        of_late.wait_for_word("holds back the ends of these jobs")
        for host in cell.hosts:
            cell.fault("kill-execd", host)
            cell.fault("start-execd", host)
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
        first = first_time(f"first{self.number}")
        note("began", f"{self.number}/{batch_id()}")
        if first:
            wait_for("never" if self.number == 0 else "gate")
        note("ran", str(self.number))
"""


def removed(cell: Lab, plant: Plant) -> None:
    """What is removed is issued again, also without an accounting file.

    A step runs for too long, and jobs are deleted by hand: one that runs, one that waits.
    """
    tree = plant(rescue={"published": 3}, constants={POLICY: {"missing_s": 3.0}})
    count = cell.slots * len(cell.hosts) + 2
    tree.write(f"COUNT = {count}\n{LONG_BODY}")
    cell.fault("hide-accounting")
    longest_s = "40"  # of the others none waits for so long: not until all have begun, and the gate
    master = tree.start("--maxJobDuration", longest_s, "--rescueJobsFrequency", "1")
    begun = dict(line.split("/") for line in tree.wait_for_lines("began", count - 2))
    waiting = tree.wait_queued(1, "Leaf", "qw")
    deleted = next(number for number in begun if number != "0")
    for job in (begun[deleted], waiting[0]):
        cell.delete(job)
    tree.wait_ended(begun[deleted])
    tree.open("gate")
    master.wait_for_word(f"a step ran for more than --maxJobDuration ({longest_s} s)")
    ended = master.end()
    tree.assert_done(ended)
    assert sorted(map(int, tree.lines("ran"))) == list(range(count))
    assert "failed job" not in ended.said
    starts = [line.split("/")[0] for line in tree.lines("began")]
    assert (starts.count("0"), starts.count(deleted)) == (2, 2)
    assert tree.queued() == []
    cell.fault("show-accounting")
    tree.ended_runs(count + 2, "Leaf")  # of a waiting task that is deleted nothing is recorded


def out_of_reach(cell: Lab, plant: Plant) -> None:
    """A host out of reach that comes back costs a tree nothing.

    The results of its jobs are seen while Grid Engine itself knows nothing of it.
    """
    require_machines(cell)
    tree, cut = plant(), cell.hosts[1]
    count = cell.slots * len(cell.hosts)
    write_gated(tree, count)
    tree.open("gate0")
    master = tree.start("--retryCount", "0")
    tree.wait_for_lines("began", count)
    cell.fault("cut-host", cut)
    eventually("it is called unknown", lambda: cell.queue_state(cut), lambda state: "u" in state)
    tree.open("gate")
    tree.wait_for_lines("ran", count)
    cell.fault("heal-host", cut)
    ended = master.end()
    tree.assert_done(ended)
    assert "lost job=" not in ended.said
    assert_all_once(tree, count)


LIMITED_BODY = """
class Root(Target):
    def run(self):
        for name in ("long", "deleted"):
            self.addChildTarget(Leaf(name))
class Leaf(Target):
    def __init__(self, name):
        super().__init__(memory="100M", time=10 if name == "long" else 60)
        self.name = name
    def run(self):
        first = first_time(self.name)
        note(f"{self.name}-began", batch_id())
        if first:
            wait_for("never")
        note("ran", self.name)
"""


def recorded_late(cell: Lab, plant: Plant) -> None:
    """What a record tells counts though it comes late.

    A limit that was reached is answered with more time, as it would be at once.
    """
    tree = plant(jobs={"min_time": 10, "time_margin": 1}, grace={"absence": 180})
    tree.write(LIMITED_BODY)
    cell.fault("hide-accounting")
    master = tree.start("--retryCount", "0")
    (deleted,) = tree.wait_for_lines("deleted-began", 1)
    cell.delete(deleted)
    eventually("both have left the queue", lambda: tree.queued("Leaf"), lambda found: not found)
    left = time.monotonic()
    while time.monotonic() - left < LATE_S:
        assert master.lives(), master.said
        assert len(tree.lines("deleted-began")) == 1, "nothing is known of it yet"
        time.sleep(1)  # the delay itself is what is tested
    cell.fault("show-accounting")
    ended = master.end()
    tree.assert_done(ended)
    assert "reached its time limit of 10 s" in ended.said
    assert "its worker was killed by signal 9" in ended.said
    assert ended.said.count("lost job=") == 2
    assert "failed job" not in ended.said
    limits = Counter(run.limit("h_rt") for run in tree.ended_runs(4, "Leaf"))
    assert limits == {"60": 2, "10": 1, "20": 1}


ERRANDS = {
    f"{name} [{system}]": partial(on_its_own, system, do)
    for name, do, systems in (
        ("a master that is away, and one that is frozen", away, SYSTEMS),
        ("a host out of reach that comes back", out_of_reach, SYSTEMS),
        ("removed, without an accounting file", removed, SYSTEMS),
        ("a record that comes late", recorded_late, ("sge",)),
    )
    for system in systems
}


@pytest.fixture(scope="module")
def done(request: pytest.FixtureRequest) -> Mapping[str, Future[None]]:
    """Return what came of those that this session's tests look at."""
    return do_at_once({name: ERRANDS[name] for name in wanted(request)}, 4)


@pytest.mark.parametrize("errand", ERRANDS)
def test_an_outage_harms_nothing(errand: str, done: Mapping[str, Future[None]]) -> None:
    done[errand].result()
