"""One virtual master's life: the real Master, where it may die, and what is seen of its commits.

Owns the points at which a master is killed, paused or overtaken; decides nothing about jobs.
Read next: masters.py, which lives one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jobtree.core.submission_names import ID_LENGTH
from jobtree.master import ready_queue
from jobtree.master.loop import Master
from jobtree.master.run_state import RunState
from jobtree.store import store
from jobtree.store.holder import Holder, Place
from jobtree.store.lease import Lease, Leases
from jobtree.store.store import Store
from tests.simulation.adapter import Adapter
from tests.simulation.commands import CommandAdapter
from tests.simulation.disk import VirtualMailbox
from tests.simulation.world import VirtualClock

if TYPE_CHECKING:
    from tests.simulation.masters import Run

JOBS = """select id, parent, colour, attempt, step, child_count, black_child_count, retries,
    rescues from jobs order by id"""
HISTORY = "select seq, job, step, attempt, event, issue from history where seq > ? order by seq"
ISSUES = "select submission, task, state from issues order by submission, task"


class MasterKilled(BaseException):
    """The master's process is gone, here and now."""


class VirtualStore(Store):
    """The real store; around each commit its master may die, and what it wrote is looked at."""

    def __init__(self, path: str, life: Life) -> None:
        self._life = life
        super().__init__(path)

    def commit(self) -> None:
        self._life.point("before commit")
        before = self._db.total_changes
        super().commit()
        if self._db.total_changes != before:
            self._life.observe()
        self._life.point("after commit")


HOME = Place("login", "machine 1", "boot 1", "pid 1")
PLACES = (
    HOME,
    HOME._replace(namespace="pid 2"),
    HOME._replace(boot="boot 2"),
    HOME._replace(machine="machine 2", boot="boot 3"),
    Place("login2", "machine 3", "boot 4", "pid 1"),
)
"""At home; in a container there; on a clone of it; on another that is called so; elsewhere."""


class VirtualLeases(Leases):
    """The leases of the tree, looked at from a place where the masters of that place are seen."""

    def __init__(self, run: Run, place: Place) -> None:
        self.tree, self.place, self._run = "/tree", place, run

    def look(self, pid: int) -> int | None:
        """Return when the master of this place started, 0 if there is none."""
        return self._run.processes.get((self.place, pid), 0)

    def latest(self) -> Holder | None:
        return self._run.leases[max(self._run.leases)] if self._run.leases else None

    def new_holder(self, epoch: int, database: str, looks: bool, copying: bool) -> Holder:
        host, machine, boot, namespace = self.place
        told = (epoch, host, epoch, epoch, boot, f"nonce {epoch}", database, 0, False, looks)
        return Holder(*told, copying, machine, namespace)

    def make(self, holder: Holder) -> bool:
        before = self._run.leases.get(holder.epoch - 1)
        self._run.world.record(
            "taken",
            epoch=holder.epoch,
            looks=holder.looks,
            copying=holder.copying,
            living=before is not None
            and not before.released
            and (before.place, before.pid) in self._run.processes,
            unchanged_s=self._run.world.now - self._run.lease_changed_at,
            at_work_s=self._run.world.now - self._run.at_work_at,
        )
        self.write(holder)
        return True

    def write(self, holder: Holder) -> None:
        self._run.leases[holder.epoch] = holder
        if holder.epoch == max(self._run.leases):
            self._run.lease_changed_at = self._run.world.now

    def sweep(self, epoch: int) -> None:
        pass


class Seen:
    """What was seen of one database file at its last commit."""

    def __init__(self) -> None:
        self.jobs: dict[int, tuple[int, ...]] = {}
        self.seq = 0
        self.issues: dict[str, int] = {}

    def copy(self) -> Seen:
        """Return the same for a copy of the file."""
        other = Seen()
        other.jobs, other.seq, other.issues = dict(self.jobs), self.seq, dict(self.issues)
        return other


