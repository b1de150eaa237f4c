"""Jobs: the jobs an adapter answers for, by handle and by the scheduler's id.

Owns what is known of each, and the news not yet told; must not decide when to ask for more.
Read next: engine.py.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from batchsystems.commandline.answers import Observation, Phase
from batchsystems.commandline.dialect import Validation
from batchsystems.common.unique_names import NamesInUse
from batchsystems.interface import JobEnd, JobSpec, Refused, Update

NEVER = float("-inf")
FOREVER = float("inf")


@dataclass(slots=True, eq=False)
class Job:
    """One job from the first request to its end. Times are the engine's, unless said otherwise."""

    handle: int
    name: str
    """The spec's."""
    index: int
    part_name: str = ""
    """What the scheduler calls its submission."""
    native: str = ""
    output: str | None = None
    begun: float = NEVER
    """When its submission was, NEVER if that is not known."""
    shown: float | None = None
    """When it came in, as the scheduler first said, by its own clock."""
    phase: Phase = Phase.WAITING
    why: str = ""
    node: str = ""
    seen_at: float = 0.0
    running_s: float = 0.0
    accepted_at: float = 0.0
    killed: float | None = None
    """When a kill was last sent, NEVER if one was asked for and not sent, None if none was."""
    kills: int = 0
    """How many requests to end it have arrived."""
    refusals: int = 0
    """How often the scheduler has refused to end it."""
    unkilled: str = ""
    """Why it could not be ended when that was last tried."""
    absences: int = 0
    absent_since: float = 0.0
    stuck_since: float | None = None
    verdict: JobEnd | None = None
    private: str = ""
    """The file with the environment of its submission, where there is one."""
    record: str = ""
    """What the history last said of it while it was absent from the queue."""

    @property
    def accepted(self) -> bool:
        """Whether the scheduler is known to have it."""
        return bool(self.native)


@dataclass(slots=True, eq=False)
class Batch:
    """Jobs alike with consecutive indices, waiting to be one submission or in it."""

    spec: JobSpec
    cwd: str
    jobs: list[Job]
    avoids: bool = True
    check: Validation = Validation.ON
    refusals: int = 0
    """How often it was refused in words that are not known."""
    withdrawn: bool = False
    """It is not to be submitted again, should it come back."""

    @property
    def first(self) -> int:
        """The index of its first job."""
        return self.jobs[0].index

    @property
    def part_name(self) -> str:
        """What the scheduler is to call it: unique among the parts of a submission."""
        return part_name(self.spec.name, self.first)

    def follows(self, spec: JobSpec, cwd: str) -> bool:
        """Tell whether a job of this spec may be the next of this batch."""
        own = self.spec
        return (
            self.avoids
            and self.check is Validation.ON
            and not self.refusals
            and spec.index == self.jobs[-1].index + 1
            and (spec.name, spec.resources, spec.output) == (own.name, own.resources, own.output)
            and (spec.argv is own.argv or spec.argv == own.argv)
            and (spec.env is own.env or spec.env == own.env)
            and spec.private_env == own.private_env
            and cwd == self.cwd
        )

    def cut_off(self, at_most: int) -> Batch:
        """Split off up to `at_most` leading jobs with consecutive indices."""
        count = 1
        while count < min(at_most, len(self.jobs)):
            if self.jobs[count].index != self.jobs[count - 1].index + 1:
                break
            count += 1
        first = replace(self, jobs=self.jobs[:count])
        del self.jobs[:count]
        return first


@dataclass(slots=True, eq=False)
class Search:
    """A submission without a clear answer, looked for by name."""

    jobs: list[Job]
    names: tuple[str, ...]
    """What the scheduler may call it."""
    since: float
    """When it was first looked for."""
    begun: float
    """When the submission was."""
    absent: float | None = None
    """When a complete answer of all sources first did not have it."""
    wants_history: bool = False
    """The queue does not have it, and the history has not been asked since."""
    given_up: str = ""
    """Why it is not to be made again if it is not found, "" if it is."""
    killed: float | None = None
    """When it was last to be ended by name."""


