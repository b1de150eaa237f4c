"""Answers: what a dialect's parsers return, whatever the scheduler.

Owns these words; must not know a scheduler. Read next: dialect.py, which asks.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from batchsystems.interface import JobEnd


class Phase(enum.Enum):
    """Where a scheduler has a job."""

    WAITING = "waiting"
    RUNNING = "running"
    SUSPENDED = "suspended"
    STUCK = "stuck"
    """It will never run unless an operator steps in: ended after a grace."""
    ENDED = "ended"
    UNKNOWN = "unknown"
    """A word the adapter does not know: the job is left as it was."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One job as one answer shows it."""

    native: str
    """The scheduler's id of the job or array task."""
    name: str
    """The submission's, "" if the answer does not tell."""
    phase: Phase
    word: str = ""
    """The scheduler's own for its state."""
    why: str = ""
    """Its reason for waiting, in the scheduler's words."""
    submitted: float | None = None
    """Epoch seconds."""
    running_s: float | None = None
    """How long it has run, where the answer does not tell when it started."""
    node: str = ""
    end: JobEnd | None = None
    """With Phase.ENDED alone."""
    started: float | None = None
    """Epoch seconds."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """An answer about jobs. Only a complete one tells that a job is not there."""

    observations: Sequence[Observation] = ()
    complete: bool = False
    why: str = ""
    """What is wrong with an incomplete one."""
    off: bool = False
    """There is nothing to be asked (accounting is not kept here): asking again is in vain."""
    broken: Collection[str] = frozenset()
    """Ids of jobs or submissions, and names, in rows that could not be read: of what bears one
    of them nothing was learnt."""
    cut: bool = False
    """The answer was too long, and less should be asked for."""
    mark: str = ""
    """An acknowledgement: give it to queue_after(), for a scheduler that repeats answers until told
    they arrived."""

    def hides(self, *marks: str) -> bool:
        """Tell whether a row that could not be read may be of what bears one of these."""
        return bool(self.broken) and any(mark in self.broken for mark in marks if mark)


class Rejection(enum.Enum):
    """What a scheduler's error means for a submission."""

    OUTAGE = "outage"
    """Certainly not accepted: the scheduler cannot be reached. Wait."""
    FULL = "full"
    """Not accepted now: a limit on how much may be queued. Wait."""
    CROWDED = "crowded"
    """Not accepted now: a limit on how many submissions there may be, of any size. Wait."""
    NODES = "nodes"
    """Not accepted because of the nodes to be avoided. Ask again without."""
    SIZE = "size"
    """Not accepted because the array is too large. Ask again in smaller ones."""
    LIMIT = "limit"
    """Not accepted: a limit on how much may be queued, or one that holds for ever."""
    PERMANENT = "permanent"
    """Not accepted, now or ever."""
    REFUSED = "refused"
    """Not accepted, in words that are not known: a few tries more, then it is permanent."""
    UNFIT = "unfit"
    """Not accepted: a check says that it could never run, not why. Try it with Validation.WHY."""
    UNCHECKED = "unchecked"
    """Not accepted, for no reason that holds: the check cannot judge it. Use Validation.OFF."""
    UNKNOWN = "unknown"
    """It may have been accepted: the answer did not arrive, or not all of it."""
    STRANGE = "strange"
    """It may have been accepted: an answer came that cannot be understood. A few tries."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A submission was accepted."""

    native: str
    """The scheduler's id of it, an array's without task."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A submission was not, or not certainly, accepted."""

    kind: Rejection
    words: str
    """The scheduler's, for people."""


@dataclass(frozen=True, slots=True)
class Unkilled:
    """What came of a kill for some of those it was for."""

    words: str
    """The scheduler's, for people."""
    refused: bool = False
    """It was asked and will not do it, so that asking again is of little use; else the request
    did not arrive."""
    natives: Collection[str] = frozenset()
    """Of which, as they were given (none: of all)."""