class Life:
    """One master from its start to its end."""

    def __init__(self, run: Run, held: Lease, path: str, seen: Seen) -> None:
        epoch = held.epoch
        self.run, self.epoch, self.path, self.seen = run, epoch, path, seen
        self.lease = held
        self._process = held.holder.place, held.holder.pid
        run.processes[self._process] = held.holder.started
        self.recovering = True
        self.void = False
        self.began = run.world.now
        self.store = VirtualStore(path, self)
        self.adapter: Adapter | CommandAdapter = Adapter(run.cluster, epoch, self.point)
        if run.commands:
            tree_id = self.store.identity()[:ID_LENGTH]
            self.adapter = CommandAdapter(run.cluster, epoch, self.point, tree_id)
        mailbox = VirtualMailbox(run.disk, epoch, self.point)
        clock = VirtualClock(run.world)
        systems: dict[str, Any] = {"virtual": self.adapter}
        self.run_state = RunState("/tree", self.store, mailbox, run.settings, epoch, clock, systems)
        self.run_state.policy = self.run_state.policy._replace(
            largest_memory_bytes=2**40, silent_s=run.silent_s
        )
        self.master = Master(self.run_state, held)

    def point(self, where: str) -> None:
        """Be where a master may be killed, paused, or lose its tree to another."""
        run, world = self.run, self.run.world
        if self.void or run.life is not self:
            return
        if self.recovering:
            if world.strikes("master killed while recovering"):
                raise MasterKilled(where)
            return
        if where == "fence" and world.strikes("master killed at a fence"):
            raise MasterKilled(where)
        if world.strikes("master killed"):
            raise MasterKilled(where)
        if where in ("kill only", "fence"):
            return
        if world.strikes("master paused"):
            world.record("paused", epoch=self.epoch, where=where)
            world.run_until(world.now + run.rng.choice([3.0, 30.0, 300.0]))
        elif not run.nested and world.strikes("master taken over"):
            run.take_over(self, where)

    def observe(self) -> None:
        """Record what a commit has changed."""
        seen, world = self.seen, self.run.world
        jobs = {row[0]: row for row in self.store.query(JOBS)}
        changed = {job: row for job, row in jobs.items() if seen.jobs.get(job) != row}
        removed = [job for job in seen.jobs if job not in jobs]
        rows = [tuple(row) for row in self.store.query(HISTORY, seen.seq)]
        issues = {f"{name}.{task}": state for name, task, state in self.store.query(ISSUES)}
        known = {i: state for i, state in issues.items() if seen.issues.get(i) != state}
        world.record(
            "commit",
            epoch=self.epoch,
            void=self.void,
            began=self.began,
            jobs=changed,
            removed=removed,
            rows=[row[1:] for row in rows],
            issues=known,
            forgotten=[issue for issue in seen.issues if issue not in issues],
        )
        if not self.void:
            self.run.count_failures(rows)
        seen.jobs, seen.issues = jobs, issues
        seen.seq = rows[-1][0] if rows else seen.seq

    def bury(self) -> None:
        """Let go of all this master held; what it had not committed is gone."""
        self.run.processes.pop(self._process, None)
        self.adapter.close()
        self.master.close()
        self.store.close()


@contextmanager
def small_limits(rng: Any) -> Iterator[None]:
    """Make the store's and the queue's memory small, so that small trees overflow them too."""
    before = store.JOBS_IN_MEMORY, store.BIRTHS_IN_MEMORY, ready_queue.WINDOW
    if rng.random() < 0.5:
        store.JOBS_IN_MEMORY = rng.choice([1, 3, 10])
        store.BIRTHS_IN_MEMORY = rng.choice([1, 2, 5])
        ready_queue.WINDOW = rng.choice([1, 2, 5])
    try:
        yield
    finally:
        store.JOBS_IN_MEMORY, store.BIRTHS_IN_MEMORY, ready_queue.WINDOW = before
