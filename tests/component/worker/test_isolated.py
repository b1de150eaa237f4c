"""Targets in a process of their own: a fork of the worker, or a fresh interpreter."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from jobtree.mailbox import layout
from jobtree.mailbox.bundles import read_pickle
from jobtree.mailbox.orders import Assignment
from jobtree.mailbox.results import Done, read_children
from tests.component.worker.isolated_targets import Call
from tests.component.worker.workers import ISSUE, Tree, wait_until


def read_pickle_of(tree: Tree, done: Done) -> bytes:
    """Return a child's pickle, which must be as it was written."""
    where = done.children[0].pickle
    assert where is not None
    return read_pickle(str(tree.path), where)


pytestmark = pytest.mark.usefixtures("no_stray_processes")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_an_isolated_target_does_all_that_others_do(tree: Tree) -> None:
    tree.run([Call("child_and_follow_on")], [Call("children", 300)], isolate=True)
    assert tree.log() == "child\nfollow-on\n"
    last = tree.done()[-1]
    assert last.child_count == 300
    path = layout.result_path(str(tree.path), ISSUE)
    assert sum(1 for _ in read_children(path, last.children_at, 2, 300)) == 300


def test_an_isolated_crash_spares_the_pack(tree: Tree) -> None:
    tree.run([Call("segfault")], [Call("exit_process", 99)], [Call("say", "fine")], isolate=True)
    first, second = tree.failed()
    assert (first.crashed, first.signal) == (True, signal.SIGSEGV)
    assert (second.crashed, second.exit_status) == (True, 99)
    assert tree.output(tree.done()[0]) == b"fine\n"


def test_isolated_replicas_draw_different_numbers(tree: Tree) -> None:
    """Those of a worker in which nothing else ran, those after, and those that follow a step."""
    after = [[Call("draw")], *([Call("draw", isolate=True)] for _ in range(10))]
    chained = [[Call("draw_then_isolated", "draw")] for _ in range(5)]
    tree.run(*([Call("draw", isolate=True)] for _ in range(50)), *after, *chained)
    drawn = [line.split() for line in tree.log().splitlines()]
    assert len(drawn) == 50 + 11 + 10
    assert len({seeded for seeded, _ in drawn}) == len(drawn)
    assert len({number for _, number in drawn}) == len(drawn)


def test_isolated_replicas_draw_different_numbers_of_numpy(tree: Tree) -> None:
    pytest.importorskip("numpy")
    steps = [[Call("draw_with_numpy", isolate=bool(number % 10))] for number in range(50)]
    tree.run(*steps)
    assert len(set(tree.log().split())) == 50


@pytest.mark.parametrize("retried", [False, True])
def test_an_isolated_target_finds_no_lock_held(tree: Tree, retried: bool) -> None:
    """As after OpenMP was used in the worker: a fork has its locks, and none to let them go."""
    first = tree.target(Call("hold_lock"))
    second = tree.target(Call("use_lock", isolate=not retried))
    pack = [Assignment(1, 1, 0, 0, False, (first,)), Assignment(2, 1, 0, 0, retried, (second,))]
    tree.order_pack(pack)
    tree.work()
    assert tree.log() == "child 0\nused\n"
    assert not tree.failed()


def test_an_isolated_target_may_use_the_thread_pool_that_another_used(tree: Tree) -> None:
    pytest.importorskip("numpy")
    tree.run([Call("multiply")], [Call("multiply", isolate=True)])
    assert [done.job for done in tree.done()] == [1, 2]


def test_a_fresh_interpreter_finds_all_that_a_step_finds(tree: Tree) -> None:
    tree.run([Call("pollute")], [Call("where", isolate=True)], [Call("where", isolate=True)])
    assert tree.log() == f"{tree.home} None 0\n" * 2
    _, *isolated = tree.done()
    for done in isolated:
        assert (done.child_count, done.has_directory) == (2, True)
        assert done.messages == [f"1000001 {2**30}"]
        assert done.usage.cpu_s > 0
        assert done.usage.memory_bytes
        assert read_pickle_of(tree, done)
    assert os.listdir(tree.scratch) == []


def test_a_crash_in_a_fresh_interpreter_spares_the_pack(tree: Tree) -> None:
    tree.run(
        [Call("nothing")],
        [Call("segfault", isolate=True)],
        [Call("exit_process", 7, isolate=True)],
        [Call("fail", isolate=True)],
        [Call("say", "fine")],
    )
    assert [failed.signal for failed in tree.failed()] == [signal.SIGSEGV, None, None]
    assert [failed.exit_status for failed in tree.failed()] == [None, 7, None]
    assert [failed.crashed for failed in tree.failed()] == [True, True, False]
    assert tree.failed()[2].why == "ValueError: no good"
    assert [done.job for done in tree.done()] == [1, 5]


def test_a_terminated_worker_passes_the_signal_on_to_a_fresh_interpreter(tree: Tree) -> None:
    sign, got = tree.home / "sign", tree.home / "got"
    tree.order([Call("nothing")], [Call("trap", str(sign), str(got), isolate=True)])
    worker = tree.start()
    wait_until(sign)
    worker.terminate()
    worker.communicate(timeout=60)
    assert worker.returncode == -signal.SIGTERM
    wait_until(got)


def test_a_target_may_ask_for_a_process_of_its_own(tree: Tree) -> None:
    tree.run([Call("segfault", isolate=True)], [Call("nothing")])
    assert tree.failed()[0].crashed
    assert [done.job for done in tree.done()] == [2]


def test_an_isolated_failure_reports_as_usual(tree: Tree) -> None:
    tree.run([Call("children_then_fail")], isolate=True)
    (failed,) = tree.failed()
    assert failed.messages == ["before the end"]
    assert failed.why == "RuntimeError: after the children"
    assert not failed.crashed
    assert failed.usage.memory_bytes is not None
