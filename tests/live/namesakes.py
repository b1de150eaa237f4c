"""Trees of one name, one begun anew under its old name, clocks that differ: who touches whose jobs.

Owns the scenarios; must not know any scheduler. Read next: workflows.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial

from tests.live.trees import TIMEOUTS, Master, Tree, calls, fake_client
from tests.live.waiting import eventually
from tests.live.workflows import assert_all_once, write_gated

NAME = "tree"

GIVES_UP_SOON = {TIMEOUTS: {"visibility_s": 4.0, "two_looks_s": 2.0}}
"""Graces by which a submission without a clear answer is soon given up."""

ROOT_BODY = """
class Root(Target):
    def __init__(self):
        super().__init__(memory=MEMORY, time=60)
    def run(self):
        note("began", batch_id())
        wait_for("gate")
        note("ran", batch_id())
"""


def _call(tree: Tree, name: str = NAME) -> None:
    """Give a tree a name that another one has, in a folder of its own."""
    tree.name, tree.directory = name, tree.home / name


def _start(tree: Tree, memory: str = "100M") -> Master:
    tree.write(f"MEMORY = {memory!r}\n{ROOT_BODY}")
    return tree.start()


def no_job_of_a_namesake_is_taken_or_killed(
    theirs: Tree, ours: Tree, submit: str, unclear: str
) -> None:
    """One tree's job runs; the other's submission gets no clear answer, and is killed meanwhile.

    ours: with graces GIVES_UP_SOON. unclear: what the client `submit` says, that does nothing.
    """
    _call(theirs)
    _call(ours)
    their_master = _start(theirs)
    theirs.wait_for_lines("began", 1)
    ours.bin = ours.home / "bin"
    say = f"cat >/dev/null; echo '{unclear}' >&2; exit 1"
    fake_client(ours.bin, submit, say, ours.environment["PATH"])
    our_master = _start(ours)
    our_master.wait_for_word("got no clear answer")
    print(ours.verb("kill").end().said)
    our_master.end()
    ours.bin = None
    ours.open("gate")
    ours.assert_done(ours.restart().end())
    assert len(ours.lines("ran")) == 1
    assert ours.lines("ran") != theirs.lines("began")
    assert their_master.lives(), their_master.said
    assert theirs.lines("ran") == [], "it waits for its gate as before"
    theirs.open("gate")
    ended = their_master.end()
    theirs.assert_done(ended)
    assert theirs.lines("ran") == theirs.lines("began")
    assert len(theirs.lines("ran")) == 1, "it was neither killed nor taken"
    assert "lost job" not in ended.said


def no_job_of_a_tree_removed_runs_anothers_order(
    tree: Tree, closed: AbstractContextManager[None]
) -> None:
    """A job waits while its tree is removed and begun anew, with more memory.

    closed: meanwhile no job starts.
    """
    _call(tree)
    tree.open("gate")
    with closed:
        first = _start(tree)
        (old,) = tree.wait_queued(1)
        first.kill()
        shutil.rmtree(tree.directory)
        second = _start(tree, "300M")
        both = tree.wait_queued(2)
    assert old in both
    ended = second.end()
    tree.assert_done(ended)
    eventually("the end of the old one", tree.queued, lambda found: not found)
    assert tree.lines("ran") == [job for job in both if job != old]
    assert "lost job" not in ended.said, "the old one took nothing of it"


def clocks_that_differ_harm_no_job(tree: Tree, clients: Sequence[str], around: str) -> None:
    """Clients answer by another zone, which one of their wrappers sets: `around`, in shell.

    No step has run for an hour, whatever the zone makes of it.
    """
    write_gated(tree, 8)
    tree.bin = tree.home / "bin"
    for client in clients:
        fake_client(tree.bin, client, f'{around} exec "$REAL" "$@"', tree.environment["PATH"])
    tree.open("gate0")
    master = tree.start("--maxJobDuration", "3600", "--rescueJobsFrequency", "2")
    tree.wait_for_lines("began", 8)
    master.wait_for_word("clock is about")
    looks = calls(tree.bin).count(clients[0])
    eventually(
        "some more looks at the queue",
        partial(calls, tree.bin),
        lambda made: made.count(clients[0]) >= looks + 6,
    )
    tree.open("gate")
    ended = master.end()
    tree.assert_done(ended)
    assert ended.said.count("clock is about") == 1
    assert "lost job" not in ended.said
    assert_all_once(tree, 8)
