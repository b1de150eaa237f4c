"""Submissions: jobs on their way to the scheduler, as few submissions as there can be.

Owns what waits to be submitted, in which portions, and for how long; must not run anything.
Read next: engine.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from batchsystems.commandline.jobs import Batch, Job, JobTable
from batchsystems.commandline.pacing import Timeouts
from batchsystems.interface import JobEnd, JobSpec, Reason, Update

NEVER_SUBMITTED = JobEnd(Reason.CANCELLED, evidence=("it had not been submitted",))


@dataclass(slots=True)
class SubmissionQueue:
    """Batches in the order in which they came; arrays False: each job is a submission."""

    job_table: JobTable
    timeouts: Timeouts
    arrays: bool = True
    held_until: float = float("-inf")
    held_for: str = ""
    held_since: float | None = None
    tries: int = 0
    """How often in a row nothing was taken."""
    _hold_s: float = 0.0
    _size: int | None = None
    _room: int | None = None
    _batches: deque[Batch] = field(default_factory=deque)
    _inside: set[int] = field(default_factory=set)
    _withdrawn: bool = False

    @property
    def waiting(self) -> deque[Batch]:
        """The batches, without what was withdrawn: that is taken out when they are looked at."""
        if self._withdrawn:
            for batch in self._batches:
                batch.jobs = [job for job in batch.jobs if job.handle in self._inside]
            self._batches = deque(batch for batch in self._batches if batch.jobs)
            self._withdrawn = False
        return self._batches

    def post(self, specs: Sequence[JobSpec], cwd: str) -> list[int]:
        """Take these jobs in; return their handles.

        Raises ValueError, and takes none, if one has the name and index of an unfinished job.
        """
        self.job_table.names.take(specs)
        handles = []
        for spec in specs:
            job = self.job_table.enter(spec.name, spec.index, spec.output)
            handles.append(job.handle)
            self._inside.add(job.handle)
            last = self._batches[-1] if self._batches else None
            if last is not None and last.follows(spec, spec.cwd or cwd):
                last.jobs.append(job)
            else:
                self._batches.append(Batch(spec, spec.cwd or cwd, [job]))
        return handles

    def put_back(self, batch: Batch) -> None:
        """Have a batch be the next again."""
        self._inside.update(job.handle for job in batch.jobs)
        self._batches.appendleft(batch)

    def withdraw(self, jobs: Iterable[int]) -> None:
        """Drop those of these jobs that still wait here, in a time that others do not add to."""
        for handle in self._inside.intersection(jobs):
            self._inside.discard(handle)
            self._withdrawn = True
            self.job_table.drop(self.job_table.jobs[handle], NEVER_SUBMITTED)

    def empty(self, update: Update) -> list[Job]:
        """Drop all that waits here, with this as the last news of each; return it."""
        dropped = [job for batch in self.waiting for job in batch.jobs]
        self._batches.clear()
        self._inside.clear()
        for job in dropped:
            self.job_table.drop(job, update)
        return dropped

    def due(self) -> float:
        """Return from when on something may be submitted."""
        return self.held_until if self._inside else float("inf")

    def largest(self) -> int:
        """Return how many tasks the next array would have without any limit."""
        return len(self.waiting[0].jobs) if self.waiting else 0

    def next(self, tasks: int | None) -> Batch:
        """Return the next batch to submit, no larger than the scheduler's arrays may be."""
        limits = (tasks or self.timeouts.tasks, self._size, self._room, None if self.arrays else 1)
        most = min(limit for limit in limits if limit is not None)
        first = self.waiting[0].cut_off(max(1, most))
        if not self._batches[0].jobs:
            self._batches.popleft()
        self._inside.difference_update(job.handle for job in first.jobs)
        return first

    def taken(self) -> None:
        """Note that the scheduler accepts submissions."""
        self._hold_s, self.held_for, self.held_until = 0.0, "", float("-inf")
        self.held_since, self.tries = None, 0
        if self._room is not None:
            self._room *= 2

    def full(self, batch: Batch, why: str, now: float) -> None:
        """Put a batch back for which there is no room now; a smaller one may find some."""
        self._room = max(1, len(batch.jobs) // 2)
        self.hold(batch, why, now)

    def hold(self, batch: Batch, why: str, now: float) -> None:
        """Put a batch back, and wait."""
        self.put_back(batch)
        self.pause(why, now)

    def pause(self, why: str, now: float) -> None:
        """Submit nothing for a while: ever longer while the scheduler goes on refusing."""
        least, most = self.timeouts.hold_s, self.timeouts.hold_most_s
        self._hold_s = min(max(2 * self._hold_s, least), most)
        self.held_since = now if self.held_since is None else self.held_since
        self.tries += 1
        self.held_until, self.held_for = now + self._hold_s, why

    def halve(self, batch: Batch) -> None:
        """Put a batch back that was too large an array, to be submitted in smaller ones."""
        self._size = max(1, len(batch.jobs) // 2)
        self.put_back(batch)

    def room(self, now: float) -> None:
        """Note that jobs have ended, so that a limit on their number may be felt no more."""
        self.held_until = min(self.held_until, now)

    def explain(self, job: Job) -> str:
        """Say what a job waits for that was not submitted yet."""
        if self.held_for:
            return f"not submitted yet; the scheduler takes no more now: {self.held_for}"
        return "not submitted yet: submissions are paced"
