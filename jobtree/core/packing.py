"""Packing: which ready jobs go together into one batch job. Pure.

Owns the sizes of packs; must not know colours, clocks or schedulers. Read next:
scheduler_estimates.py, what batch jobs themselves cost; ../store/store.py.

A pack runs its jobs one after another in one worker, so jobs are packed only when more are
ready than can run at once, and only until the pack lasts about --jobTime. Jobs that together
are done before a second batch job would have started share one in any case, and so do as many as
are done in the time that starting all of them would take. That never costs more than what it
saves: the unstarted tails of packs are recalled once slots are free.
"""

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from math import ceil, sqrt
from typing import NamedTuple

from jobtree.core.job import Requirements
from jobtree.core.scheduler_estimates import START_S

GROWTH = 16
"""A pack holds at most GROWTH times as many jobs of a class as were measured: one bad guess
must not fill a slot."""

SIBLING_GROWTH = 4
"""The same for a class that was never measured, by how many of its siblings were."""

SHORTEST_S = 0.0001
"""No step is taken to be shorter than this."""

SAFETY = 3
"""Pack-mates without an estimate add this many times their class's mean to the time asked."""

WORTH_IT = 4
"""A pack may last this many times what its batch job costs, if no free slot is left without work
by it: starting then takes a fifth of a slot's time at most."""


class ReadyJob(NamedTuple):
    """A job that could be issued."""

    job: int
    label: str  # its class
    needs: Requirements  # of its next command, resolved
    estimated: bool  # the user gave its time
    group: Hashable = None  # what it shares with jobs of other classes that are probably like it
    raised: bool = False  # it ran out of time before: its class says nothing of how long it takes


class Measured(NamedTuple):
    """What the steps of one class took."""

    mean_s: float  # wall-clock
    seen: int  # how many steps


class Known(NamedTuple):
    """What is known of the jobs and of the batch system, when packs are planned."""

    classes: Mapping[str, Measured]  # what was measured of each class
    job_time_s: float  # how long a pack should last
    uneven: Collection[str] = ()  # classes that have taken much longer than their mean
    siblings: Callable[[Hashable], Measured | None] = lambda group: None  # see SiblingEstimates
    start_s: float = START_S  # see JobOverhead
    gap_s: float = 0.0


class Pack(NamedTuple):
    """Jobs for one issue."""

    jobs: tuple[int, ...]
    needs: Requirements  # time_s is the sum of what its jobs expect


def plan(
    ready: Iterable[ReadyJob], free: int, total: int, known: Known, waiting: int, ahead: int = 0
) -> list[Pack]:
    """Return packs for at most `free` slots of `total`, oldest job first.

    waiting: how many jobs are ready in all; `ready` are the first of them. Only jobs with the same
    cpus, gpus and memory share a pack. A pack takes one slot's share of what is waiting, so that
    slots that fall free later find work too. ahead: how many slots full packs may ask for, free
    or not: what already waits in the scheduler's own queue starts sooner.
    """
    sizes = _Sizes(known, waiting)
    groups: dict[tuple[int | None, ...], deque[ReadyJob]] = {}
    for job in ready:
        groups.setdefault(job.needs[:3], deque()).append(job)
    share = 1 if waiting <= free else ceil(waiting / max(total, free, 1))
    fair = ceil(waiting / max(free, 1))
    packs: list[Pack] = []
    queues = deque(groups.values())
    while queues and max(free, ahead) > 0:
        queue = queues.popleft()
        pack, is_full = _fill(queue, share, fair, sizes)
        if free <= 0 and not is_full:
            continue  # nothing more of these: what comes next may be longer, and is not looked at
        packs.append(pack)
        free -= slots_of(pack.needs)
        ahead -= slots_of(pack.needs)
        if queue:
            queues.append(queue)
    return packs


def slots_of(needs: Requirements) -> int:
    """Return how many of a batch system's one-cpu slots an issue takes up."""
    return max(1, needs.cpus or 1)


def _fill(queue: deque[ReadyJob], share: int, fair: int, sizes: "_Sizes") -> tuple[Pack, bool]:
    """Return a pack of the first jobs of a queue, and whether it is as long as packs should be.

    share: of what waits, for each slot there is; fair: for each that is free.
    """
    first = queue.popleft()
    known = sizes.known
    like, more = first[1:], sizes.expected(first)
    jobs, expected = [first.job], more
    most, trusted = sizes.most(first), sizes.is_trusted(first)
    brief_s, worth_s = sizes.brief_s(first), WORTH_IT * known.start_s
    asked, is_full = first.needs.time_s or 0.0, expected >= known.job_time_s
    while queue:
        job = queue[0]
        if job[1:] != like:  # most are as the one before
            like, more = job[1:], sizes.expected(job)
            most = min(most, sizes.most(job))
            trusted = trusted and sizes.is_trusted(job)
        lasts = expected + more
        is_full = lasts > known.job_time_s or known.job_time_s <= 0
        if len(jobs) >= most or is_full:
            break
        if len(jobs) >= share:
            in_any_case = lasts <= brief_s
            spares_none = len(jobs) < fair and lasts <= worth_s
            if not (trusted and (in_any_case or spares_none)):
                break
        queue.popleft()
        jobs.append(job.job)
        expected = lasts
        asked += (job.needs.time_s or 0.0) if job.estimated or job.raised else SAFETY * more
    return Pack(tuple(jobs), first.needs._replace(time_s=asked)), is_full


class _Sizes(NamedTuple):
    """How long jobs take, and how many of them may go together."""

    known: Known
    waiting: int

    def expected(self, job: ReadyJob) -> float:
        """Return the seconds a job is expected to take, 0 if nothing is known."""
        if job.raised:
            return job.needs.time_s or 0.0
        found = self._found(job)
        if found is not None:
            return found.mean_s
        return (job.needs.time_s or 0.0) if job.estimated else 0.0

    def most(self, job: ReadyJob) -> int:
        """Return how many jobs of this one's class a pack may hold, for what is known of it."""
        found = self.known.classes.get(job.label)
        if found is not None:
            quick = self.is_trusted(job)
            brief = self.known.start_s / max(found.mean_s, SHORTEST_S) if quick else 1
            return max(int(brief), found.seen * GROWTH)
        if job.estimated and job.needs.time_s:
            return 2**31
        siblings = self.known.siblings(job.group)
        return 1 if siblings is None else siblings.seen * SIBLING_GROWTH

    def is_trusted(self, job: ReadyJob) -> bool:
        """Tell whether a job may be trusted to take about as long as is expected."""
        told = job.estimated or self._found(job) is not None
        return told and job.label not in self.known.uneven

    def brief_s(self, job: ReadyJob) -> float:
        """Return how long a pack of such jobs may last while slots are free.

        As long as a batch job costs by itself; or, where so many are ready that starting one
        after the other takes longer, as long as the last of the packs then waits for its start.
        """
        all_s = self.waiting * self.expected(job)
        return max(self.known.start_s, sqrt(all_s * self.known.gap_s))

    def _found(self, job: ReadyJob) -> Measured | None:
        found = self.known.classes.get(job.label)
        if found is None and not (job.estimated and job.needs.time_s):
            found = self.known.siblings(job.group)
        return found
