"""Virtual processes of a batch job: one that may be killed or stalled, and its sidecar.

Owns life and death, heartbeats and syncs; must not know what a worker does. Read next: worker.py.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import cast

from batchsystems.interface import JobEnd, Reason
from jobtree.mailbox.results import ResultLine, Synced
from tests.simulation.cluster import BatchJob
from tests.simulation.disk import Disk, File, write_line
from tests.simulation.world import World

Life = Generator[float, None, int]
"""A process as its acts: how long each takes, then its exit status."""


class Died(Exception):
    """The process took itself down, or was taken down by what it did."""

    def __init__(self, end: JobEnd) -> None:
        super().__init__(end.reason.name)
        self.end = end


class Sleeper:
    """A process of another's job: it does nothing here, and ends by itself."""

    def __init__(self, world: World, lasts_s: float, ended: Callable[[JobEnd], None]) -> None:
        self._alive, self._ended = True, ended
        world.after(lasts_s, self._end)

    def _end(self) -> None:
        if self._alive:
            self._ended(JobEnd(Reason.OK, exit_status=0))

    def die(self, how: str, node_lost: bool) -> None:
        """End at once."""
        self._alive = False

    def stall(self, lasts_s: float) -> None:
        """Do nothing for a while, as ever."""


class LivingProcess:
    """One process on a node, and its sidecar. life: its acts."""

    def __init__(
        self, disk: Disk, job: BatchJob, ended: Callable[[JobEnd], None], name: str, life: Life
    ) -> None:
        self.disk, self.world = disk, disk.world
        self.rng = disk.world.stream("worker")
        self.job, self.name, self.issue, self._ended = job, name, job.issue, ended
        self.host = job.node.name if job.node is not None else ""
        self.results: File | None = None
        self.bundle: File | None = None
        self.alive = self.sidecar = True
        self._stalled_until = self._synced_at = 0.0
        self._sync_due = False
        self._life = life
        self.world.after(self.rng.uniform(0, 0.1), self._go_on)

    def _go_on(self) -> None:
        """Do the next act, unless something befalls this process first."""
        if not self.alive:
            return
        if self.world.now < self._stalled_until:
            self.world.after(self._stalled_until - self.world.now, self._go_on)
            return
        if self.world.strikes("worker killed"):
            self._end(JobEnd(Reason.FAILED, signal=9, node=self.host), "killed")
            return
        if self.world.strikes("worker stalled"):
            self.stall(self.rng.choice([3.0, 100.0, 700.0, 700.0, 1500.0]))
        try:
            delay = next(self._life)
        except StopIteration as stop:
            reason = Reason.OK if stop.value == 0 else Reason.FAILED
            end = JobEnd(reason, exit_status=stop.value, node=self.host)
            self._end(end, f"left with status {stop.value}")
        except Died as died:
            self._end(died.end, died.end.reason.name)
        else:
            self.world.after(delay, self._go_on)

    def _end(self, end: JobEnd, how: str) -> None:
        self.die(how, node_lost=False)
        self.world.after(self.rng.uniform(0, 1.0), lambda: self._ended(end))

    def die(self, how: str, node_lost: bool) -> None:
        """End at once; a node that lives on keeps what was written."""
        if not self.alive:
            return
        self.alive = self.sidecar = False
        for file in (self.bundle, self.results):
            if file is not None and node_lost:
                self.disk.lose(file)
            elif file is not None:
                self.disk.arrive(file)
        self.world.record("gone", worker=self.name, issue=self.issue, how=how)

    def stall(self, lasts_s: float) -> None:
        """Do nothing for a while, the sidecar neither."""
        self._stalled_until = max(self._stalled_until, self.world.now + lasts_s)
        self.world.record("stalled", worker=self.name, lasts_s=lasts_s)

    # ---- the sidecar

    def beat(self, claim: File, every_s: float) -> None:
        """Beat from now on."""
        if self.sidecar and self.alive:
            if self.world.now >= self._stalled_until:
                claim.content = cast(int, claim.content) + 1
            self.world.after(every_s, lambda: self.beat(claim, every_s))

    def ask_for_sync(self) -> None:
        """Have the sidecar sync soon what was written."""
        if not self._sync_due and self.sidecar:
            self._sync_due = True
            wait = max(0.0, self._synced_at + 0.2 - self.world.now)
            self.world.after(wait + 0.01, self._sidecar_sync)

    def _sidecar_sync(self) -> None:
        self._sync_due = False
        if self.sidecar and self.alive and self.world.now >= self._stalled_until:
            self.sync()
        elif self.sidecar and self.alive:
            self._sync_later()

    def _sync_later(self) -> None:
        self._sync_due = True
        self.world.after(self._stalled_until - self.world.now + 0.01, self._sidecar_sync)

    def sync(self) -> None:
        """Have all that was written at the server, and say so."""
        assert self.results is not None
        self._synced_at = self.world.now
        size = len(self.results.data)
        if self.bundle is not None:
            self.disk.arrive(self.bundle)
        self.disk.arrive(self.results)
        write_line(self.disk, self.results, self.issue, Synced(size))
        self._ring()

    def _ring(self) -> None:
        if not self.world.strikes("doorbell lost"):
            self.disk.rung[self.issue] = None

    def write(self, line: ResultLine) -> int:
        """Append a line to the results; return where it begins."""
        assert self.results is not None
        needed = 0 if self.bundle is None else len(self.bundle.data)
        return write_line(self.disk, self.results, self.issue, line, needed)
