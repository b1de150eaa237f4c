"""What a Target changes in its process, and leaves at work in it, harms none of the pack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobtree.mailbox import layout
from jobtree.mailbox.last_error import last_error
from jobtree.mailbox.results import Returned
from tests.component.worker.process_targets import Do
from tests.component.worker.worker_targets import Call
from tests.component.worker.workers import SUBMISSION, Tree

pytestmark = pytest.mark.usefixtures("no_stray_processes")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def returned(tree: Tree) -> list[int]:
    return [job for line in tree.lines if isinstance(line, Returned) for job in line.jobs]


# ---- another version ----------------------------------------------------------------------


def test_an_order_of_another_protocol_is_refused_before_anything_is_done(tree: Tree) -> None:
    tree.order([Call("nothing")])
    order = Path(layout.order_path(str(tree.path), SUBMISSION))
    order.write_bytes(order.read_bytes().replace(b'{"protocol":1,', b'{"protocol":2,', 1))
    assert not tree.work(status=70)
    words = last_error(tree.errors, 0)
    assert words == f"the order cannot be read: {order} speaks protocol 2, this worker 1"
    assert not list((tree.path / "claims").iterdir())


# ---- changed -----------------------------------------------------------------------------


def test_what_a_target_changes_is_as_it_was_for_the_next(tree: Tree) -> None:
    steps = ["look", "change", "look", "look", "change", "look", "change_one_locale", "look"]
    tree.run(*([Do(step)] for step in steps))
    done = tree.done()
    assert len(done) == len(steps), (tree.failed(), tree.log())
    looks = [tree.output(done[at]) for at in (0, 2, 3, 5, 7)]
    assert len(set(looks)) == 1
    assert b"prec=11" in looks[0]  # what modules set when they are imported stands
    assert b" 2345 " in looks[0]
    assert b"FutureWarning" in looks[0]


def test_no_target_draws_what_another_has_seeded(tree: Tree) -> None:
    tree.run(*[[Do("seed")], [Do("draw")]] * 5)
    drawn = tree.log().split()
    assert len(set(drawn)) == len(drawn) == 5


@pytest.mark.parametrize("name", ["be_nice", "lower_hard_limit"])
def test_what_only_root_can_undo_is_undone_or_ends_the_worker(tree: Tree, name: str) -> None:
    tree.run([Do("look")], [Do(name)], [Do("look")])
    done = tree.done()
    if len(done) == 3:
        assert tree.output(done[0]) == tree.output(done[2])
    else:
        assert returned(tree) == [3]
        assert "cannot be undone here" in tree.log()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("leave_session", "session"),
        pytest.param("change_user", "its user, session, groups", marks=needs_root),
    ],
)
def test_what_cannot_be_undone_ends_the_worker_and_says_so(
    tree: Tree, name: str, told: str
) -> None:
    tree.run([Do("after_change")], [Do(name)], [Do("after_change")])
    assert [done.job for done in tree.done()] == [1, 2]
    assert returned(tree) == [3]
    assert "runs no further Target after this one" in tree.output(tree.done()[1]).decode()
    assert told in tree.log()


@needs_root
def test_another_root_directory_is_left_again(tree: Tree) -> None:
    tree.run([Do("after_change")], [Do("change_root")], [Do("after_change")])
    assert [done.job for done in tree.done()] == [1, 2, 3]
    assert tree.log() == "after\nafter\n"


# ---- left at work ------------------------------------------------------------------------


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize(
    ("step", "written"),
    [
        (("leave_thread",), "x"),
        (("leave_chain_of_threads",), "x"),
        (("leave_executor", "threads", False), "xxxx"),
        (("leave_executor", "threads", True), "xxxx"),
        (("leave_executor", "processes", False), "xxxx"),
        (("leave_executor", "processes", True), "xxxx"),
        (("leave_process",), "x"),
    ],
)
def test_a_step_is_done_when_its_work_is(
    tree: Tree, tmp_path: Path, step: tuple, written: str, isolate: bool
) -> None:
    path = str(tmp_path / "late")
    name, *rest = step
    arguments = [*rest[:1], path, *rest[1:]]
    tree.run([Do(name, *arguments)], [Do("read", path)], isolate=isolate)
    assert Path(path).read_text() == written
    assert not tree.failed()
    done = {line.job for line in tree.done()}
    assert done | set(returned(tree)) == {1, 2}
    if 2 in done:
        assert f"read {written}\n" in tree.log()
    if name != "leave_chain_of_threads":
        assert "which the step left at work" in tree.log()
    if name in ("leave_thread", "leave_process"):
        assert 2 in done  # the worker is as good as before
    if step == ("leave_executor", "threads", True) and not isolate:
        assert "an executor was not shut down" in tree.log()
        assert returned(tree) == [2]


def test_a_failed_steps_threads_are_waited_for_too(tree: Tree, tmp_path: Path) -> None:
    path = str(tmp_path / "late")
    tree.run([Do("leave_thread_and_fail", path)])
    assert tree.failed()[0].why == "ValueError: no good"
    assert Path(path).read_text() == "x"


def test_a_thread_left_may_add_children(tree: Tree) -> None:
    tree.run([Do("leave_child_adder")])
    assert tree.done()[0].child_count == 2


def test_a_daemon_thread_left_ends_the_worker(tree: Tree, tmp_path: Path) -> None:
    """As Python does at its exit: nobody waits for daemons."""
    path = tmp_path / "late"
    tree.run([Do("leave_thread", str(path), True)], [Call("nothing")])
    assert returned(tree) == [2]
    assert "threads of it are still at work: 1" in tree.log()
