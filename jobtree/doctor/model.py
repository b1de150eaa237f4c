"""The doctor's records: what an examination is asked for, what canaries did, how checks went.

Owns the data in which canary.py, runner.py, grading.py and the command line talk. Pure; decides
nothing. Read next: grading.py.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from batchsystems.interface import JobEnd, JobSpec, Refused, Resources
from batchsystems.site import Site

SMALL = Resources(cpus=1, memory_bytes=128 * 2**20, time_s=300)
"""What a canary asks for that needs next to nothing."""


class ExaminationOptions(NamedTuple):
    """What the user asks of an examination, and how long each part of it may take."""

    directory: str = "."
    """where trees are to be, on the file system that nodes share"""
    quick: bool = False
    """leave out the canary that runs into its time limit"""
    time_limit_s: float = 60.0
    """the limit that canary runs into"""
    overrun_s: float = 300.0
    """how long after its limit the scheduler must have ended it"""
    hold_memory_s: float = 75.0
    """how long too much memory is held: some schedulers look twice a minute"""
    accept_s: float = 120.0
    """until the first job has an id"""
    queue_s: float = 600.0
    """in the queue"""
    end_s: float = 120.0
    """from a job's end until the batch system tells of it"""
    files_s: float = 15.0
    """from there until the job's files are seen here"""
    kill_s: float = 60.0
    """until killed jobs are gone"""


class JudgingContext(NamedTuple):
    """What canaries are made with, and what grading must know beside what became of them."""

    system: str
    """the batch system, by its one name"""
    site: Site
    keys: Sequence[str]
    """all keys of the batch system's table in a site file"""
    directory: str
    """the canaries' own, on the file system that is to be shared"""
    token: str
    """tells this examination from others"""
    python: str
    """the interpreter of workers, as the site says"""
    scratch: str
    """where local temp directories are to be, as the site says"""
    asks_memory: bool = True
    """whether jobs here ask for memory at all"""
    clock_slack_s: float = 300.0
    """by how much clocks may differ"""
    published_s: float = 120.0
    """how long after its results a batch job may stay in the queue"""


@dataclass(frozen=True, slots=True)
class Canary:
    """One job, or one array, that shows one thing."""

    name: str
    argv: tuple[str, ...]
    resources: Resources = SMALL
    run_s: float = 60.0
    """how long it may run"""
    size: int = 1
    """how many tasks it has"""
    output: str | None = None
    """where it prints"""
    files: tuple[str, ...] = ()
    """those it is to leave"""

    def specs(self, token: str) -> list[JobSpec]:
        """Return what to submit; the name is readable, and of this examination alone."""
        name = f"doctor-{self.name.replace(' ', '-')}.{token}"
        first = JobSpec(name, self.argv, self.resources, cwd="/", output=self.output)
        return [replace(first, index=index) for index in range(self.size)]


class Grade(enum.Enum):
    """How a check went. A warning is worth a change, but nothing fails for it."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "FAILED"
    SKIPPED = "skipped"


class CheckResult(NamedTuple):
    """One row of the table."""

    check: str
    grade: Grade
    seen: str
    """what was observed"""
    remedy: str = ""
    """what to do"""
    keys: tuple[str, ...] = ()
    """of the site file, to do it with"""


class Delay(enum.Enum):
    """What a canary was doing when it was given up."""

    NONE = ""
    WAITED = "waited"
    RAN = "ran"


@dataclass
class Case:
    """What became of a canary. Times are epoch seconds of this host."""

    canary: Canary
    issued: float
    accepted: float | None = None
    refused: Refused | None = None
    ends: list[JobEnd] = field(default_factory=list)
    """one of each task that ended"""
    ended: float | None = None
    """when the last of them was told"""
    missing: tuple[str, ...] = ()
    """files it was to leave and did not"""
    tail: str = ""
    """the end of its output"""
    delay: Delay = Delay.NONE
    waited_s: float = 0.0
    """after how long it was given up"""
    explained: str = ""
    """why it waits, in the batch system's words"""


class Visit(NamedTuple):
    """The exchange of files with node_script.py on a node. Times are epoch seconds of this host."""

    hello: Mapping[str, Any] | None = None
    """what the node wrote first"""
    hello_at: float = 0.0
    """when that was seen here"""
    ping_at: float = 0.0
    """when it was answered"""
    pong: Mapping[str, Any] | None = None
    """what the node wrote when it saw the answer"""
    pong_at: float = 0.0
    """when that was seen here"""


def status_of(end: JobEnd) -> str:
    """Return how a job ended, in two words."""
    if end.signal is not None:
        return f"signal {end.signal}"
    if end.exit_status is not None:
        return f"exit status {end.exit_status}"
    return end.reason.value


def on_node(end: JobEnd) -> str:
    """Return " on NODE", "" if it is not known where."""
    return f" on {end.node}" if end.node else ""


def clock_of(visit: Visit) -> tuple[float, float] | None:
    """Return by how much the node's clock is ahead, and how exactly that is known; None if not."""
    if visit.pong is None:
        return None
    middle = (visit.ping_at + visit.pong_at) / 2
    return float(visit.pong["seen"]) - middle, (visit.pong_at - visit.ping_at) / 2


def end_delay_s(case: Case, visit: Visit) -> float | None:
    """Return how long after a job's end the batch system told of it, None if not known."""
    clock = clock_of(visit)
    if clock is None or case.ended is None or visit.pong is None:
        return None
    return max(0.0, case.ended - (float(visit.pong["seen"]) - clock[0]))
