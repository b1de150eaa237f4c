"""The contract between whoever runs jobs and a batch system: BatchSystem and its data.

Owns the words (JobSpec, Resources, JobEnd, Reason, updates); must not know any scheduler,
nor any tree of jobs. Read next: singlemachine/adapter.py, the plainest whole adapter.
"""

from __future__ import annotations

import enum
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from batchsystems.site import Site

INDEX = "{index}"
"""The element of a JobSpec's argv that an adapter replaces by the task's index."""

NAME_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,62}")
"""What a submission's name must match whole, so that every scheduler can search for it."""


class Reason(enum.Enum):
    """Why a batch job ended, as far as the batch system knows."""

    OK = "ok"
    FAILED = "failed"
    OUT_OF_MEMORY = "out of memory"
    TIME_LIMIT = "time limit"
    NODE_FAILED = "node failed"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    LAUNCH_FAILED = "launch failed"
    REJECTED = "rejected"
    LOST = "lost"
    ENDED = "ended"
    """Gone from the batch system, with no verdict."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What one job asks for, or what a machine has free.

    cpus: whole processors. memory_bytes: None for no limit. gpus: whole devices.
    time_s: wall-clock limit in seconds, None for no limit.
    """

    cpus: int = 1
    memory_bytes: int | None = None
    gpus: int = 0
    time_s: float | None = None


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One job to submit.

    name: the submission's, which no other of this user's may have while a job of it is unfinished:
    by it a job is looked for whose submission got no clear answer, taken back, and killed. Specs
    of one issueJobs call that share it may become one array, told apart by index (0..n-1), and
    then differ in nothing else. argv: the program and its arguments, no shell; an element equal
    to INDEX becomes the index in decimal.
    env: the whole environment (None: the caller's, without what a scheduler left in it for a job
    that the caller runs in). Every variable given reaches the command, whatever its name; only a
    scheduler's own whose value is unchanged from the caller's is no gift but a copy of that.
    cwd: absolute (None: the caller's).
    output: file to which the batch job's own stdout and stderr are appended (None: dropped).
    private_env: a file of shell lines that export what more there is to the environment, which
    nodes see and its owner alone may read: what the site runs before a job starts with that, where
    there is such a thing (`worker.setup`), and env itself is then no secret.
    """

    name: str
    argv: tuple[str, ...]
    resources: Resources = Resources()
    index: int = 0
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    output: str | None = None
    private_env: str | None = None

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise ValueError(f"submission name {self.name!r} does not match {NAME_PATTERN.pattern}")
        if not self.argv:
            raise ValueError(f"submission {self.name} has an empty argv")

    def command(self) -> list[str]:
        """Return argv with INDEX replaced, for adapters that start each task themselves."""
        return [str(self.index) if word == INDEX else word for word in self.argv]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The batch system has the job. native: its own id for it, opaque, kept for adopt()."""

    native: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The batch system will not take the job; nothing of it runs or will run.

    why: for the user, with the remedy. transient: the same request may be taken later.
    """

    why: str
    transient: bool = False


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """The submission may or may not have been accepted, and the adapter is finding out.

    Followed by Accepted (found), or by Refused(transient=True) once its absence was seen in
    two complete answers.
    """

    why: str


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended, as the batch system tells it. The last update of any job.

    exit_status: 0-255, None if it did not exit. signal: what killed it, None if nothing did.
    memory_bytes: peak of the whole job, None if unknown (never a guess). cpu_s: user + system.
    wall_s: seconds it ran. node: where. evidence: what the verdict rests on, for people.
    """

    reason: Reason
    exit_status: int | None = None
    signal: int | None = None
    node: str = ""
    memory_bytes: int | None = None
    cpu_s: float | None = None
    wall_s: float | None = None
    evidence: tuple[str, ...] = ()


Update = Accepted | Refused | Ambiguous | JobEnd


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What a caller kept of a job across its own restart, for adopt().

    native is "" when no Accepted had arrived. submitted: epoch seconds of the intent.
    """

    name: str
    index: int
    native: str
    submitted: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """What holds jobs up, for as long as it does.

    what: for people, with what is done about it. since: epoch seconds.
    """

    what: str
    since: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a batch system can run at once: in total, for the largest single job.

    slots: how many jobs of one cpu run at once at most, None when the adapter cannot tell.
    largest: the most that one job may ask for. told: whether the batch system has been heard;
    while it is False the rest is a guess, and asking again, once there is news, gives more.
    """

    slots: int | None = None
    largest: Resources = field(default_factory=lambda: Resources(cpus=2**31))
    told: bool = True


@dataclass(frozen=True, slots=True)
class Caller:
    """What whoever uses a batch system wants of it, beside what the site says.

    state_dir: a directory for the adapter's own records, the same for a later instance that is
    to adopt() jobs. max_cpus: the most that will be asked for at once. None: not said.
    """

    state_dir: str | None = None
    max_cpus: int | None = None


class BatchSystem(ABC):
    """A batch system. Four methods make one; each other has a default that keeps its promise.

    Ids are the adapter's own handles: positive ints, never reused within one instance.
    No method may block for longer than a local system call takes: a slow scheduler is asked in
    the background, and the answer arrives through getUpdatedJobs. Absence is never success.
    """

    name = ""
    here = False
    """Whether jobs run on the machine of whoever uses it."""

    @classmethod
    def from_site(cls, site: Site, section: str, caller: Caller) -> Self:
        """Make one as a site file describes it; `section` is the name of its own table there.

        By default that table's keys are arguments of the constructor.
        """
        return cls(**site.table(section))

    @abstractmethod
    def issueJob(self, spec: JobSpec) -> int:
        """Submit one job; return its handle at once. Acceptance or refusal arrives later.

        Raises ValueError if an unfinished job of this instance has its name and index.
        """

    @abstractmethod
    def getIssuedJobIDs(self) -> frozenset[int]:
        """Return the handles that have not ended, from the last complete answer.

        Raises Unobtainable when there has been no complete answer lately.
        """

    @abstractmethod
    def getUpdatedJobs(self) -> dict[int, Update]:
        """Return what is new since the last call, each update once, without blocking.

        Of a job with several news the oldest comes first, the others in later calls.
        """

    @abstractmethod
    def killJobs(self, ids: Iterable[int]) -> None:
        """Request the end of these jobs. Only their JobEnd, or absence, confirms it."""

    def issueJobs(self, specs: Sequence[JobSpec]) -> list[int]:
        """Submit many jobs, as arrays where there are any; return handles in the same order.

        Raises ValueError, and takes none, as issueJob() does.
        """
        return [self.issueJob(spec) for spec in specs]

    def getRunningJobIDs(self) -> dict[int, float]:
        """Return handle -> seconds running, for the jobs known to have started."""
        return {}

    def adopt(self, records: Sequence[JobRecord]) -> list[int | None]:
        """Take back jobs submitted by an earlier instance; None where that is not possible.

        Afterwards getIssuedJobIDs has the adopted unfinished ones beside one's own, never foreign
        jobs. A job that ended meanwhile is adopted too: its JobEnd arrives as an update. Nothing
        that is not named here is ended, or forgotten: what to do with it is the caller's word.
        """
        return [None] * len(records)

    def strays(self) -> list[JobRecord]:
        """Return the jobs of earlier instances that this one has not adopted, as far as known.

        Only an adapter that keeps records of its own (in Caller.state_dir) knows of any. They may
        be another living instance's. A caller that wants none adopts and then kills them.
        """
        return []

    def explain(self, ids: Iterable[int]) -> dict[int, str]:
        """Say, for people, why these jobs do not run yet. Unknown ids are left out."""
        return {}

    def troubles(self) -> Sequence[Trouble]:
        """Say what holds jobs up now: a scheduler that gives no answer, takes or ends no jobs."""
        return ()

    def expect_ends(self) -> None:
        """Note that jobs are ending by themselves: the scheduler is worth asking soon."""
        return None

    def exclude(self, nodes: Iterable[str]) -> None:
        """Keep later submissions away from these nodes, where the scheduler can."""
        return None

    def capacity(self) -> Capacity:
        """Return how much can run at once, and the most that one job may ask for.

        The first call may have a slow scheduler asked: then fileno() turns readable when it has
        answered.
        """
        return Capacity()

    def fileno(self) -> int | None:
        """Return a descriptor that turns readable when getUpdatedJobs has news, if any."""
        return None

    def flush(self, timeout_s: float | None = None) -> frozenset[int]:
        """Wait until all that was taken has been sent; return the handles of what was not in time.

        Sent is what a later instance can find: the scheduler was asked to take it, or it runs.
        timeout_s: seconds to wait at most, None for as long as it takes.
        """
        return frozenset()

    def withdraw(self) -> frozenset[int]:
        """Take back what was taken and not yet sent, and return its handles: it will never run.

        Each ends as CANCELLED. For a caller that leaves and wants nothing more submitted.
        """
        return frozenset()

    def close(self) -> None:
        """Send what was taken, and let go: jobs live on, and a later instance may adopt them.

        Waits for a bounded time. What could not be sent is logged, and told by one more
        getUpdatedJobs as Refused(transient=True). A program that ends without it has it called
        then. issueJob of a closed one raises BatchSystemError (JT268). Idempotent.
        """
        return None
