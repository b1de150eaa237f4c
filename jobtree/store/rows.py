"""Rows: how jobs, issues and history lie in tree.db's tables, and come back.

Owns the statements that write them; must not run any. Read next: store.py, which does.
"""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from jobtree.core.job import Colour, Command, Job, Requirements, command_from_wire

encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().raw_decode
_COLOURS = tuple(Colour)


class StoredIssue(NamedTuple):
    """An issue as it is kept."""

    submission: str
    task: int
    state: int  # an issue_states.State
    native: str  # the scheduler's own id
    batch_system: str
    submitted: float  # epoch seconds
    granted: Requirements
    pack: tuple[tuple[int, int, int], ...]  # (job, attempt, step) each
    killed_for: str


class HistoryEntry(NamedTuple):
    """One row of a job's history: the end of a step or of an attempt."""

    at: float  # epoch seconds
    job: int
    step: int
    attempt: int
    label: str  # the class of the step
    event: str  # done, failed or lost
    issue: str = ""
    estimate_s: float | None = None  # the user's
    wall_s: float | None = None
    cpu_s: float | None = None
    memory_bytes: int | None = None  # peak
    waited_s: float | None = None  # for its worker to begin
    log_offset: int | None = None  # in the worker's log
    log_length: int | None = None
    why: str | None = None
    detail: str | None = None


INSERT = "insert into jobs values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
UPDATE = """update jobs set parent=?, colour=?, attempt=?, step=?, child_count=?,
    black_child_count=?, retries=?, rescues=?, memory_bytes=?, time_s=?, isolate=?,
    has_directory=? where id=?"""
UPDATE_STACK = "update jobs set stack=? where id=?"
ADD_RECORD = "insert into history values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_REFERENCES = """insert into bundles values (?, ?) on conflict (name)
    do update set references_left = references_left + excluded.references_left"""
ADD_CLASS = """insert into classes values (?, ?, ?) on conflict (label)
    do update set done = done + excluded.done, wall_s = wall_s + excluded.wall_s"""
DROP_UNUSED = "delete from bundles where name = ? and references_left <= 0"


def storable(text: str | None) -> str | None:
    r"""Return text as UTF-8 can hold it: names of files that are no text become \udcff."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def job_row(job: Job) -> tuple[Any, ...]:
    """Return a job's columns, in the table's order."""
    return (*plain_row(job), encode(job.stack))


def plain_row(job: Job) -> tuple[Any, ...]:
    """Return a job's columns but the last, which is dear to make and seldom changes."""
    return (*job[:2], int(job.colour), *job[4:])


def job_of(row: tuple[Any, ...]) -> Job:
    """Return the job that job_row() was given."""
    number, parent, colour, *counts, isolate, has_directory, stack = row
    commands = tuple([command_from_wire(wire) for wire in _decode(stack)[0]])
    flags = bool(isolate), bool(has_directory)
    return Job._make((number, parent, _COLOURS[colour], commands, *counts, *flags))


def issue_row(issue: StoredIssue) -> tuple[Any, ...]:
    """Return an issue's columns, in the table's order."""
    return (*issue[:6], encode(issue.granted), encode(issue.pack), issue.killed_for)


def issue_of(row: tuple[Any, ...]) -> StoredIssue:
    """Return the issue that issue_row() was given."""
    *plain, granted, pack, killed_for = row
    held = tuple((job, attempt, step) for job, attempt, step in json.loads(pack))
    return StoredIssue._make((*plain, Requirements(*json.loads(granted)), held, killed_for))


def bundles_of(stack: Iterable[Command]) -> list[str]:
    """Return the bundle of each pickled Target in a stack."""
    return [command.pickle.bundle for command in stack if command.pickle is not None]
