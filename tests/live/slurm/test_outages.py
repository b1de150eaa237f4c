"""Slurm's services stopped, frozen or garbled under a running tree: no job is lost or run twice.

Owns outages; nodes that die are in test_nodes.py. The longest have clusters of their own, side by
side: see ../errands.py. Read next: contrib/slurm/README.md.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from pwd import struct_passwd

import pytest

from tests.live.errands import do_at_once, wanted
from tests.live.slurm.conftest import temporary_cluster, usual_cluster
from tests.live.slurm.lab import Lab
from tests.live.slurm.trees import Tree
from tests.live.trees import TIMEOUTS, fake_client, planting
from tests.live.waiting import eventually
from tests.live.workflows import assert_all_once, write_gated

Plant = Callable[..., Tree]
Cluster = AbstractContextManager[Lab]

# ---- the longest, each on a cluster of its own ---------------------------------------------


def away(slurm: Lab, plant: Plant) -> None:
    """The controller is away for a minute, and waited for."""
    tree = plant()
    write_gated(tree, 48)
    tree.open("gate0")
    master = tree.start("--logLevel", "DEBUG")
    tree.wait_for_lines("began", 32)
    assert tree.queued("Leaf", "PENDING"), "not all of them run yet"
    stopped = time.monotonic()
    slurm.fault("stop-controller")
    tree.open("gate")
    tree.wait_for_lines("ran", 32)
    master.wait_for_word("jobs go on")
    while time.monotonic() - stopped < 60:
        assert master.lives(), master.said
        time.sleep(1)  # the minute itself is what is tested
    slurm.fault("start-controller")
    tree.assert_done(master.end())
    assert_all_once(tree, 48)


def frozen(slurm: Lab, plant: Plant) -> None:
    """A submission that a frozen controller accepted is found."""
    tree = plant()
    write_gated(tree, 8)
    tree.open("gate")
    master = tree.start()
    tree.wait_for_lines("root", 1)
    slurm.fault("freeze-controller")
    tree.open("gate0")
    master.wait_for_word("got no clear answer")
    slurm.fault("thaw-controller")
    ended = master.end()
    tree.assert_done(ended)
    assert_all_once(tree, 8)


def without_munge(slurm: Lab, plant: Plant) -> None:
    """Jobs end while munge is away."""
    tree = plant(rescue={"published": 5})
    write_gated(tree, 6)
    tree.open("gate0")
    master = tree.start()
    jobs = tree.wait_for_lines("began", 6)
    for job in jobs[:3]:
        slurm.run("scontrol", "update", f"job={job}", "requeue=1")
    stopped = time.monotonic()
    slurm.fault("stop-munge")
    tree.open("gate")
    tree.wait_for_lines("ran", 6)
    while time.monotonic() - stopped < 30:
        assert master.lives(), master.said
        time.sleep(1)  # half a minute, in which the nodes cannot tell how their jobs ended
    slurm.fault("start-munge")
    ended = master.end()
    tree.assert_done(ended)
    assert sorted(map(int, tree.lines("ran"))) == list(range(6)), "nothing that was done is redone"
    eventually("none of its jobs in the queue", tree.queued, lambda found: not found)
    print(Counter(run.state for run in tree.runs("Leaf")))


def forgotten(slurm: Lab, plant: Plant) -> None:
    """What the queue has forgotten is known by its results, without accounting."""
    tree = plant()
    write_gated(tree, 8)
    tree.open("gate0")
    master = tree.start()
    jobs = tree.wait_for_lines("began", 8)
    master.signal(signal.SIGSTOP)
    slurm.run("scancel", jobs[0])  # one leaves no result, and nobody will say how it ended
    tree.wait_ended(jobs[0])
    tree.open("gate")
    eventually(
        "the queue has forgotten them",
        lambda: slurm.run("squeue", "-h", "-t", "all", "-o", "%A").stdout,
        lambda told: not told,
    )
    master.signal(signal.SIGCONT)
    ended = master.end()
    tree.assert_done(ended)
    assert sorted(map(int, tree.lines("ran"))) == list(range(8))
    assert "lost job=" in ended.said
    assert len(tree.lines("began")) == 9


FORGETFUL = ("--nodes", "2", "--accounting", "0", "--conf", "MinJobAge=2")
"""A small cluster without accounting that forgets what has ended in seconds."""

ERRANDS: Mapping[str, tuple[Callable[[], Cluster], Callable[[Lab, Plant], None]]] = {
    "a controller that is away for a minute": (usual_cluster, away),
    "jobs that end while munge is away": (usual_cluster, without_munge),
    "a submission that a frozen controller accepted": (usual_cluster, frozen),
    "ends that the queue has forgotten, without accounting": (
        partial(temporary_cluster, *FORGETFUL),
        forgotten,
    ),
}


def on_its_own(bring_up: Callable[[], Cluster], do: Callable[[Lab, Plant], None], at: Path) -> None:
    with bring_up() as lab, planting(Tree, lab, at) as plant:
        do(lab, plant)


@pytest.fixture(scope="module")
def done(request: pytest.FixtureRequest) -> Mapping[str, Future[None]]:
    """Return what came of those that this session's tests look at."""
    asked = wanted(request)
    mine = {name: partial(on_its_own, *ERRANDS[name]) for name in ERRANDS if name in asked}
    return do_at_once(mine, len(ERRANDS))


