"""One virtual master's life: the real Master, where it may die, and what is seen of its commits.

Owns the points at which a master is killed, paused or overtaken; decides nothing about jobs.
Read next: masters.py, which lives one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from jobtree import lease
from jobtree.live import Live
from jobtree.master import Master, Unwatched
from jobtree.store import Store
from tests.simulation.adapter import Adapter
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


class VirtualLease:
    """A lease that is lost when another master has taken the tree; looked at as the real one."""

    def __init__(self, run: Run, epoch: int) -> None:
        self._run, self.epoch = run, epoch
        self._renewed_at = run.world.now

    def renew(self, now: float) -> bool:
        """Tell whether the tree is still ours; looks every RENEW_S, as the real one."""
        if now - self._renewed_at < lease.RENEW_S:
            return True
        self._renewed_at = now
        return self.is_ours()

    def is_ours(self) -> bool:
        """Look whether any later epoch has begun."""
        return self._run.epoch == self.epoch


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

    def __init__(self, run: Run, epoch: int, path: str, seen: Seen) -> None:
        self.run, self.epoch, self.path, self.seen = run, epoch, path, seen
        self.recovering = True
        self.void = False
        self.began = run.world.now
        self.store = VirtualStore(path, self)
        self.adapter = Adapter(run.cluster, epoch, self.point)
        mailbox = VirtualMailbox(run.disk, epoch, self.point)
        clock = VirtualClock(run.world)
        systems: dict[str, Any] = {"virtual": self.adapter}
        self.live = Live("/tree", self.store, mailbox, run.settings, epoch, clock, systems)
        self.live.policy = self.live.policy._replace(
            largest_memory_bytes=2**40, silent_s=run.silent_s
        )
        self.master = Master(self.live, cast(lease.Lease, VirtualLease(run, epoch)), Unwatched())

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
            world.run_until(world.now + run.dice.choice([3.0, 30.0, 300.0]))
        elif not run.nested and world.strikes("master taken over"):
            run.take_over(self, where)

    def observe(self) -> None:
        """Record what a commit has changed."""
        seen, world = self.seen, self.run.world
        jobs = {row[0]: row for row in self.store.query(JOBS)}
        changed = {job: row for job, row in jobs.items() if seen.jobs.get(job) != row}
        removed = [job for job in seen.jobs if job not in jobs]
        rows = [tuple(row) for row in self.store.query(HISTORY, (seen.seq,))]
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
        self.adapter.close()
        self.master.close()
        self.store.close()
