"""What one worker does with jobs and packs: chains, hand-backs, failures, fences, claims."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

import jobtree
from jobtree.core.job import Requirements
from jobtree.errors import StoreError
from jobtree.mailbox import layout
from jobtree.mailbox.bundles import read_pickle
from jobtree.mailbox.claims import (
    Claim,
    Fence,
    check_fence,
    remove_claims,
    take_claim,
    write_fence,
)
from jobtree.mailbox.orders import Assignment
from jobtree.mailbox.results import Done, End, Hello, Returned, Start, read_children
from jobtree.payload.jobfile import shell_command
from jobtree.target import FunctionTarget
from tests.component.worker.worker_targets import Call, hidden
from tests.component.worker.workers import ISSUE, SUBMISSION, TERMS, Tree, wait_until


def read_pickle_of(tree: Tree, done: Done) -> bytes:
    """Return a child's pickle, which must be as it was written."""
    where = done.children[0].pickle
    assert where is not None
    return read_pickle(str(tree.path), where)


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


# ---- isolated ----------------------------------------------------------------------------


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


# ---- claims, orders, fences --------------------------------------------------------------


def test_a_withdrawn_order_is_left_alone(tree: Tree) -> None:
    tree.work(75)
    assert tree.errors == ""
    assert os.listdir(tree.path / "claims") == []


def test_an_order_that_is_not_the_one_submitted_for_is_left_alone_and_told(tree: Tree) -> None:
    tree.order([Call("nothing")], submission="j-another.1-1")
    os.rename(tree.path / "orders" / "j-another.1-1", tree.path / "orders" / SUBMISSION)
    tree.work(75)
    assert f"{SUBMISSION} is the order of j-another.1-1" in tree.errors
    assert os.listdir(tree.path / "claims") == os.listdir(tree.path / "results") == []


def test_a_tree_that_is_not_to_be_seen_is_no_withdrawn_order(tree: Tree) -> None:
    tree.order([Call("nothing")])
    tree.path.rename(tree.path.with_name("elsewhere"))
    tree.path.mkdir()  # as an empty mount point is
    tree.work(70)
    assert f"JT354]: the tree {tree.path} is not to be seen on the node" in tree.errors


def test_a_tree_lost_from_sight_is_no_word_to_stop(tree: Tree) -> None:
    assert check_fence(str(tree.path), ISSUE) == Fence.STOP  # its claim was removed
    tree.path.rename(tree.path.with_name("elsewhere"))
    with pytest.raises(StoreError, match="is not to be seen on the node"):
        check_fence(str(tree.path), ISSUE)


def test_a_claim_lost_is_left_alone(tree: Tree) -> None:
    tree.order([Call("nothing")])
    fd = take_claim(str(tree.path), ISSUE, Claim("other", 1, "abc", 0.0, 0))
    assert fd is not None
    os.close(fd)
    tree.work(75)
    assert os.listdir(tree.path / "results") == []
    assert len(os.listdir(tree.path / "claims")) == 2  # the claim and the loser's note


def test_another_protocol_is_refused(tree: Tree) -> None:
    tree.order([Call("nothing")])
    path = Path(layout.order_path(str(tree.path), SUBMISSION))
    path.write_text(path.read_text().replace('"protocol":1', '"protocol":2'))
    tree.work(70)
    assert "protocol 2" in tree.errors


def test_an_order_others_can_write_is_refused(tree: Tree) -> None:
    tree.order([Call("nothing")])
    Path(layout.order_path(str(tree.path), SUBMISSION)).chmod(0o666)
    tree.work(70)
    assert "JT330" in tree.errors


def test_a_missing_directory_is_the_workers_failure(tree: Tree) -> None:
    tree.order([Call("nothing")])
    tree.home.rmdir()
    tree.work(70)
    assert "home" in tree.errors
    assert tree.reader.running is None


def test_stop_before_the_start(tree: Tree) -> None:
    tree.order([Call("nothing")])
    write_fence(str(tree.path), ISSUE, Fence.STOP)
    tree.work(75)
    assert os.listdir(tree.path / "claims") == []


@pytest.mark.parametrize("word", [Fence.STOP, Fence.RECALL])
def test_a_fence_while_at_work(tree: Tree, word: str) -> None:
    began, until = tree.home / "began", tree.home / "until"
    tree.order([Call("nothing"), Call("wait_for_file", str(began), str(until))], [Call("nothing")])
    worker = tree.start()
    wait_until(began)
    write_fence(str(tree.path), ISSUE, word)
    time.sleep(0.12)  # not for a state: the worker need not look more often than every 0.1 s
    until.touch()
    worker.communicate(timeout=60)
    lines = tree.reader.read(final=True)
    if word == Fence.STOP:
        assert worker.returncode == 75
        assert not any(isinstance(line, End | Returned) for line in lines)
    else:
        assert worker.returncode == 0
        assert Returned([2]) in lines
        assert isinstance(lines[-1], End)
    assert os.listdir(tree.scratch) == []


def test_a_worker_given_up_for_dead_stops_when_its_claim_is_gone(tree: Tree) -> None:
    began, until = tree.home / "began", tree.home / "until"
    tree.order([Call("nothing"), Call("wait_for_file", str(began), str(until))], [Call("nothing")])
    worker = tree.start()
    wait_until(began)
    remove_claims(str(tree.path), {ISSUE})
    time.sleep(0.12)  # not for a state: the worker need not look more often than every 0.1 s
    until.touch()
    worker.communicate(timeout=60)
    assert worker.returncode == 75
    assert not any(isinstance(line, End | Returned) for line in tree.reader.read(final=True))


def test_a_recall_in_parts_leaves_a_worker_its_own(tree: Tree) -> None:
    began, until = tree.home / "began", tree.home / "until"
    first = [Call("nothing"), Call("wait_for_file", str(began), str(until))]
    tree.order(first, *([Call("say", str(number))] for number in range(2, 10)))
    worker = tree.start()
    wait_until(began)
    write_fence(str(tree.path), ISSUE, Fence.recall(3, 1))
    time.sleep(0.12)  # not for a state: the worker need not look more often than every 0.1 s
    until.touch()
    worker.communicate(timeout=60)
    assert worker.returncode == 0
    lines = tree.reader.read(final=True)
    assert [line for line in lines if isinstance(line, Returned)] == [Returned([5, 6, 7, 8, 9])]
    assert [line.job for line in lines if isinstance(line, Done)] == [1, 1, 2, 3, 4]


def test_what_may_not_end_in_time_is_not_begun(tree: Tree) -> None:
    granted = TERMS.granted._replace(time_s=3.0)
    nap = shell_command("sleep 1.5", Requirements())
    lines = tree.run([nap], [Call("nothing")], [Call("nothing")], granted=granted)
    assert Returned([2, 3]) in lines
    assert isinstance(lines[-1], End)


def test_recall_before_the_first_job_returns_all(tree: Tree) -> None:
    tree.order([Call("nothing")], [Call("nothing")])
    write_fence(str(tree.path), ISSUE, Fence.RECALL)
    _, returned, _ = tree.work()
    assert returned == Returned([1, 2])
