"""The virtual cluster: nodes, and a scheduler with its truth.

Owns what is queued, runs and ended, and what befalls it; knows no tree.
Read next: adapter.py, what a master hears of it; worker.py, what runs there.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

from batchsystems.interface import JobEnd, JobRecord, JobSpec, Reason
from tests.simulation.world import World

EPOCH = 1.7e9
"""The true time at which worlds begin, but for the seconds that they count."""

NAMESAKE, PREDECESSOR = "namesake", "predecessor"
"""Other owners of jobs: a tree of the same name, and the one that was here before."""

APART = (-26 * 3600.0, -5 * 3600.0, -400.0, 400.0, 5 * 3600.0)
"""By how much the scheduler's clock may be ahead."""


class Process(Protocol):
    """What runs on a node."""

    def die(self, how: str, node_lost: bool) -> None:
        """End at once."""

    def stall(self, lasts_s: float) -> None:
        """Do nothing for a while, heartbeat included."""


class Listener(Protocol):
    """Who is told how a job ended."""

    def hear(self, handle: int, update: JobEnd) -> None:
        """Take in the scheduler's word of a job."""


class Node:
    """A machine. runs: the batch jobs on it. sees_tree: whether it has mounted its file system."""

    def __init__(self, name: str, slots: int) -> None:
        self.name, self.slots = name, slots
        self.up = self.sees_tree = True
        self.runs: list[BatchJob] = []


