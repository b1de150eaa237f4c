"""Hosts, their daemons and shepherds that die under a tree's jobs, and hosts that err.

Owns what is lost without a word. Each has a cell of its own, side by side: see ../errands.py.
Read next: contrib/sge/README.md, for what the faults do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

import pytest

from tests.live.errands import do_at_once, wanted
from tests.live.sge.conftest import SYSTEMS, on_its_own, require_machines
from tests.live.sge.lab import Lab
from tests.live.sge.trees import Tree
from tests.live.trees import HEARTBEAT, POLICY
from tests.live.waiting import eventually

Plant = Callable[..., Tree]


BODY = """
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
        place = f"{self.number}/{self.getAttempt()}/{batch_id()}/{host()}"
        note("first" if first else "second", place)
        wait_for(f"gate{self.number}" if first else f"again{self.number}")
        for _ in range(2):
            self.addChildTarget(After(self.number, self.getAttempt()))
        note("through", place)
class After(Target):
    def __init__(self, number, attempt):
        super().__init__(memory="100M", time=60)
        self.number, self.attempt = number, attempt
    def run(self):
        note("after", f"{self.number}/{self.attempt}")
"""


class Begun(NamedTuple):
    """An attempt at a leaf that has begun."""

    number: str
    attempt: str
    job: str
    host: str

    def __str__(self) -> str:
        return "/".join(self)


def begun(tree: Tree, name: str, count: int) -> list[Begun]:
    """Wait until so many leaves have begun."""
    return [Begun(*line.split("/")) for line in tree.wait_for_lines(name, count)]


def let_end(tree: Tree, gate: str, leaves: Sequence[Begun]) -> None:
    """Open the gates of leaves, and wait until those have written what they have to."""
    for leaf in leaves:
        tree.open(f"{gate}{leaf.number}")
    for leaf in leaves if gate == "gate" else ():
        eventually(f"the end of {leaf}", partial(has_gone_through, tree, leaf))


def has_gone_through(tree: Tree, leaf: Begun) -> bool:
    """Tell whether an attempt has come to its end."""
    return str(leaf) in tree.lines("through")


def lost(cell: Lab, plant: Plant) -> None:
    """What lost hosts and shepherds had runs again, and each job counts once.

    A shepherd dies, a daemon is started again; then one host is cut off, and another dies.

    The jobs on the host that is cut off Grid Engine itself starts a second time, elsewhere. Nobody
    waits for these hosts: none of them comes back.
    """
    require_machines(cell)
    daemonless, cut, dead = cell.hosts
    count = cell.slots * len(cell.hosts)
    tree = plant(
        rescue={"silence": 20, "published": 3},
        constants={HEARTBEAT: 1.0, POLICY: {"kill_s": 5.0}},
    )
    tree.write(f"COUNT = {count}\n{BODY}")
    cell.fault("configure", "reschedule_unknown=00:00:05")
    master = tree.start("--retryCount", "0", "--rescueJobsFrequency", "1")
    leaves = begun(tree, "first", count)
    on = {host: [leaf for leaf in leaves if leaf.host == host] for host in cell.hosts}

    orphan, *others = on[daemonless]
    cell.fault("kill-shepherd", orphan.job)
    begun(tree, "second", 1)
    cell.fault("kill-execd", daemonless)
    cell.fault("start-execd", daemonless)
    cell.run("qalter", "-r", "y", orphan.job.partition(".")[0])
    cell.fault("cut-host", cut)
    cell.fault("kill-host", dead)
    let_end(tree, "gate", [*others, orphan])
    let_end(tree, "again", on[dead])
    tree.open(f"again{orphan.number}")
    again = {leaf.number: leaf for leaf in begun(tree, "second", 1 + len(on[cut] + on[dead]))}
    assert set(again) == {leaf.number for leaf in [orphan, *on[cut], *on[dead]]}

    let_end(tree, "gate", on[cut])  # only now do those that live on write what they have done
    let_end(tree, "again", on[cut])
    ended = master.end()
    tree.assert_done(ended)
    assert "failed job" not in ended.said, "no retries were there to be used"
    accepted = {leaf.number: leaf.attempt for leaf in leaves} | {
        leaf.number: leaf.attempt for leaf in again.values()
    }
    expected = {f"{number}/{attempt}": 2 for number, attempt in accepted.items()}
    assert Counter(tree.lines("after")) == expected, "one adopted result each, the later one"
    told = Counter(run.failed for run in tree.runs("Leaf"))
    assert told["25"] >= len(on[cut]), "Grid Engine has started those a second time"


def erring(cell: Lab, plant: Plant) -> None:
    """A queue in error and a dead host that still gets jobs cost a tree nothing.

    What is sent to a host between its death and its being missed stays on its way there.
    """
    require_machines(cell)
    failing, dead, good = cell.hosts
    only_queue_in_error = {"use_queue": "all.q"}  # there is another, of the same hosts
    constants = {HEARTBEAT: 1.0, POLICY: {"kill_s": 3.0}}
    tree = plant(sge=only_queue_in_error, rescue={"silence": 10}, constants=constants)
    count = cell.slots + 2
    tree.write(f"COUNT = {count}\n{BODY}")
    for number in range(count):
        tree.open(f"gate{number}")
        tree.open(f"again{number}")
    cell.fault("configure", "max_unheard=00:10:00")  # it is not missed, however slow all this is
    cell.fault("fail-prolog", failing)
    cell.fault("kill-host", dead)
    ended = tree.start("--retryCount", "0", "--rescueJobsFrequency", "1").end()
    tree.assert_done(ended)
    assert len(tree.lines("after")) == 2 * count
    assert {leaf.host for leaf in begun(tree, "through", count)} == {good}
    assert "E" in cell.queue_state(failing)
    assert "but no worker has begun" in ended.said
    assert "failed job" not in ended.said
    assert "8" in {run.failed for run in tree.runs()}


ERRANDS = {
    f"{name} [{system}]": partial(on_its_own, system, do)
    for name, do in {
        "lost hosts and shepherds": lost,
        "a queue in error and a host that is dead": erring,
    }.items()
    for system in SYSTEMS
}


@pytest.fixture(scope="module")
def done(request: pytest.FixtureRequest) -> Mapping[str, Future[None]]:
    """Return what came of those that this session's tests look at."""
    return do_at_once({name: ERRANDS[name] for name in wanted(request)}, len(ERRANDS))


@pytest.mark.parametrize("errand", ERRANDS)
def test_what_is_lost_without_a_word_runs_elsewhere(
    errand: str, done: Mapping[str, Future[None]]
) -> None:
    done[errand].result()
