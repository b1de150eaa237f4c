"""Sibling estimates: how long a class that was never seen will take, by its siblings. Pure.

Owns what is learnt of jobs that differ in class and share a parent, and whether they are shell
commands or Targets; must not know clocks. Read next: packing.py, which asks.

400 commands `./job_0001.sh`, `./job_0002.sh` and so on are 400 classes, of which each would be
tried alone; but siblings of one kind are mostly alike. How unlike they are is measured too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from math import sqrt

from jobtree.core.job import Job
from jobtree.core.packing import Measured

REMEMBERED = 1000
"""So many kinds are remembered, those heard of last."""

DEVIATIONS = 2.0
"""By so many standard deviations more than the mean a class is expected to take that is new."""


def sibling_group(job: Job) -> Hashable:
    """Return what a job has in common with its siblings of one kind."""
    return job.parent, job.stack[-1].kind


class SiblingEstimates:
    """What the first step of each class took, by kind."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Hashable, tuple[int, float, float]] = OrderedDict()

    def note(self, kind: Hashable, wall_s: float) -> None:
        """Take in the first measurement of a class."""
        count, mean, squares = self._seen.pop(kind, (0, 0.0, 0.0))
        count += 1
        before, mean = mean, mean + (wall_s - mean) / count
        self._seen[kind] = count, mean, squares + (wall_s - before) * (wall_s - mean)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def get(self, kind: Hashable) -> Measured | None:
        """Return what to expect of a new class, None if nothing is known of its siblings."""
        found = self._seen.get(kind)
        if found is None:
            return None
        count, mean, squares = found
        return Measured(mean + DEVIATIONS * sqrt(squares / count), count)
