"""The virtual cluster: nodes, a scheduler with its truth, and the adapter that asks it.

Owns what is queued, runs and ended, and every lie told about it; knows no tree.
Read next: worker.py, what runs there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from batchsystems.errors import Unobtainable
from batchsystems.interface import (
    Accepted,
    Ambiguous,
    BatchSystem,
    Capacity,
    JobEnd,
    JobRecord,
    JobSpec,
    Reason,
    Refused,
    Resources,
    Update,
)
from tests.simulation.world import World


class Process(Protocol):
    """What runs on a node."""

    def die(self, how: str, node_lost: bool) -> None:
        """End at once."""

    def stall(self, lasts_s: float) -> None:
        """Do nothing for a while, heartbeat included."""


class Node:
    """A machine. runs: the batch jobs on it."""

    def __init__(self, name: str, slots: int) -> None:
        self.name, self.slots = name, slots
        self.up = True
        self.runs: list[BatchJob] = []


class BatchJob:
    """One batch job as the scheduler knows it. known: does the scheduler still know of it?"""

    def __init__(self, native: str, spec: JobSpec) -> None:
        self.native, self.spec = native, spec
        self.node: Node | None = None
        self.process: Process | None = None
        self.started_at = 0.0
        self.end: JobEnd | None = None
        self.known = True
        self.hidden_until = 0.0
        self.told: list[tuple[Adapter, int]] = []

    @property
    def issue(self) -> str:
        """The issue it was submitted for."""
        return f"{self.spec.name}.{self.spec.index}"


class Cluster:
    """The scheduler and its nodes."""

    def __init__(
        self, world: World, start: Callable[[BatchJob, Callable[[JobEnd], None]], Process]
    ) -> None:
        self.world, self._start_process = world, start
        self.dice = world.stream("cluster")
        count = self.dice.choice([1, 2, 4])
        self.nodes = [Node(f"node{n}", self.dice.choice([1, 2, 4])) for n in range(count)]
        self.jobs: dict[str, BatchJob] = {}
        self.waiting: list[BatchJob] = []
        self.outage_until = 0.0
        self.slowness_s = self.dice.choice([0.01, 0.5, 5.0])
        self.says_capacity = self.dice.random() < 0.5
        self.says_running = self.dice.random() < 0.5
        self._numbers = 0

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        return sum(node.slots for node in self.nodes)

    def accept(self, spec: JobSpec) -> BatchJob:
        """Take a job into the queue."""
        self._numbers += 1
        job = BatchJob(f"{self._numbers}", spec)
        self.jobs[job.native] = job
        self.world.record("accepted", issue=job.issue, native=job.native)
        self.world.after(self.dice.uniform(0, 2 * self.slowness_s), lambda: self._queue(job))
        if self.world.strikes("job lost"):
            self.world.after(self.dice.uniform(0, 20), lambda: self._lose(job))
        if self.world.strikes("job absent for a while"):
            self.world.after(self.dice.uniform(0, 30), lambda: self._hide(job))
        return job

    def _hide(self, job: BatchJob) -> None:
        job.hidden_until = self.world.now + self.dice.choice([10.0, 50.0, 200.0, 200.0])

    def _lose(self, job: BatchJob) -> None:
        """Forget a job without a word, running or not."""
        job.known = False
        if job in self.waiting:
            self.waiting.remove(job)
        elif job.process is not None and self.dice.random() < 0.7:
            job.process.die("lost by the scheduler", node_lost=False)

    def _queue(self, job: BatchJob) -> None:
        if job.end is None and job.known:
            self.waiting.append(job)
            self._fill()

    def _fill(self) -> None:
        for node in self.nodes:
            while self.waiting and node.up and len(node.runs) < node.slots:
                self._run(self.waiting.pop(0), node)

    def _run(self, job: BatchJob, node: Node) -> None:
        job.node, job.started_at = node, self.world.now
        node.runs.append(job)
        process = job.process = self._start_process(job, lambda end: self.ended(job, end, process))
        limit = job.spec.resources.time_s
        if limit is not None:
            self.world.after(limit, lambda: self._expire(job, process))
        if self.world.strikes("end told of a running job"):
            end = self.dice.choice(
                [JobEnd(Reason.FAILED, signal=9), JobEnd(Reason.LOST), JobEnd(Reason.ENDED)]
            )
            delay = self.dice.uniform(0, 30)
            self.world.after(delay, lambda: self._tell_all(job, end))

    def _expire(self, job: BatchJob, process: Process) -> None:
        if job.process is process:
            self.ended(job, JobEnd(Reason.TIME_LIMIT, signal=15), process)
            process.die("reached its time limit", node_lost=False)

    def ended(self, job: BatchJob, end: JobEnd, process: Process | None) -> None:
        """Note that a job's process ended."""
        if job.process is not process or job.end is not None:
            return
        job.process = None
        if job.node is not None:
            job.node.runs.remove(job)
        job.end = end
        if job.known:
            self._tell_all(job, end)
        self._fill()

    def _tell_all(self, job: BatchJob, end: JobEnd) -> None:
        for adapter, handle in job.told:
            adapter.hear(handle, end)

    def kill(self, job: BatchJob) -> None:
        """End a job at someone's request."""
        if job.end is not None:
            return
        if job in self.waiting:
            self.waiting.remove(job)
        process = job.process
        self.ended(job, JobEnd(Reason.CANCELLED, signal=9), process)
        if process is not None:
            process.die("killed at request", node_lost=False)

    def lose_node(self, node: Node) -> None:
        """Let a node die with all on it."""
        if not node.up:
            return
        node.up = False
        self.world.record("node lost", node=node.name)
        for job in list(node.runs):
            process = job.process
            node.runs.remove(job)
            if process is not None:
                job.process, job.node = None, None
                process.die("its node died", node_lost=True)
            if self.world.strikes("job requeued"):
                self.world.after(self.dice.uniform(1, 60), lambda job=job: self._queue(job))  # type: ignore[misc]
            else:
                end = JobEnd(self.dice.choice([Reason.NODE_FAILED, Reason.LOST]), node=node.name)
                self.world.after(
                    self.dice.choice([1.0, 30.0, 300.0]),
                    lambda job=job, end=end: self.ended(job, end, None),  # type: ignore[misc]
                )
        self.world.after(self.dice.uniform(10, 200), lambda: self._mend(node))

    def cut_off(self, node: Node) -> None:
        """Let the scheduler and everyone else lose sight of a node for a while; jobs there live."""
        lasts_s = self.dice.choice([20.0, 200.0, 1000.0])
        self.world.record("node cut off", node=node.name, lasts_s=lasts_s)
        node.up = False
        for job in list(node.runs):
            process = job.process
            if process is None:
                continue
            process.stall(lasts_s)
            if self.dice.random() < 0.6:  # the scheduler gives the job up, its process lives
                node.runs.remove(job)
                job.process, job.node = None, None
                if self.world.strikes("job requeued"):
                    self.world.after(self.dice.uniform(1, 60), lambda job=job: self._queue(job))  # type: ignore[misc]
                else:
                    self.ended(job, JobEnd(Reason.NODE_FAILED, node=node.name), None)
        self.world.after(lasts_s, lambda: self._mend(node))

    def _mend(self, node: Node) -> None:
        node.up = True
        self._fill()

    def find(self, record: JobRecord) -> BatchJob | None:
        """Return the job of a record, by its id or else by its name."""
        if record.native:
            return self.jobs.get(record.native)
        for job in self.jobs.values():
            if (job.spec.name, job.spec.index) == (record.name, record.index):
                return job
        return None

    def is_out(self) -> bool:
        """Tell whether the scheduler answers nobody now."""
        if self.world.now >= self.outage_until and self.world.strikes("outage"):
            self.outage_until = self.world.now + self.dice.choice([5.0, 60.0, 900.0])
        return self.world.now < self.outage_until


