"""Hosts, their daemons and shepherds that die under a tree's jobs, and hosts that err.

Owns what is lost without a word. Read next: contrib/sge/README.md, for what the faults do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import pytest

from tests.live.sge.conftest import temporary_cell
from tests.live.sge.lab import Lab
from tests.live.sge.trees import Tree
from tests.live.waiting import eventually

Plant = Callable[..., Tree]


@pytest.fixture
def sge() -> Iterator[Lab]:
    """Give each test a cell of its own: one that has lost hosts takes a minute to be as before."""
    with temporary_cell() as lab:
        yield lab


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


def test_what_lost_hosts_and_shepherds_had_runs_again_and_each_job_counts_once(
    machines: Lab, plant: Plant
) -> None:
    """A shepherd dies, a daemon is started again; then one host is cut off, and another dies.

    The jobs on the host that is cut off Grid Engine itself starts a second time, elsewhere. Nobody
    waits for these hosts: none of them comes back.
    """
    daemonless, cut, dead = machines.hosts
    count = machines.slots * len(machines.hosts)
    tree = plant(
        rescue={"silence": 10, "kill": 5, "published": 3},
        worker={"heartbeat": 1},
    )
    tree.write(f"COUNT = {count}\n{BODY}")
    machines.fault("configure", "reschedule_unknown=00:00:05")
    master = tree.start("--retryCount", "0", "--rescueJobsFrequency", "1")
    leaves = begun(tree, "first", count)
    on = {host: [leaf for leaf in leaves if leaf.host == host] for host in machines.hosts}

    orphan, *others = on[daemonless]
    machines.fault("kill-shepherd", orphan.job)
    begun(tree, "second", 1)
    machines.fault("kill-execd", daemonless)
    machines.fault("start-execd", daemonless)
    machines.run("qalter", "-r", "y", orphan.job.partition(".")[0])
    machines.fault("cut-host", cut)
    machines.fault("kill-host", dead)
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


def test_a_queue_in_error_and_a_dead_host_that_still_gets_jobs_cost_a_tree_nothing(
    machines: Lab, plant: Plant
) -> None:
    """What is sent to a host between its death and its being missed stays on its way there."""
    erring, dead, good = machines.hosts
    tree = plant(rescue={"silence": 5, "kill": 3}, worker={"heartbeat": 1})
    count = machines.slots + 2
    tree.write(f"COUNT = {count}\n{BODY}")
    for number in range(count):
        tree.open(f"gate{number}")
        tree.open(f"again{number}")
    machines.fault("fail-prolog", erring)
    machines.fault("kill-host", dead)
    ended = tree.start("--retryCount", "0", "--rescueJobsFrequency", "1").end()
    tree.assert_done(ended)
    assert len(tree.lines("after")) == 2 * count
    assert {leaf.host for leaf in begun(tree, "through", count)} == {good}
    assert "E" in machines.queue_state(erring)
    assert "but no worker has begun" in ended.said
    assert "failed job" not in ended.said
    assert "8" in {run.failed for run in tree.runs()}
