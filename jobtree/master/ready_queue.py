"""The queue of ready jobs, of which only a window is in memory.

Owns their order, oldest first; must not know what becomes of them. Read next: dispatch.py.
"""

from __future__ import annotations

from collections import deque

from jobtree.core.job import Colour, Job
from jobtree.store.store import Store

WINDOW = 10_000
"""So many ids are in memory; what is ready beyond them is in the store."""


class ReadyQueue:
    """The white jobs, oldest first; only a window of them is in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._window: deque[int] = deque()
        self._on_disk = True
        self._uncommitted = False

    def push(self, job: Job) -> None:
        """Add a job that has just turned white."""
        if self._on_disk or len(self._window) >= WINDOW:
            self.spill()
        else:
            self._window.append(job.id)

    def spill(self) -> None:
        """Note that the store has more white jobs, or will have with the next commit."""
        self._on_disk = self._uncommitted = True

    def committed(self) -> None:
        """Note that the store now shows all that was pushed."""
        self._uncommitted = False

    def pop(self, limit: int) -> list[Job]:
        """Remove and return the oldest ready jobs."""
        if not self._window and self._on_disk:
            found = self._store.white_jobs(0, WINDOW)
            self._window.extend(job.id for job in found)
            self._on_disk = len(found) == WINDOW or self._uncommitted
        jobs: list[Job] = []
        while self._window and len(jobs) < limit:
            job = self._store.get(self._window.popleft())
            if job is not None and job.colour == Colour.WHITE:
                jobs.append(job)
        return jobs

    def push_front(self, jobs: list[Job]) -> None:
        """Put jobs that were not issued back in front."""
        self._window.extendleft(job.id for job in reversed(jobs))
