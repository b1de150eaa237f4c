"""Packing: which ready jobs go together into one batch job. Pure.

Owns the sizes of packs; must not know colours, clocks or schedulers. Read next: store.py.

A pack runs its jobs one after another in one worker, so jobs are packed only when more are
ready than can run at once, and only until the pack lasts about --jobTime. Jobs that together
are done before a second worker would have started share one in any case.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from math import ceil
from typing import NamedTuple

from jobtree.job import Requirements

GROWTH = 16
"""A class seen n times is packed up to n * GROWTH: one bad guess does not fill a slot."""

START_S = 0.25
"""What the start of a worker takes, about: work shorter than that is not divided any more,
nor held back until more is known of its class than one step."""

SHORTEST_S = 0.0001
"""No step is taken to be shorter."""

SAFETY = 3
"""Pack-mates without an estimate add this many times their class's mean to the time asked."""


class Ready(NamedTuple):
    """A job that could be issued. needs: resolved requirements of its next command."""

    job: int
    label: str
    needs: Requirements
    estimated: bool
    """the user gave its time"""


class Measured(NamedTuple):
    """What the steps of one class took. mean_s: wall seconds; seen: how many."""

    mean_s: float
    seen: int


class Pack(NamedTuple):
    """Jobs for one issue, and what it needs: time_s is the sum of what its jobs expect."""

    jobs: tuple[int, ...]
    needs: Requirements


def plan(
    ready: Iterable[Ready],
    free: int,
    total: int,
    measured: Mapping[str, Measured],
    job_time_s: float,
    waiting: int,
    uneven: Collection[str] = (),
) -> list[Pack]:
    """Return packs for at most `free` slots of `total`, oldest job first.

    waiting: how many jobs are ready in all, `ready` being the first of them. Jobs share a pack
    only with jobs of the same cpus, gpus and memory. A pack takes a job's share of what waits,
    so that slots falling free later find work too. uneven: classes that have taken much longer
    than their mean.
    """
    sizes = _Sizes(measured, job_time_s, uneven)
    groups: dict[tuple[int | None, ...], deque[Ready]] = {}
    for job in ready:
        groups.setdefault(job.needs[:3], deque()).append(job)
    share = 1 if waiting <= free else ceil(waiting / max(total, free, 1))
    packs: list[Pack] = []
    queues = deque(groups.values())
    while queues and free > 0:
        queue = queues.popleft()
        pack = _fill(queue, share, sizes)
        packs.append(pack)
        free -= slots_of(pack.needs)
        if queue:
            queues.append(queue)
    return packs


def slots_of(needs: Requirements) -> int:
    """Return how many of a batch system's one-cpu slots an issue takes up."""
    return max(1, needs.cpus or 1)


def _fill(queue: deque[Ready], share: int, sizes: _Sizes) -> Pack:
    first = queue.popleft()
    jobs, expected = [first.job], sizes.expected(first)
    most, brief = sizes.most(first), sizes.is_brief(first)
    asked = first.needs.time_s or 0.0
    while queue:
        job = queue[0]
        more = sizes.expected(job)
        most = min(most, sizes.most(job))
        brief = brief and sizes.is_brief(job) and expected + more <= START_S
        if len(jobs) >= most or expected + more > sizes.job_time_s:
            break
        if len(jobs) >= share and not brief:
            break
        queue.popleft()
        jobs.append(job.job)
        expected += more
        asked += (job.needs.time_s or 0.0) if job.estimated else SAFETY * more
    return Pack(tuple(jobs), first.needs._replace(time_s=asked))


class _Sizes(NamedTuple):
    """What is known of how long jobs take."""

    measured: Mapping[str, Measured]
    job_time_s: float
    uneven: Collection[str]

    def expected(self, job: Ready) -> float:
        """Return the seconds a job is expected to take, 0 if nothing is known."""
        found = self.measured.get(job.label)
        if found is not None:
            return found.mean_s
        return (job.needs.time_s or 0.0) if job.estimated else 0.0

    def most(self, job: Ready) -> int:
        """Return how many jobs of this one's class a pack may hold, for what is known of it."""
        found = self.measured.get(job.label)
        if found is not None:
            brief = START_S / max(found.mean_s, SHORTEST_S) if self.is_brief(job) else 1
            return max(int(brief), found.seen * GROWTH)
        return 2**31 if job.estimated and job.needs.time_s else 1

    def is_brief(self, job: Ready) -> bool:
        """Tell whether a job may be trusted to take no longer than its class's mean."""
        return job.label in self.measured and job.label not in self.uneven
