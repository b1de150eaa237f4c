"""Sibling estimates: how long a class that was never seen will take, by its siblings. Pure.

Owns what is learnt of jobs that have the same parent and kind (shell command or Target), but
different classes; must not know clocks. Read next: packing.py, which asks.

400 commands `./job_0001.sh`, `./job_0002.sh` and so on are 400 classes, and each would be tried
alone; but siblings of one kind are mostly alike. How much they differ is measured too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from math import sqrt

from jobtree.core.job import Job
from jobtree.core.packing import Measured

REMEMBERED = 1000
"""How many groups are remembered: those measured last."""

DEVIATIONS = 2.0
"""A new class is expected to take the mean of its siblings plus this many standard deviations."""


def sibling_group(job: Job) -> Hashable:
    """Return what a job has in common with its siblings of one kind."""
    return job.parent, job.stack[-1].kind


class SiblingEstimates:
    """How long the first step of each class took, by group of siblings."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Hashable, tuple[int, float, float]] = OrderedDict()

    def note(self, group: Hashable, wall_s: float) -> None:
        """Take in the first measurement of a class."""
        count, mean, squares = self._seen.pop(group, (0, 0.0, 0.0))
        count += 1
        before, mean = mean, mean + (wall_s - mean) / count
        self._seen[group] = count, mean, squares + (wall_s - before) * (wall_s - mean)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def get(self, group: Hashable) -> Measured | None:
        """Return what to expect of a new class, None if nothing is known of its siblings."""
        found = self._seen.get(group)
        if found is None:
            return None
        count, mean, squares = found
        return Measured(mean + DEVIATIONS * sqrt(squares / count), count)
