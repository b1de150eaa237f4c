"""Virtual masters: the real Master on virtual surroundings, killed, paused and taken over.

Owns the succession of masters on one tree; decides nothing about jobs. Read next: lives.py, one
of them; checker.py, which judges the history this makes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from jobtree.core import job_states
from jobtree.core.job import Colour, Pickle, Requirements
from jobtree.errors import StoreError
from jobtree.mailbox.bundles import digest
from jobtree.options import UNLIMITED, Settings
from jobtree.store import lease
from jobtree.store.database import copy_database
from jobtree.store.holder import Holder, Place
from jobtree.store.store import Store
from tests.simulation.cluster import NAMESAKE, BatchJob, Cluster
from tests.simulation.disk import Disk
from tests.simulation.lives import (
    HISTORY,
    HOME,
    ISSUES,
    JOBS,
    PLACES,
    Life,
    MasterKilled,
    Seen,
    VirtualLeases,
    small_limits,
)
from tests.simulation.processes import Sleeper
from tests.simulation.trees import GIB, command_for, plan_tree
from tests.simulation.worker import Worker
from tests.simulation.world import World

LONGEST_RUN_S = 48 * 3600.0
"""Virtual time after the faults by which any tree here must have ended."""

AFTERMATH_S = 2 * 3600.0
OUR_ID = "0123456789ab"
last_world: World
"""The one last simulated, to look at after a crash of the product."""
MOST_TURNS = 50_000


class TreeFinished(Exception):
    """The tree was finished while another master waited for it."""


class Run:
    """One seed: a tree, a cluster, its masters, from the first start to the last file removed."""

    def __init__(self, seed: int, folder: str, faulty: bool = True, commands: bool = False) -> None:
        self.world = World(seed, faulty, commands)
        self.commands = commands
        self.rng = self.world.stream("run")
        self.folder = folder
        self.leases: dict[int, Holder] = {}
        self.lease_changed_at = self.at_work_at = 0.0
        self.processes: dict[tuple[Place, int], int] = {}
        self.place = HOME
        self.life: Life | None = None
        self.nested = False
        self.settings = self._settings()
        self.steps = plan_tree(self.world.stream("tree"), self.settings.retries)
        if self.rng.random() < 0.8:
            longest = max(step.lasts_s for step in self.steps.values())
            self.settings = self.settings._replace(longest_step_s=2 * longest + 10.0)
        self.disk = Disk(self.world)
        self.cluster = Cluster(self.world, self._start_worker)
        self.failed: dict[int, int] = {}
        self._runs: dict[tuple[int, int, int], int] = {}
        self._looked = 0
        self._workers: list[Worker] = []
        self.silent_s = self.rng.choice([600.0, 120.0])
        self._tick_s = self.rng.choice([0.5, 1.0, 3.0])
        self._turns = 0
        self._restarts = 0

    def _settings(self) -> Settings:
        rng = self.rng
        return Settings(
            batch_system="virtual",
            defaults=Requirements(2 * GIB, 1, 0, rng.choice([10.0, 60.0, 600.0])),
            job_time_s=rng.choice([0.0, 30.0, 120.0]),
            scratch="",
            max_jobs=rng.choice([1, 3, 20, UNLIMITED]),
            max_cpus=UNLIMITED,
            max_memory_bytes=UNLIMITED,
            retries=rng.choice([0, 1, 3]),
            rescues=60,
            rescue_s=rng.choice([5.0, 20.0, 60.0]),
            longest_step_s=float(UNLIMITED),
            wait_s=rng.choice([0.0, 0.0, 5.0, 30.0]),
            max_log_bytes=1000,
            stats=False,
            log_level="INFO",
        )

    def run(self) -> World:
        """Live through it all; return the world with its history."""
        world = self.world
        world.record(
            "plan",
            retries=self.settings.retries,
            steps={
                n: (s.parent, s.is_follow_on, s.children, s.follow_on, s.publishes, s.fails)
                for n, s in self.steps.items()
            },
        )
        self.cluster.schedule_disasters(self.rng)
        self._make_tree(f"{self.folder}/tree.db")
        while True:
            self._live_through(fresh=not self.leases)
            assert self.life is not None
            seen = self.life.seen
            reds = self.life.store.counts[Colour.RED]
            if not (reds and self._restarts < 1 and self.rng.random() < 0.5):
                break
            self._restarts += 1
            self._seen = seen
            self._end_life()
        self._finish()
        return world

    def _make_tree(self, path: str) -> None:
        root = self.steps[1]
        where = None
        if root.is_target:
            pickled = b"<step 1>"
            file = self.disk.create("bundles/root")
            assert file is not None
            self.disk.append(file, pickled)
            self.disk.arrive(file)
            where = Pickle("root", 0, len(pickled), digest(pickled))
        budgets = job_states.Budgets(self.settings.retries, self.settings.rescues)
        first = job_states.first_job(1, 0, command_for(root, where), budgets)
        Store.create(path, first, {"id": OUR_ID, "started": 0.0}).close()
        self._seen = Seen()

    # Masters.

    def _live_through(self, fresh: bool) -> None:
        """Start masters and run them until one of them has finished the tree."""
        self._begin_life(fresh)
        self._drive(None)

    def _begin_life(self, fresh: bool = False, held: lease.Lease | None = None) -> None:
        """Start a master, again and again until it has recovered. held: what it holds already."""
        world = self.world
        while True:
            if not fresh and held is None and world.strikes("restarted elsewhere"):
                self.place = self.rng.choice(PLACES)
            held = held or self._take(self.place)
            life = self.life = Life(self, held, self._own_database(held), self._seen)
            world.record("master", epoch=held.epoch, database=held.holder.database)
            held = None
            try:
                if not fresh:
                    life.store.refill(self.settings.retries, self.settings.rescues)
                    world.record("refilled", epoch=life.epoch)
                life.master.recover()
            except MasterKilled as killed:
                self._bury(life, killed)
                fresh = False
                continue
            life.recovering = False
            return

    def _take(self, place: Place) -> lease.Lease:
        """Take the tree, no master being at work."""
        world = self.world
        held, _ = lease.acquire(
            VirtualLeases(self, place),
            wait=lambda seconds: world.run_until(world.now + seconds),
            clock=lambda: world.now,
        )
        return held

    def _own_database(self, held: lease.Lease) -> str:
        """Return the database that none but this holder opens."""
        if held.holder.copying:
            name = f"tree.{held.epoch}.db"
            copy_database(f"{self.folder}/{held.holder.database}", f"{self.folder}/{name}")
            held.record_database(name)
        return f"{self.folder}/{held.holder.database}"

    def _bury(self, life: Life, killed: MasterKilled) -> None:
        self.world.record("killed", epoch=life.epoch, where=str(killed))
        self._seen = life.seen
        life.bury()
        self.life = None
        self.world.run_until(self.world.now + self.rng.choice([0.1, 5.0, 100.0, 1000.0]))

    def _end_life(self) -> None:
        assert self.life is not None
        self.life.lease.release()
        self.life.bury()
        self.life = None
        self.world.run_until(self.world.now + self.rng.choice([0.1, 100.0]))

    def _drive(self, until: float | None) -> None:
        """Turn after turn of the master in office, until the tree or the time is at its end."""
        world = self.world
        tick = self._tick_s
        while until is None or world.now < until:
            life = self.life
            assert life is not None
            if life.run_state.finished():
                world.record(
                    "unswept",
                    bundles=self._left("bundles/"),
                    directories=[j for j in self.disk.directories if j not in life.seen.jobs],
                    needed=sorted(life.store.bundles()),
                )
                try:
                    life.master.sweep()
                except MasterKilled as killed:
                    self._bury(life, killed)
                    self._begin_life()
                    continue
                return
            if self._is_stuck():
                world.record("stuck", epoch=life.epoch)
                return
            life.began = self.at_work_at = world.now
            before = len(world.history)
            try:
                life.master.turn()
            except MasterKilled as killed:
                self._bury(life, killed)
                self._begin_life()
                continue
            except (StoreError, OSError) as error:
                if not life.void:
                    raise
                world.record("gave way", epoch=life.epoch, error=type(error).__name__)
                life.bury()
                continue
            if life.void:
                self._let_old_master_go_on(life)
                continue
            if world.strikes("clock jumped"):
                world.epoch_offset += self.rng.choice([-3600.0, 3600.0])
            quiet = len(world.history) == before and not self.disk.rung
            tick = min(10.0, tick * 1.5) if quiet else self._tick_s
            world.run_until(world.now + tick)
            if not self.nested and world.strikes("tree wanted elsewhere"):
                self._be_wanted()

    def _left(self, folder: str) -> list[str]:
        return [p for p in self.disk.files if p.startswith(folder) and p != "bundles/root"]

    def _let_old_master_go_on(self, life: Life) -> None:
        """Let a master that woke up too late take its next turn: it must give way."""
        try:
            life.master.turn()
        except StoreError as error:
            if error.code != "JT304":
                raise
            self.world.record("gave way", epoch=life.epoch)
        life.bury()

    def _is_stuck(self) -> bool:
        self._turns += 1
        late = self.world.now > self.world.quiet_at + LONGEST_RUN_S
        return late or self._turns > MOST_TURNS

    def take_over(self, old: Life, where: str) -> None:
        """Let another master take the tree while the old one sleeps; return as it wakes up."""
        world = self.world
        world.record("asleep", epoch=old.epoch, where=where)
        elsewhere = VirtualLeases(self, self._other_place(old))
        watch = lease.Watch(elsewhere, clock=lambda: world.now)
        world.run_until(world.now + lease.STALE_S + self.rng.uniform(1, 60))
        held, _ = lease.acquire(elsewhere, clock=lambda: world.now, watch=watch)
        old.void, self.nested = True, True
        self._seen = old.seen.copy()
        self._begin_life(held=held)
        self._drive(world.now + self.rng.choice([1.0, 20.0, 200.0]))
        self.nested = False
        world.record("awake", epoch=old.epoch)

    def _other_place(self, old: Life) -> Place:
        return self.rng.choice([place for place in PLACES if place != old.lease.holder.place])

    def _be_wanted(self) -> None:
        """Let a command or a master try to take the tree from where its master cannot be seen."""
        world, old = self.world, self.life
        assert old is not None
        leases = VirtualLeases(self, self._other_place(old))
        looks = self.rng.random() < 0.5
        self.nested = True
        try:
            held, _ = lease.acquire(leases, looks, wait=self._live_on, clock=lambda: world.now)
        except TreeFinished:
            return
        except StoreError as error:
            if error.code != "JT302":
                raise
            world.record("kept out", epoch=max(self.leases))
            return
        finally:
            self.nested = False
        old = self.life
        assert old is not None
        old.void = True
        self._seen = old.seen.copy()
        self._begin_life(held=held)
        self._let_old_master_go_on(old)

    def _live_on(self, seconds: float) -> None:
        """Let the master in office work while another watches its lease."""
        end = self.world.now + seconds
        self._drive(end)
        if self.world.now < end:
            raise TreeFinished

    def _start_worker(self, job: BatchJob, ended: Any) -> Worker | Sleeper:
        if job.owner == NAMESAKE:
            return Sleeper(self.world, self.rng.choice([5.0, 100.0, 2000.0]), ended)
        name = f"{job.owner or 'w'}{len(self._workers) + 1}"
        worker = Worker(
            self.disk,
            job,
            self.steps,
            lambda number: self.failed.get(number, 0),
            ended,
            self.cluster.lose_node,
            name,
        )
        self._workers.append(worker)
        return worker

    def count_failures(self, rows: list[tuple[Any, ...]]) -> None:
        """Note which steps' failures were charged, so that a step fails as often as planned."""
        for event in self.world.history[self._looked :]:
            if event.kind == "started":
                what = event.data
                self._runs[what["job"], what["attempt"], what["step"]] = what["node"]
        self._looked = len(self.world.history)
        for _, job, step, attempt, word, _ in rows:
            if word == "failed":
                number = self._runs.get((job, attempt, step), 0)
                self.failed[number] = self.failed.get(number, 0) + 1

    # The end.

    def _finish(self) -> None:
        assert self.life is not None
        life, world = self.life, self.world
        ended_at = world.now
        world.record("finished run", epoch=life.epoch)
        while world.now < ended_at + AFTERMATH_S and self._alive():
            world.run_until(world.now + 10.0)
        query = life.store.query
        world.record(
            "end",
            jobs=[tuple(row) for row in query(JOBS)],
            rows=[tuple(row)[1:] for row in query(HISTORY, 0)],
            issues=[tuple(row) for row in query(ISSUES)],
            moves=[tuple(row) for row in query("select job, issue from moves order by job")],
            done=life.store.meta("done"),
            files=self._left(""),
            bundles=[name for (name,) in query("select name from bundles order by name")],
            directories=list(self.disk.directories),
            outputs=dict(self.disk.outputs),
            alive=self._alive(),
        )
        life.bury()

    def _alive(self) -> list[str]:
        running = [each.issue for each in self._workers if each.alive and not each.job.owner]
        return running + [job.issue for job in self.cluster.waiting if not job.owner]


def simulate(seed: int, faulty: bool = True, commands: bool = False) -> World:
    """Run one seed from its beginning to its end. commands: by the real engine's commands."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="jobtree-sim-", dir=base)
    try:
        run = Run(seed, folder, faulty, commands)
        globals()["last_world"] = run.world
        with small_limits(run.world.stream("limits")):
            return run.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
