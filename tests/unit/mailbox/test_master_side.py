"""The master's side of the mailbox: how far the last lines of a dead worker are believed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jobtree.core.job import Command, CommandKind, Pickle, Requirements
from jobtree.mailbox import layout
from jobtree.mailbox.bundles import BundleWriter
from jobtree.mailbox.master_side import Mailbox
from jobtree.mailbox.results import Children, Done, LogRange, ResultLine, Synced, Usage, append_line

ISSUE = "j-x.1-1.0"


@pytest.fixture
def tree(tmp_path: Path) -> str:
    for name in layout.SUBDIRECTORIES:
        (tmp_path / name).mkdir(exist_ok=True)
    return str(tmp_path)


@pytest.fixture
def mailbox(tree: str) -> Iterator[Mailbox]:
    with closing(Mailbox(tree, None)) as mailbox:
        yield mailbox


def bear(tree: str, name: str) -> Command:
    bundle = BundleWriter(tree, ISSUE)
    where = bundle.add(f"<{name}>".encode())
    bundle.close()
    return Command(CommandKind.TARGET, name, "", Requirements(), where)


def done(job: int, children: list[Command], at: int = -1) -> Done:
    listed = [] if at >= 0 else children
    usage, log = Usage(1.0, 1.0, None), LogRange(0, 0)
    return Done(job, 1, 0, usage, len(children), listed, at, None, False, [], [], log, False, "")


def write(tree: str, *lines: ResultLine) -> None:
    fd = os.open(layout.result_path(tree, ISSUE), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for line in lines:
        append_line(fd, line)
    os.close(fd)


def lose_half(tree: str) -> None:
    path = layout.bundle_path(tree, ISSUE)
    os.truncate(path, os.path.getsize(path) - 2)


def test_a_step_whose_children_were_lost_with_its_node_is_not_believed(
    tree: str, mailbox: Mailbox
) -> None:
    first, second = done(1, [bear(tree, "a")]), done(2, [bear(tree, "b"), bear(tree, "c")])
    write(tree, first, second, done(3, []))
    lose_half(tree)
    assert mailbox.read(ISSUE, final=True) == [first]
    assert "job 2" in mailbox.damage(ISSUE)


def test_children_in_lines_of_their_own_are_looked_at_too(tree: str, mailbox: Mailbox) -> None:
    children = [bear(tree, name) for name in "abc"]
    write(tree, Children(1, children), done(1, children, at=0))
    lose_half(tree)
    assert mailbox.read(ISSUE, final=True) == []


def test_what_is_known_to_be_on_disk_is_not_read_back(tree: str, mailbox: Mailbox) -> None:
    gone = Command(CommandKind.TARGET, "a", "", Requirements(), Pickle("no-such-bundle", 0, 3, "d"))
    line = done(1, [gone])
    write(tree, line)
    write(tree, Synced(os.path.getsize(layout.result_path(tree, ISSUE))))
    assert mailbox.read(ISSUE, final=True) == [line]
    assert not mailbox.damage(ISSUE)