def part_name(name: str, first: int) -> str:
    """Return what the scheduler calls the part of a submission that begins with this index."""
    return name if first == 0 else f"{name}.{first}"


def possible_names(name: str, index: int, tasks: int) -> tuple[str, ...]:
    """Return what the scheduler may call the part of a submission that has this index."""
    starts = {0, index, index - index % tasks}
    return tuple(part_name(name, start) for start in sorted(starts))


_PART = re.compile(r"(.+)\.([1-9]\d*)")


def parse_part_name(name: str, task: int | None) -> list[tuple[str, int]]:
    """Return which (name, index) of a spec may be meant by a scheduler's name and task."""
    found = [(name, task or 0)]
    part = _PART.fullmatch(name)
    if part:
        found.append((part[1], int(part[2]) + (task or 0)))
    return found


@dataclass(slots=True)
class JobTable:
    """All jobs that have not ended, and what is new of them."""

    jobs: dict[int, Job] = field(default_factory=dict)
    by_native: dict[str, Job] = field(default_factory=dict)
    names: NamesInUse = field(default_factory=NamesInUse)
    news: deque[tuple[int, Update]] = field(default_factory=deque)
    last: int = 0
    needing: dict[str, int] = field(default_factory=dict)
    """How many jobs not ended may still read a private file."""
    spent: list[str] = field(default_factory=list)

    def enter(self, name: str, index: int, output: str | None = None) -> Job:
        """Add a job; its handle was never used before."""
        self.last += 1
        self.names.add(name, index)
        job = self.jobs[self.last] = Job(self.last, name, index, output=output)
        return job

    def tell(self, job: Job, update: Update) -> None:
        """Add news of a job."""
        self.news.append((job.handle, update))

    def bind(self, job: Job, native: str, now: float) -> None:
        """Note the scheduler's id of a job."""
        job.native, job.accepted_at, job.seen_at = native, now, now
        self.by_native[native] = job

    def drop(self, job: Job, update: Update) -> None:
        """Tell the last news of a job, and forget it."""
        if self.jobs.pop(job.handle, None) is not None:
            self.by_native.pop(job.native, None)
            self.names.give_back(job.name, job.index)
            self._need_no_more(job.private)
            self.tell(job, update)

    def refuse(self, jobs: Sequence[Job], why: str) -> None:
        """Tell that these jobs are not taken, and forget them."""
        for job in jobs:
            self.drop(job, Refused(why))

    def need(self, jobs: Sequence[Job], private: str) -> None:
        """Note which jobs are to read a private file."""
        for job in jobs:
            self._need_no_more(job.private)
            job.private = private
        self.needing[private] = self.needing.get(private, 0) + len(jobs)

    def _need_no_more(self, private: str) -> None:
        left = self.needing.get(private, 0) - 1
        if left > 0:
            self.needing[private] = left
        elif self.needing.pop(private, 0):
            self.spent.append(private)

    def take_spent(self) -> list[str]:
        """Return the private files that no job needs any more."""
        found = [path for path in self.spent if path not in self.needing]
        self.spent.clear()
        return found

    def take_news(self) -> dict[int, Update]:
        """Return the oldest news of each job that has any; the rest stays."""
        updates: dict[int, Update] = {}
        later: deque[tuple[int, Update]] = deque()
        for handle, update in self.news:
            if handle in updates:
                later.append((handle, update))
            else:
                updates[handle] = update
        self.news = later
        return updates

    def clear(self) -> None:
        """Forget all jobs; what is new of them can still be asked for."""
        self.jobs.clear()
        self.by_native.clear()
        self.names = NamesInUse()

    def accepted(self) -> Iterable[Job]:
        """Return the jobs that the scheduler is known to have."""
        return self.by_native.values()


def newest(observations: Iterable[Observation]) -> dict[tuple[str, str], Observation]:
    """Return the newest record of each id and name: of several, the one submitted last.

    Ids are used again: of two jobs with one id each is known by its name.
    """
    found: dict[tuple[str, str], Observation] = {}
    for observation in observations:
        key = observation.native, observation.name
        known = found.get(key)
        if known is None or (observation.submitted or 0.0) >= (known.submitted or 0.0):
            found[key] = observation
    return found
