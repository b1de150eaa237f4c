"""What a worker does about orders, claims and fences."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from jobtree.core.job import Requirements
from jobtree.errors import StoreError
from jobtree.mailbox import layout
from jobtree.mailbox.claims import (
    Claim,
    Fence,
    check_fence,
    remove_claims,
    take_claim,
    write_fence,
)
from jobtree.mailbox.results import Done, End, Returned
from jobtree.payload.jobfile import shell_command
from tests.component.worker.worker_targets import Call
from tests.component.worker.workers import ISSUE, SUBMISSION, TERMS, Tree, wait_until

pytestmark = pytest.mark.usefixtures("no_stray_processes")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


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