@pytest.mark.parametrize("errand", ERRANDS)
def test_an_outage_harms_nothing(errand: str, done: Mapping[str, Future[None]]) -> None:
    done[errand].result()


# ---- others ------------------------------------------------------------------------------


def test_a_lost_job_whose_id_is_anothers_now_is_not_taken_for_ours(
    slurm: Lab, plant: Plant, another_user: struct_passwd, tmp_path: Path
) -> None:
    tree = plant(constants={TIMEOUTS: {"history_s": 8.0}})
    tree.write("class Root(Target):\n    def run(self):\n        note('ran', batch_id())\n")
    for node in slurm.nodes:
        slurm.fault("drain", node)
    slurm.fault("stop-controller")
    state, saved = slurm.top / "state", tmp_path / "state"
    shutil.copytree(state, saved, symlinks=True)
    slurm.fault("start-controller")
    master = tree.start()
    (lost,) = tree.wait_queued(1)
    slurm.fault("kill-controller")  # in the second in which nothing of it is saved yet
    shutil.copytree(saved, state, symlinks=True, dirs_exist_ok=True)
    master.signal(signal.SIGSTOP)  # or it might miss its job, and be given that id again itself
    slurm.fault("start-controller")
    others = slurm.submit("--wrap", "exit 3", user=another_user.pw_name)
    assert others == lost, "the id is used again"
    master.signal(signal.SIGCONT)
    for node in slurm.nodes:
        slurm.fault("resume", node)
    assert slurm.wait(others) == "FAILED"
    ended = master.end()
    tree.assert_done(ended)
    assert len(tree.lines("ran")) == 1
    assert tree.lines("ran") != [lost]
    assert "lost job=1" in ended.said
    assert slurm.wait_accounted(others) == ["FAILED", "3:0"], "it was left alone"


def test_without_the_accounting_daemon_a_tree_runs_as_ever(slurm: Lab, plant: Plant) -> None:
    tree = plant()
    write_gated(tree, 8)
    slurm.fault("stop-dbd")
    tree.open("gate0")
    master = tree.start("--retryCount", "0")
    (first, *_) = tree.wait_for_lines("began", 8)
    slurm.run("scancel", first)
    tree.wait_for_lines("began", 9)
    tree.open("gate")
    tree.assert_done(master.end())
    slurm.fault("start-dbd")
    assert_all_once(tree, 8, runs=9)


GARBLED = r"""
n=$(wc -l <"$0.n" 2>/dev/null || echo 0); echo >>"$0.n"
case $((n % 4)) in
0) "$REAL" "$@" | head -c 700 ;;
1) "$REAL" "$@" | tr '0-9|' '|0-9' ;;
2) "$REAL" "$@" >/dev/null; echo "slurm_load_jobs error: Unexpected message received" >&2; exit 1 ;;
*) exec "$REAL" "$@" ;;
esac
"""


def test_answers_that_are_cut_garbled_or_none_harm_nothing(plant: Plant) -> None:
    tree = plant()
    write_gated(tree, 20)
    tree.bin = tree.home / "bin"
    fake_client(tree.bin, "squeue", GARBLED)
    tree.open("gate0")
    master = tree.start()
    tree.wait_for_lines("began", 20)
    master.wait_for_word("gives no complete answer")
    tree.open("gate")
    tree.assert_done(master.end())
    assert_all_once(tree, 20)