class BatchJob:
    """One batch job as the scheduler knows it. known: does the scheduler still know of it?

    avoid: nodes it is to be kept away from. called: its name there. owner: whose it is, "" if this
    tree's. submitted, started: by the scheduler's clock. kills: how often its end was asked for.
    """

    def __init__(
        self,
        native: str,
        spec: JobSpec,
        avoid: tuple[str, ...] = (),
        called: str = "",
        owner: str = "",
    ) -> None:
        self.native, self.spec, self.avoid = native, spec, avoid
        self.called, self.owner = called or spec.name, owner
        self.accepted_at = self.submitted = self.started = self.ended_at = 0.0
        self.kills = 0
        self.node: Node | None = None
        self.process: Process | None = None
        self.started_at = 0.0
        self.end: JobEnd | None = None
        self.known = True
        self.hidden_until = 0.0
        self.told: list[tuple[Listener, int]] = []

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
        self.rng = world.stream("cluster")
        count = self.rng.choice([1, 2, 4])
        self.nodes = [Node(f"node{n}", self.rng.choice([1, 2, 4])) for n in range(count)]
        if count > 1 and world.strikes("node without the tree"):
            self._unmount(self.nodes[0])
        self.jobs: dict[str, BatchJob] = {}
        self.waiting: list[BatchJob] = []
        self.outage_until = 0.0
        self.slowness_s = self.rng.choice([0.01, 0.5, 5.0])
        self.says_capacity = self.rng.random() < 0.5
        self.says_running = self.rng.random() < 0.5
        self._numbers = 0
        self.ahead_s = self.zone_s = 0.0
        if world.strikes("clocks differ"):
            self.ahead_s = world.stream("clocks").choice(APART)

    def schedule_disasters(self, rng: Random) -> None:
        """Have nodes die, or be cut off, from now on, where there is work to lose."""
        for kind, strike in (("node died", self.lose_node), ("node cut off", self.cut_off)):
            if kind in self.world.rates:
                self._schedule(kind, strike, rng)

    def _schedule(self, kind: str, strike: Callable[[Node], object], rng: Random) -> None:
        def look() -> None:
            busy = [node for node in self.nodes if node.up and node.runs]
            if busy and self.world.strikes(kind):
                strike(rng.choice(busy))
            if self.world.now < self.world.quiet_at:
                self.world.after(1.0, look)

        self.world.after(1.0, look)

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        return sum(node.slots for node in self.nodes)

    def _unmount(self, node: Node) -> None:
        """Have a node not see the tree, for long or for good: it takes jobs all the same."""
        node.sees_tree = False
        lasts_s = self.world.stream("node without the tree").choice([300.0, 3000.0, 1e9])
        self.world.after(lasts_s, lambda: setattr(node, "sees_tree", True))

    def new_number(self) -> str:
        """Return an id that no job had before."""
        self._numbers += 1
        return f"{self._numbers}"

    def clock(self) -> float:
        """Return what the scheduler's clock shows, in whole seconds as it tells them."""
        return float(int(self.world.now + EPOCH + self.ahead_s))

    def disturb_clocks(self) -> None:
        """Have the scheduler's clock set, or its commands tell another zone's time, at times."""
        if self.world.strikes("scheduler's clock set"):
            self.ahead_s = self.world.stream("clocks").choice(APART)
        if self.world.strikes("zone changed"):
            self.zone_s = self.world.stream("clocks").choice([0.0, -5 * 3600.0, 9 * 3600.0])

    def accept(
        self,
        spec: JobSpec,
        avoid: tuple[str, ...] = (),
        native: str = "",
        called: str = "",
        owner: str = "",
    ) -> BatchJob:
        """Take a job into the queue."""
        job = BatchJob(native or self.new_number(), spec, avoid, called, owner)
        job.accepted_at, job.submitted = self.world.now, self.clock()
        self.jobs[job.native] = job
        self.world.record("accepted", issue=job.issue, native=job.native)
        self.world.after(self.rng.uniform(0, 2 * self.slowness_s), lambda: self._queue(job))
        if owner:
            return job
        if self.world.strikes("job lost"):
            self.world.after(self.rng.uniform(0, 20), lambda: self._lose(job))
        if self.world.strikes("job absent for a while"):
            self.world.after(self.rng.uniform(0, 30), lambda: self._hide(job))
        return job

    def _hide(self, job: BatchJob) -> None:
        job.hidden_until = self.world.now + self.rng.choice([10.0, 50.0, 200.0, 200.0])

    def _lose(self, job: BatchJob) -> None:
        """Forget a job without a word, running or not."""
        job.known = False
        if job in self.waiting:
            self.waiting.remove(job)
        elif job.process is not None and self.rng.random() < 0.7:
            job.process.die("lost by the scheduler", node_lost=False)

    def _queue(self, job: BatchJob) -> None:
        if job.end is None and job.known:
            self.waiting.append(job)
            self._fill()

    def _fill(self) -> None:
        for node in self.nodes:
            while node.up and len(node.runs) < node.slots:
                fit = (job for job in self.waiting if node.name not in job.avoid)
                job = next(fit, None)
                if job is None:
                    break
                self.waiting.remove(job)
                self._run(job, node)

    def _run(self, job: BatchJob, node: Node) -> None:
        job.node, job.started_at, job.started = node, self.world.now, self.clock()
        node.runs.append(job)
        process = job.process = self._start_process(job, lambda end: self.ended(job, end, process))
        limit = job.spec.resources.time_s
        if limit is not None:
            self.world.after(limit, lambda: self._expire(job, process))
        if self.world.strikes("end told of a running job"):
            end = self.rng.choice(
                [JobEnd(Reason.FAILED, signal=9), JobEnd(Reason.LOST), JobEnd(Reason.ENDED)]
            )
            delay = self.rng.uniform(0, 30)
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
        job.end, job.ended_at = end, self.world.now
        if job.known:
            self._tell_all(job, end)
        self._fill()

    def _tell_all(self, job: BatchJob, end: JobEnd) -> None:
        for listener, handle in job.told:
            listener.hear(handle, end)

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
                self.world.after(self.rng.uniform(1, 60), lambda job=job: self._queue(job))  # type: ignore[misc]
            else:
                end = JobEnd(self.rng.choice([Reason.NODE_FAILED, Reason.LOST]), node=node.name)
                self.world.after(
                    self.rng.choice([1.0, 30.0, 300.0]),
                    lambda job=job, end=end: self.ended(job, end, None),  # type: ignore[misc]
                )
        self.world.after(self.rng.uniform(10, 200), lambda: self._mend(node))

    def cut_off(self, node: Node) -> None:
        """Let the scheduler and everyone else lose sight of a node for a while; jobs there live."""
        lasts_s = self.rng.choice([20.0, 200.0, 1000.0])
        self.world.record("node cut off", node=node.name, lasts_s=lasts_s)
        node.up = False
        for job in list(node.runs):
            process = job.process
            if process is None:
                continue
            process.stall(lasts_s)
            if self.rng.random() < 0.6:  # the scheduler gives the job up, its process lives
                node.runs.remove(job)
                job.process, job.node = None, None
                if self.world.strikes("job requeued"):
                    self.world.after(self.rng.uniform(1, 60), lambda job=job: self._queue(job))  # type: ignore[misc]
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
            self.outage_until = self.world.now + self.rng.choice([5.0, 60.0, 900.0])
        return self.world.now < self.outage_until
