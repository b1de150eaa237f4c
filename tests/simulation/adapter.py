"""The virtual adapter: one master's way to the scheduler, as unreliable as a real one.

Owns what is refused, doubted, late, repeated, reordered or never heard; must not know a tree.
Read next: lives.py, whose master asks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from batchsystems.errors import Unobtainable
from batchsystems.interface import (
    Accepted,
    Ambiguous,
    BatchSystem,
    Capacity,
    JobEnd,
    JobRecord,
    JobSpec,
    Refused,
    Resources,
    Update,
)
from tests.simulation.cluster import BatchJob, Cluster


class Adapter(BatchSystem):
    """One master's way to the scheduler; its word is late, doubled, reordered or missing."""

    name = "virtual"

    def __init__(self, cluster: Cluster, epoch: int, point: Callable[[str], None]) -> None:
        self._cluster, self._epoch, self._point = cluster, epoch, point
        self._world, self._rng = cluster.world, cluster.world.stream("adapter")
        self._jobs: dict[int, BatchJob | None] = {}
        self._issues: dict[int, str] = {}
        self._over: dict[int, bool] = {}
        self._news: list[tuple[float, int, int, Update]] = []
        self._count = 0
        self._gone = False
        self._avoid: tuple[str, ...] = ()

    # Submission.

    def issueJob(self, spec: JobSpec) -> int:
        return self.issueJobs([spec])[0]

    def issueJobs(self, specs: Sequence[JobSpec]) -> list[int]:
        self._point("kill only")
        handles = []
        for spec in specs:
            handle = self._handle(None, f"{spec.name}.{spec.index}")
            handles.append(handle)
            self._world.record(
                "submitted", epoch=self._epoch, submission=spec.name, index=spec.index
            )
        delay = self._rng.uniform(0, self._cluster.slowness_s)
        self._world.after(delay, lambda: self._submit(list(zip(handles, specs, strict=True))))
        self._point("after submission")
        return handles

    def _handle(self, job: BatchJob | None, issue: str) -> int:
        handle = len(self._jobs) + 1
        self._jobs[handle], self._issues[handle] = job, issue
        return handle

    def _submit(self, pairs: list[tuple[int, JobSpec]]) -> None:
        world = self._world
        if self._gone and self._rng.random() < 0.5:
            return  # the command died with the master that ran it
        if self._cluster.is_out():
            self._refuse(pairs, "the scheduler does not answer")
        elif world.strikes("submission refused"):
            self._refuse(pairs, "over a limit")
        elif world.strikes("submission refused, yet started"):
            self._refuse(pairs, "said to be over a limit")
            world.after(self._rng.uniform(0, 60), lambda: self._accept_unseen(pairs))
        elif world.strikes("submission timed out, not accepted"):
            self._doubt(pairs)
            world.after(self._rng.uniform(5, 200), lambda: self._refuse(pairs, "not there"))
        elif world.strikes("submission timed out, accepted"):
            self._doubt(pairs)
            late = self._rng.choice([0.0, 10.0, 100.0])
            world.after(late, lambda: self._accept(pairs, self._rng.uniform(1, 100)))
        elif world.strikes("submission never answered"):
            if self._rng.random() < 0.5:
                self._accept(pairs, None)
            else:
                for handle, _ in pairs:
                    self._over[handle] = True
        else:
            self._accept(pairs, 0.0)

    def _refuse(self, pairs: list[tuple[int, JobSpec]], why: str) -> None:
        for handle, _ in pairs:
            self._over[handle] = True
            self.hear(handle, Refused(why, transient=True))

    def _doubt(self, pairs: list[tuple[int, JobSpec]]) -> None:
        for handle, _ in pairs:
            self.hear(handle, Ambiguous("no answer in time"))

    def _accept_unseen(self, pairs: list[tuple[int, JobSpec]]) -> None:
        for _, spec in pairs:
            self._cluster.accept(spec, self._avoid)

    def _accept(self, pairs: list[tuple[int, JobSpec]], told_after_s: float | None) -> None:
        for handle, spec in pairs:
            job = self._cluster.accept(spec, self._avoid)
            if self._world.strikes("twin started"):
                twin = self._cluster.accept(spec, self._avoid)
                job = self._rng.choice([job, twin])
            self._jobs[handle] = job
            job.told.append((self, handle))
            if told_after_s is not None:
                self._tell(handle, Accepted(job.native), told_after_s)

    # What is heard.

    def hear(self, handle: int, update: Update) -> None:
        """Take in the scheduler's word of a job, as well as it comes through."""
        world = self._world
        if world.strikes("update lost"):
            return
        delay = 0.0
        if world.strikes("update late"):
            delay = self._rng.choice([5.0, 40.0, 150.0])
        self._tell(handle, update, delay)
        if world.strikes("update repeated"):
            self._tell(handle, update, delay + self._rng.uniform(0, 60))

    def _tell(self, handle: int, update: Update, delay: float) -> None:
        self._count += 1
        order = self._count
        if self._news and self._world.strikes("update reordered"):
            order = -order
        self._news.append((self._world.now + delay, order, handle, update))

    def getUpdatedJobs(self) -> dict[int, Update]:
        if self._cluster.is_out():
            return {}
        now = self._world.now
        self._news.sort(key=lambda news: news[1])
        told: dict[int, Update] = {}
        left = []
        for news in self._news:
            due, _, handle, update = news
            if due > now or handle in told:
                left.append(news)
                continue
            told[handle] = update
            if isinstance(update, JobEnd | Refused):
                self._over[handle] = True
                self._world.record(
                    "end told",
                    epoch=self._epoch,
                    issue=self._issues[handle],
                    reason="REFUSED" if isinstance(update, Refused) else update.reason.name,
                )
        self._news = left
        return told

    def getIssuedJobIDs(self) -> frozenset[int]:
        if self._cluster.is_out():
            raise Unobtainable("the scheduler does not answer")
        return frozenset(handle for handle in self._jobs if self._is_listed(handle))

    def _is_listed(self, handle: int) -> bool:
        job = self._jobs[handle]
        if job is None or self._over.get(handle):
            return not self._over.get(handle)
        return job.known and job.end is None and job.hidden_until <= self._world.now

    def getRunningJobIDs(self) -> dict[int, float]:
        if not self._cluster.says_running or self._cluster.is_out():
            return {}
        return {
            handle: self._world.now - job.started_at
            for handle, job in self._jobs.items()
            if job is not None and job.node is not None and self._is_listed(handle)
        }

    # What is asked for.

    def killJobs(self, ids: Iterable[int]) -> None:
        self._point("kill only")
        for handle in ids:
            job = self._jobs[handle]
            self._world.record("kill asked", epoch=self._epoch, issue=self._issues[handle])
            if job is None or self._world.strikes("kill ignored"):
                continue
            delay = self._cluster.slowness_s
            if self._world.strikes("kill late"):
                delay = self._rng.choice([20.0, 90.0, 300.0])
            self._world.after(delay, lambda job=job: self._cluster.kill(job))  # type: ignore[misc]
        self._point("after kill")

    def adopt(self, records: Sequence[JobRecord]) -> list[int | None]:
        handles: list[int | None] = []
        for record in records:
            job = self._cluster.find(record)
            issue = f"{record.name}.{record.index}"
            if job is None or not job.known or self._world.strikes("job not found again"):
                handles.append(None)
                self._world.record("not adopted", epoch=self._epoch, issue=issue)
                continue
            handle = self._handle(job, issue)
            job.told.append((self, handle))
            if job.end is not None:
                self.hear(handle, job.end)
            handles.append(handle)
        return handles

    def exclude(self, nodes: Iterable[str]) -> None:
        self._avoid = tuple(nodes)

    def capacity(self) -> Capacity:
        slots = self._cluster.slots if self._cluster.says_capacity else None
        return Capacity(slots, Resources(cpus=64, memory_bytes=2**40))

    def close(self) -> None:
        self._gone = True
