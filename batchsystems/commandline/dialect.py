"""Dialect: what a command-line scheduler's adapter supplies: pure functions and tables.

Owns the words in which CommandLine and an adapter talk; must not hold a clock, a process or
a thread. Read next: ../slurm/dialect.py, the first dialect; engine.py, which uses one.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from batchsystems.interface import JobEnd, Resources
from batchsystems.transport.local import Command, CommandResult

LITTLE = Resources()
"""What every machine has."""


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
    """One job as one answer shows it.

    native: the scheduler's id of the job or array task. name: the submission's, "" if the answer
    does not tell. word: the scheduler's own for its state. why: its reason for waiting.
    submitted, started: epoch seconds. running_s: how long it has run, where the answer does not
    tell when it started. end: with Phase.ENDED alone.
    """

    native: str
    name: str
    phase: Phase
    word: str = ""
    why: str = ""
    submitted: float | None = None
    running_s: float | None = None
    node: str = ""
    end: JobEnd | None = None
    started: float | None = None


@dataclass(frozen=True, slots=True)
class QueryResult:
    """An answer about jobs. Only a complete one tells that a job is not there.

    why: what is wrong with an incomplete one. off: there is nothing to be asked (accounting is
    not kept here), so that asking again is in vain. broken: ids of jobs or submissions, and
    names, in rows that could not be read: of what bears one of them nothing was learnt. cut: the
    answer was too long, and less should be asked for.
    """

    observations: Sequence[Observation] = ()
    complete: bool = False
    why: str = ""
    off: bool = False
    broken: Collection[str] = frozenset()
    cut: bool = False

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
    """Not accepted: a check says that it could never run, not why. Try it with Check.WHY."""
    UNCHECKED = "unchecked"
    """Not accepted, for no reason that holds: the check cannot judge it. Use Check.OFF."""
    UNKNOWN = "unknown"
    """It may have been accepted: the answer did not arrive, or not all of it."""
    STRANGE = "strange"
    """It may have been accepted: an answer came that cannot be understood. A few tries."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A submission was accepted. native: the scheduler's id of it, an array's without task."""

    native: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A submission was not, or not certainly, accepted. words: the scheduler's, for people."""

    kind: Rejection
    words: str


@dataclass(frozen=True, slots=True)
class Unkilled:
    """What came of a kill for some of those it was for.

    words: the scheduler's, for people. refused: it was asked and will not do it, so that asking
    again is of little use; else the request did not arrive. natives: of which, as they were
    given (none: of all).
    """

    words: str
    refused: bool = False
    natives: Collection[str] = frozenset()


