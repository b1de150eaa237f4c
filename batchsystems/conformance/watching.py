"""Watching a batch system in a test: its updates, checked as they come, and plain jobs to give it.

Owns the waiting for a state, never for a time; must not know any adapter. Read next: suite.py.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from batchsystems.errors import Unobtainable
from batchsystems.interface import Accepted, BatchSystem, JobEnd, JobSpec, Refused, Update

PATIENCE_S = 120.0


def wait_for(
    condition: Callable[[], object], what: str = "", patience_s: float = PATIENCE_S
) -> None:
    """Return as soon as the condition holds; fail the test if it does not come."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience_s} s in vain: {what or condition}"
        time.sleep(0.002)


class Watcher:
    """Collects the updates of a batch system and checks their order as they come."""

    def __init__(self, batch: BatchSystem) -> None:
        self.batch = batch
        self.news: dict[int, list[Update]] = {}

    def poll(self, wait_s: float = 0.02) -> None:
        """Wait a moment for news, and take them."""
        descriptor = self.batch.fileno()
        if descriptor is None:
            time.sleep(min(wait_s, 0.02))
        else:
            select.select([descriptor], [], [], wait_s)
        for job, update in self.batch.getUpdatedJobs().items():
            told = self.news.setdefault(job, [])
            assert not any(isinstance(old, JobEnd | Refused) for old in told), (told, update)
            assert update not in told, f"told twice: {update}"
            told.append(update)

    def until(
        self, condition: Callable[[], object], what: str = "", patience_s: float = PATIENCE_S
    ) -> None:
        """Take news until the condition holds."""
        deadline = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain: {what}; news: {self.news}"
            self.poll()

    def obtainable(self) -> bool:
        """Tell whether the batch system has an answer that is not too old."""
        try:
            self.batch.getIssuedJobIDs()
        except Unobtainable:
            return False
        return True

    def last(self, job: int) -> Update | None:
        """Return the newest update of the job."""
        return self.news[job][-1] if job in self.news else None

    def accepted(self, job: int) -> str:
        """Wait for the job's native id."""
        self.until(lambda: self.news.get(job), f"acceptance of {job}")
        first = self.news[job][0]
        assert isinstance(first, Accepted), first
        return first.native

    def end(self, job: int, patience_s: float = PATIENCE_S) -> JobEnd:
        """Wait for the end of the job."""
        self.until(lambda: isinstance(self.last(job), JobEnd), f"end of {job}", patience_s)
        last = self.last(job)
        assert isinstance(last, JobEnd)
        return last

    def ends(self, jobs: Iterable[int]) -> dict[int, JobEnd]:
        """Wait for the ends of the jobs."""
        return {job: self.end(job) for job in jobs}


def sh(script: str, name: str = "job", **more: object) -> JobSpec:
    """Return the spec of a shell command."""
    return JobSpec(name, ("/bin/sh", "-c", script), **more)  # type: ignore[arg-type]


def gated(gate: Path, status: int, name: str = "job", **more: object) -> JobSpec:
    """Return the spec of a command that waits for a file, and ends with a status."""
    return sh(f"while [ ! -e {gate} ]; do sleep 0.05; done; exit {status}", name, **more)


def end_all(batch: BatchSystem) -> None:
    """Kill whatever the instance still has, and close it; an outage is waited out."""
    asked: frozenset[int] = frozenset()

    def ended() -> bool:
        nonlocal asked
        batch.getUpdatedJobs()
        try:
            left = batch.getIssuedJobIDs()
        except Unobtainable:
            return False
        if left - asked:
            batch.killJobs(left - asked)
            asked |= left
        return not left

    wait_for(ended, "the end of all jobs")
    batch.close()