class Adapter(BatchSystem):
    """One master's way to the scheduler; its word is late, doubled, reordered or missing."""

    name = "virtual"

    def __init__(self, cluster: Cluster, epoch: int, point: Callable[[str], None]) -> None:
        self._cluster, self._epoch, self._point = cluster, epoch, point
        self._world, self._dice = cluster.world, cluster.world.stream("adapter")
        self._jobs: dict[int, BatchJob | None] = {}
        self._issues: dict[int, str] = {}
        self._over: dict[int, bool] = {}
        self._news: list[tuple[float, int, int, Update]] = []
        self._count = 0
        self._gone = False

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
        delay = self._dice.uniform(0, self._cluster.slowness_s)
        self._world.after(delay, lambda: self._submit(list(zip(handles, specs, strict=True))))
        self._point("after submission")
        return handles

    def _handle(self, job: BatchJob | None, issue: str) -> int:
        handle = len(self._jobs) + 1
        self._jobs[handle], self._issues[handle] = job, issue
        return handle

    def _submit(self, pairs: list[tuple[int, JobSpec]]) -> None:
        world = self._world
        if self._gone and self._dice.random() < 0.5:
            return  # the command died with the master that ran it
        if self._cluster.is_out():
            self._refuse(pairs, "the scheduler does not answer")
        elif world.strikes("submission refused"):
            self._refuse(pairs, "over a limit")
        elif world.strikes("submission refused, yet started"):
            self._refuse(pairs, "said to be over a limit")
            world.after(self._dice.uniform(0, 60), lambda: self._accept_unseen(pairs))
        elif world.strikes("submission timed out, not accepted"):
            self._doubt(pairs)
            world.after(self._dice.uniform(5, 200), lambda: self._refuse(pairs, "not there"))
        elif world.strikes("submission timed out, accepted"):
            self._doubt(pairs)
            late = self._dice.choice([0.0, 10.0, 100.0])
            world.after(late, lambda: self._accept(pairs, self._dice.uniform(1, 100)))
        elif world.strikes("submission never answered"):
            if self._dice.random() < 0.5:
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
            self._cluster.accept(spec)

    def _accept(self, pairs: list[tuple[int, JobSpec]], told_after_s: float | None) -> None:
        for handle, spec in pairs:
            job = self._cluster.accept(spec)
            if self._world.strikes("twin started"):
                twin = self._cluster.accept(spec)
                job = self._dice.choice([job, twin])
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
            delay = self._dice.choice([5.0, 40.0, 150.0])
        self._tell(handle, update, delay)
        if world.strikes("update repeated"):
            self._tell(handle, update, delay + self._dice.uniform(0, 60))

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
                delay = self._dice.choice([20.0, 90.0, 300.0])
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

    def capacity(self) -> Capacity:
        slots = self._cluster.slots if self._cluster.says_capacity else None
        return Capacity(slots, Resources(cpus=64, memory_bytes=2**40))

    def close(self) -> None:
        self._gone = True
