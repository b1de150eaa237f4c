"""What one worker does with jobs and packs: chains, hand-backs, failures."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import jobtree
from jobtree.mailbox import layout
from jobtree.mailbox.orders import Assignment
from jobtree.mailbox.results import End, Hello, Returned, Start, read_children
from jobtree.target import FunctionTarget
from tests.component.worker.worker_targets import Call, hidden
from tests.component.worker.workers import ISSUE, Tree

pytestmark = pytest.mark.usefixtures("no_stray_processes")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_one_target_is_done_and_leaves_nothing(tree: Tree) -> None:
    hello, start, done, end = tree.run([Call("say", "hi")])
    assert isinstance(hello, Hello)
    assert start == Start(1, 1_000_001, 0, start.at_s)  # type: ignore[union-attr]
    assert isinstance(end, End)
    assert (done.job, done.step, done.child_count, done.goes_on) == (1, 0, 0, False)  # type: ignore[union-attr]
    assert tree.output(tree.done()[0]) == b"hi\n"
    assert done.usage.memory_bytes > 2**20  # type: ignore[union-attr, operator]
    assert os.listdir(tree.scratch) == []
    assert os.listdir(tree.path / "claims") == [ISSUE]
    assert os.listdir(tree.path / "bundles") == ["root"]
    assert tree.errors == ""


def test_an_empty_log_is_removed(tree: Tree) -> None:
    tree.run([Call("nothing")])
    assert os.listdir(tree.path / "logs") == ["failed"]


def test_a_chain_of_only_children_runs_here(tree: Tree) -> None:
    tree.run([Call("chain", 5)])
    assert [(done.step, done.goes_on) for done in tree.done()] == [
        (0, True), (1, True), (2, True), (3, True), (4, True), (5, False),
    ]  # fmt: skip
    assert [tree.output(done) for done in tree.done()] == [
        b"link %d\n" % n for n in (5, 4, 3, 2, 1, 0)
    ]


def test_an_only_child_runs_before_the_follow_on(tree: Tree) -> None:
    tree.run([Call("child_and_follow_on")])
    assert tree.log() == "child\nfollow-on\n"


def test_two_children_hand_the_job_back(tree: Tree) -> None:
    tree.run([Call("nothing"), Call("children", 2)])
    (done,) = tree.done()
    assert (done.goes_on, done.child_count, len(done.children)) == (False, 2, 2)


def test_a_used_up_part_of_the_stack_hands_back(tree: Tree) -> None:
    tree.order_pack([Assignment(7, 5, 3, 4, False, (tree.target(Call("nothing")),))])
    tree.work()
    (done,) = tree.done()
    assert (done.job, done.attempt, done.step, done.goes_on) == (7, 5, 3, False)


@pytest.mark.parametrize(
    ("wants", "goes_on"),
    [
        ({}, True),
        ({"memory": "1G", "cpu": 2, "time": "1m"}, True),
        ({"memory": "2G"}, False),
        ({"cpu": 3}, False),
        ({"gpus": 1}, False),
        ({"time": "2h"}, False),
    ],
)
def test_the_next_step_must_fit_what_was_granted(
    tree: Tree, wants: dict[str, object], goes_on: bool
) -> None:
    tree.run([Call("hungry_follow_on", wants)])
    assert tree.done()[0].goes_on is goes_on
    assert len(tree.done()) == 1 + goes_on


def test_a_failure_costs_its_job_only(tree: Tree) -> None:
    tree.run([Call("nothing"), Call("fail")], [Call("say", "next")])
    (failed,) = tree.failed()
    assert (failed.job, failed.why, failed.crashed) == (1, "ValueError: no good", False)
    assert "worker_targets.py" in failed.detail
    assert os.path.dirname(jobtree.__file__) not in failed.detail, "no frame of the worker's own"
    assert b"no good" in tree.failed_output(failed)
    assert [done.job for done in tree.done()] == [2]


def test_a_failed_steps_children_are_not_told(tree: Tree) -> None:
    tree.run([Call("children_then_fail")])
    (failed,) = tree.failed()
    assert failed.messages == ["before the end"]
    assert tree.done() == []


@pytest.mark.parametrize(
    ("code", "status"), [(0, None), (None, None), (3, 3), (99, 99), ("words", 1), (["odd"], 1)]
)
def test_sys_exit_is_taken_at_its_word(tree: Tree, code: object, status: int | None) -> None:
    tree.run([Call("leave", code)], [Call("nothing")])
    assert [failed.exit_status for failed in tree.failed()] == ([] if status is None else [status])
    assert tree.done()[-1].job == 2


def test_an_exception_with_hostile_attributes_is_told(tree: Tree) -> None:
    tree.run([Call("raise_hostile")], [Call("nothing")])
    assert [failed.why for failed in tree.failed()] == [
        "tests.component.worker.worker_targets.Hostile: words"
    ]
    assert tree.done()[-1].job == 2


def test_an_exception_group_is_told_whole(tree: Tree) -> None:
    tree.run([Call("raise_group")])
    (failed,) = tree.failed()
    assert "several" in failed.why
    assert "ValueError: one" in failed.detail
    assert "KeyError" in failed.detail


@pytest.mark.parametrize("isolate", [False, True])
def test_work_returned_undone_fails_the_step(tree: Tree, isolate: bool) -> None:
    kinds = ["generate", "wait", "wait_often", "future"]
    steps = [Call("return_unrun", kind) for kind in kinds]
    tree.run(*[[step] for step in steps], [Call("run_coroutine")], isolate=isolate)
    names = ["generator", "coroutine", "async_generator", "Future"]
    assert [failed.why for failed in tree.failed()] == [
        f"error[JT461]: Call.run() returned an unfinished {name}: nothing will ever run it"
        for name in names
    ]
    assert all("inside run()" in failed.detail for failed in tree.failed())
    assert [tree.output(done) for done in tree.done()] == [b"a line ran\n"]
    assert "never awaited" not in tree.log()


def test_a_function_that_returns_work_undone_fails_its_step(tree: Tree) -> None:
    function = FunctionTarget(hidden, ("wait",), {}, None, None, None, None, False)
    tree.run([function])
    assert "hidden() returned an unfinished coroutine" in tree.failed()[0].why


def test_very_many_children(tree: Tree) -> None:
    tree.run([Call("children", 100_000)])
    (done,) = tree.done()
    assert (done.child_count, done.children) == (100_000, [])
    path = layout.result_path(str(tree.path), ISSUE)
    assert sum(1 for _ in read_children(path, done.children_at, 1, done.child_count)) == 100_000
    assert len(os.listdir(tree.path / "bundles")) == 2


def test_a_segfault_leaves_what_came_before(tree: Tree) -> None:
    tree.order([Call("nothing")], [Call("segfault")], [Call("nothing")])
    tree.work(-signal.SIGSEGV)
    assert [done.job for done in tree.done()] == [1]
    assert tree.reader.running is not None
    assert tree.reader.running.job == 2
    assert not tree.reader.ended


@pytest.mark.parametrize("status", [0, 1, 75, 99, 100])
def test_os_exit_costs_the_target_only_and_is_never_our_status(tree: Tree, status: int) -> None:
    tree.run([Call("exit_process", status)], [Call("nothing")], [Call("nothing")])
    (failed,) = tree.failed()
    assert (failed.crashed, failed.exit_status) == (True, status)
    assert tree.failed_output(failed) == b"bye\n"
    assert Returned([2, 3]) in tree.lines
    assert isinstance(tree.lines[-1], End)
    assert os.listdir(tree.scratch) == []


def test_left_threads_end_the_worker_after_the_step(tree: Tree) -> None:
    tree.run([Call("nothing"), Call("leave_thread")], [Call("nothing")])
    assert [(done.job, done.step, done.goes_on) for done in tree.done()] == [(1, 0, False)]
    assert Returned([2]) in tree.lines


def test_threads_that_ended_do_not_matter(tree: Tree) -> None:
    tree.run([Call("use_thread")], [Call("nothing")])
    assert [done.job for done in tree.done()] == [1, 2]


def test_a_target_that_forks_and_returns_twice_counts_once(tree: Tree) -> None:
    tree.run([Call("fork_and_return")], [Call("nothing")])
    assert [done.job for done in tree.done()] == [1, 2]
    assert len([line for line in tree.lines if isinstance(line, Start)]) == 2


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("kind", ["path", "bytes"])
def test_paths_of_every_form_are_published(tree: Tree, kind: str, isolate: bool) -> None:
    tree.run([Call("publish_odd", kind)], isolate=isolate)
    (done,) = tree.done()
    assert done.publish[0][0].endswith("/made")


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("kind", ["number", "nul"])
def test_what_is_no_path_is_the_steps_failure(tree: Tree, kind: str, isolate: bool) -> None:
    tree.run([Call("publish_odd", kind)], [Call("nothing")], isolate=isolate)
    (failed,) = tree.failed()
    assert ("TypeError" if kind == "number" else "JT421") in failed.why
    assert [done.job for done in tree.done()] == [2]


def test_what_cannot_be_written_down_is_the_steps_failure(tree: Tree) -> None:
    tree.run([Call("odd_child")], [Call("nothing")])
    (failed,) = tree.failed()
    assert "cannot be" in failed.why
    assert [done.job for done in tree.done()] == [2]


def test_publish_hands_back(tree: Tree) -> None:
    to = str(tree.home / "result")
    tree.run([Call("publish", to)])
    (done,) = tree.done()
    assert (done.goes_on, done.has_directory) == (False, True)
    ((source, destination),) = done.publish
    assert Path(source).read_text() == "42"
    assert destination == to
    assert not Path(to).exists()