class Validation(enum.Enum):
    """What is to be done of a scheduler's check whether a submission can ever run."""

    ON = "on"
    """Submit it if the check finds nothing, where there is a check."""
    WHY = "why"
    """Submit nothing, and have the reasons told."""
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Request:
    """One submission to make.

    name: what the scheduler is to call it. size: None for a single job, else an array of that
    many tasks numbered from 0 (or 1, as the scheduler likes). first: the index of the first
    task, which the command has to add to its own. command: its element INDEX stands for the
    index. cwd: absolute. env: the job's environment, harmless to the scheduler's commands. given:
    what the caller gave with the job under names that a scheduler or a node uses itself: for the
    job's command alone, whose value it is to be whatever they say. private_env: see JobSpec.
    """

    name: str
    command: tuple[str, ...]
    resources: Resources
    size: int | None
    first: int
    cwd: str
    env: Mapping[str, str]
    output: str | None = None
    avoid: tuple[str, ...] = ()
    check: Validation = Validation.ON
    given: Mapping[str, str] = field(default_factory=dict)
    private_env: str | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue or partition, and the most that one job may ask for in it (None: not known).

    preferred: a job that names no queue goes here if it fits. preemptible: others end its jobs.
    pushes: its jobs end others'. tier: a higher one is served first. closed: not for everybody, or
    not now.
    """

    name: str
    cpus: int | None = None
    memory_bytes: int | None = None
    gpus: int | None = None
    time_s: float | None = None
    preferred: bool = False
    preemptible: bool = False
    pushes: bool = False
    tier: int = 0
    closed: bool = False

    def lacks(self, asked: Resources) -> str:
        """Return what a job asks for that this queue never has, "" if it fits."""
        if self.cpus is not None and asked.cpus > self.cpus:
            return f"{asked.cpus} cpus (it has {self.cpus})"
        if self.memory_bytes is not None and (asked.memory_bytes or 0) > self.memory_bytes:
            return f"{_gib(asked.memory_bytes or 0)} of memory (it has {_gib(self.memory_bytes)})"
        if self.gpus is not None and asked.gpus > self.gpus:
            return f"{asked.gpus} gpus (it has {self.gpus})"
        if self.time_s is not None and (asked.time_s or 0.0) > self.time_s:
            return f"{asked.time_s or 0:.0f} s (its limit is {self.time_s:.0f} s)"
        return ""

    def drawbacks(self, asked: Resources) -> tuple[bool | float, ...]:
        """Return what speaks against sending a job here that fits, the gravest first.

        It may not be let in; the site would have it elsewhere; gpus lie idle under it; it is ended
        for others, or ends others; it is served late; it takes room that is for longer jobs.
        """
        longest_s = FOREVER_S if self.time_s is None else self.time_s
        return (
            self.closed,
            not self.preferred,
            not asked.gpus and bool(self.gpus),
            self.preemptible,
            self.pushes,
            -self.tier,
            0.0 if asked.time_s is None else longest_s,
        )


FOREVER_S = float("inf")


@dataclass(frozen=True, slots=True)
class Bound:
    """No more than so many jobs of one cpu run at once. queue: in that queue ("": in all).

    source: who says so; a later answer of the same source takes the place of all its bounds.
    by: what else bounds that queue, by the scheduler's name for it. shared: the scheduler itself
    chooses among such queues, so that what they run adds up. time_s: the longest job of the queue.
    """

    source: str
    most: int
    queue: str = ""
    by: str = ""
    shared: bool = False
    time_s: float | None = None

    def takes(self, asked: Resources) -> bool:
        """Tell whether the queue takes jobs that last so long."""
        return self.time_s is None or (asked.time_s or 0.0) <= self.time_s


@dataclass(frozen=True, slots=True)
class Limits:
    """What is known of a cluster's limits. tasks: the most in one array (None: not known)."""

    tasks: int | None = None
    queues: tuple[Queue, ...] = field(default_factory=tuple)
    bounds: tuple[Bound, ...] = ()

    def bounded(self, source: str, bounds: Iterable[Bound]) -> Limits:
        """Return the limits with these bounds instead of those that the source told before."""
        others = tuple(bound for bound in self.bounds if bound.source != source)
        return replace(self, bounds=(*others, *bounds))

    def slots(self, asked: Resources = LITTLE) -> int | None:
        """Return how many jobs of one cpu run at once, at most; None if nothing is known.

        asked: what they are like, of which their queue depends.
        """
        chosen = self.choose(asked) or self.choose(LITTLE)
        names = ("",) if chosen is None else ("", chosen.name)
        found = [bound.most for bound in self.bounds if bound.queue in names]
        if chosen is None:
            fitting = [b.most for b in self.bounds if b.shared and b.takes(asked)]
            found += [sum(fitting)] if fitting else []
        return min(found, default=None)

    def choose(self, asked: Resources) -> Queue | None:
        """Return the queue a job is best sent to, None if it fits in none that is known.

        Of several with no fewer drawbacks the first is taken.
        """
        fitting = (queue for queue in self.queues if not queue.lacks(asked))
        return min(fitting, key=lambda queue: queue.drawbacks(asked), default=None)

    def impossible(self, asked: Resources) -> str:
        """Say why a job can never run here, "" if it can or nothing is known."""
        if not self.queues or self.choose(asked) is not None:
            return ""
        said = "; ".join(f"{queue.name}: {queue.lacks(asked)}" for queue in self.queues[:8])
        return f"asks for more than any queue here ever has: {said}: lower it, or add a queue"

    def largest(self) -> Resources | None:
        """Return the most that one job may ask for, taking each resource by itself."""
        if not self.queues:
            return None
        times = [queue.time_s for queue in self.queues]
        memories = [queue.memory_bytes for queue in self.queues]
        return Resources(
            cpus=max(2**31 if queue.cpus is None else queue.cpus for queue in self.queues),
            memory_bytes=None if None in memories else max(m for m in memories if m is not None),
            gpus=max(2**31 if queue.gpus is None else queue.gpus for queue in self.queues),
            time_s=None if None in times else max(t for t in times if t is not None),
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"


@dataclass(frozen=True, slots=True)
class RecordKey:
    """Whose record a line of a scheduler's file is.

    submission, name: as the scheduler has them. newest: the latest time in it, epoch seconds.
    """

    submission: str
    name: str
    newest: float


class Dialect(ABC):
    """How one scheduler is spoken to. Every method is pure; parsers never raise."""

    name = ""
    programs: tuple[str, ...] = ()
    """Without these on PATH the scheduler cannot be used at all."""
    scrubbed: tuple[str, ...] = ()
    """Prefixes of variables that an enclosing job leaves, which would act on a new one."""
    scrubbed_names: frozenset[str] = frozenset()
    """Variables of that kind whose names are too common to be told by a prefix."""
    kept: frozenset[str] = frozenset()
    """Variables of those prefixes that only say where the scheduler is, or what users wish."""
    fixed: Mapping[str, str] = {}
    """Variables that the commands are given whose answers are read."""
    node_s_own: frozenset[str] = frozenset()
    """Variables in which a job has what its node says, unless they were given with it."""
    arrays = True
    by_name = False
    """Whether queue() can ask for some names alone."""
    tells_reasons = False
    """Whether reasons() has anything to ask."""
    known: Limits = Limits()
    """What is known of the limits without asking."""

    def uses(self, name: str) -> bool:
        """Tell whether a variable of this name acts on the scheduler's commands."""
        return name in self.scrubbed_names or name.startswith(self.scrubbed or ("=",))

    @abstractmethod
    def submit(self, request: Request, limits: Limits) -> Command:
        """Return the command that submits it."""

    @abstractmethod
    def parse_submit(self, ran: CommandResult) -> Submitted | Rejected:
        """Read its answer. Whatever is not clear is Kind.UNKNOWN or Kind.STRANGE."""

    @abstractmethod
    def queue(self, names: Sequence[str] = ()) -> Command:
        """Return the one command that tells of all jobs of this user.

        names: of submissions of these names alone, for a dialect with by_name.
        """

    @abstractmethod
    def parse_queue(self, ran: CommandResult) -> QueryResult:
        """Read its answer."""

    @abstractmethod
    def kill(self, natives: Sequence[str]) -> Command:
        """Return the command that ends these jobs, tasks and whole arrays."""

    @abstractmethod
    def parse_kill(self, ran: CommandResult) -> Unkilled | None:
        """Return None if the request arrived, or there is nothing left to be ended."""

    @abstractmethod
    def split(self, native: str) -> tuple[str, int | None] | None:
        """Return an id's submission and task (from 0); None if it is no id of this scheduler."""

    @abstractmethod
    def join(self, submission: str, task: int) -> str:
        """Return the id of one task of an array."""

    def kill_named(self, name: str) -> Command | None:
        """Return the command that ends this user's submission of that name, None if none can."""
        return None

    def submission(self, native: str) -> str:
        """Return the id of the submission that a job belongs to."""
        split = self.split(native)
        return native if split is None else split[0]

    def history(self, natives: Iterable[str], names: Iterable[str], since: float) -> Command | None:
        """Return the command that tells of jobs no longer queued; None if there is none.

        natives: only these jobs; else names: only these submissions; else all of this user.
        since: epoch seconds, before which none of them was submitted.
        """
        return None

    def parse_history(self, ran: CommandResult) -> QueryResult:
        """Read its answer: of several records of a job, the newest comes last."""
        return QueryResult(off=True)

    def record_file(self) -> str:
        """Return the path of the scheduler's file of ended jobs, "" where history() is to be asked.

        It appends a line for each job or try at one; the next two methods read them.
        """
        return ""

    def record_key(self, line: str) -> RecordKey | None:
        """Read at little cost whose line it is; None if it is no record."""
        return None

    def parse_records(self, lines: Sequence[str]) -> list[Observation]:
        """Read the lines of some jobs, in the order of the file; leave out what is damaged."""
        return []

    def damaged(self, line: str) -> bool:
        """Tell whether parse_records() can make nothing of a job's line: that is then told."""
        return False

    def reasons(self, natives: Sequence[str]) -> tuple[Command, ...]:
        """Return what tells why these submissions wait, where the queue's answer does not."""
        return ()

    def parse_reasons(self, command: Command, ran: CommandResult) -> Mapping[str, str]:
        """Read the answer to one of them: a submission's id -> its reason."""
        return {}

    def discover(
        self, limits: Limits, tasks: int, asked: Resources = LITTLE
    ) -> tuple[Command, ...]:
        """Return what is worth asking before so many tasks that ask for this are submitted.

        Each command is run once, whatever comes of it.
        """
        return ()

    def capacity(self, limits: Limits, user: str) -> tuple[Command, ...]:
        """Return what tells how many jobs of this user run at once, for parse_limits().

        They are run once in a while, for as long as anybody wants to know.
        """
        return ()

    def impossible(self, asked: Resources, limits: Limits) -> str:
        """Say why a job can never run here, "" if it can or nothing is known."""
        return limits.impossible(asked)

    def parse_limits(self, command: Command, ran: CommandResult, limits: Limits) -> Limits:
        """Add what the answer to one of the discover() or capacity() commands tells."""
        return limits

    def remedy(self, why: str) -> str:
        """Say what a reason for waiting means and what to do, "" if there is nothing to add."""
        return ""

    def hopeless(self, why: str) -> bool:
        """Tell whether a job that waits for this reason will not start by itself."""
        return False

    def suspicious(self, end: JobEnd) -> bool:
        """Tell whether the tail of the job's output may say more of how it ended."""
        return False

    def reread(self, end: JobEnd, native: str, tail: str) -> JobEnd:
        """Return the end as the tail of the job's output shows it."""
        return end
