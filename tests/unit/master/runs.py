"""A run with one job, as reports see it, and what happens to it at a test's word.

Owns the run and its clock; must not check anything. Read next: ../report/test_progress.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jobtree import options
from jobtree.core.issue_states import State
from jobtree.core.job import Colour, Command, CommandKind, Requirements
from jobtree.core.job_states import Budgets, first_job
from jobtree.mailbox.results import Start
from jobtree.master.issue import Issue
from jobtree.master.run_state import RunState
from jobtree.store.rows import HistoryEntry
from jobtree.store.store import Store

NOW = 1_763_802_842.0


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def epoch(self) -> float:
        return NOW + self.time


@contextmanager
def living(directory: Path) -> Iterator[RunState]:
    """Make a run of one job, whose clock stands until it is told otherwise."""
    command = Command(CommandKind.SHELL, "Sort", "sort", Requirements())
    root = first_job(1, 0, command, Budgets(0, 0))
    store = Store.create(f"{directory}/tree.db", root, {"started": NOW, "options": "{}"})
    settings, _ = options.settings_in_force({})
    mailbox: Any = SimpleNamespace(running=lambda _: Start(1, 1, 0, 2.0))
    try:
        yield RunState(str(directory), store, mailbox, settings, 3, Clock(), {})
    finally:
        store.close()


def ours() -> bool:
    """Tell that the tree is still this master's."""
    return True


def paint(run: RunState, colour: Colour) -> None:
    job = run.store.get(1)
    assert job is not None
    run.store.put(job, job._replace(colour=colour))
    run.store.commit()


def fail(run: RunState, why: str = "exit status 1") -> None:
    run.store.record(HistoryEntry(NOW, 1, 0, 1, "Sort", "failed", why=why))
    paint(run, Colour.RED)


def later(run: RunState, seconds: float) -> None:
    clock = run.clock
    assert isinstance(clock, Clock)
    clock.time += seconds


def add_issue(run: RunState, state: State) -> Issue:
    issue = Issue("s1", 0, "singleMachine", Requirements(), [(1, 1, 0)], NOW, run.clock.now())
    issue.state, issue.node, issue.started_at = state, "node007", run.clock.now()
    run.add_issue(issue)
    return issue
