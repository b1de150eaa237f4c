"""The virtual worker: the real one's protocol, as steps between which anything may happen.

Owns the order of a worker's acts, as jobtree/worker/main.py, chain.py, ledger.py and sidecar.py
have it; a `yield` is time passing. Read next: masters.py.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import cast

from batchsystems.interface import JobEnd, Reason
from jobtree.core.job import Command, Pickle
from jobtree.mailbox.bundles import digest
from jobtree.mailbox.claims import Fence
from jobtree.mailbox.orders import Assignment, Terms
from jobtree.mailbox.results import (
    Children,
    Done,
    End,
    Failed,
    Hello,
    LogRange,
    ResultLine,
    Returned,
    Start,
    Synced,
    Usage,
)
from tests.simulation.cluster import BatchJob, Node
from tests.simulation.disk import Disk, File, write_line
from tests.simulation.trees import NEVER, Step, command_for, step_number
from tests.simulation.world import World

WORKER_BYTES = 64 * 2**20
CHILDREN_IN_A_LINE = 3
"""Far fewer than the real worker's, so that small trees write Children lines too."""

SIGNALS = (11, 14, 10, 24)
"""By which steps take their process down: only of the first two it is sure that it was they."""

PUBLISHED, NOT_OURS, OWN_FAILURE = 0, 75, 70

Life = Generator[float, None, int]


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


class Worker:
    """One process on a node, and its sidecar."""

    def __init__(
        self,
        disk: Disk,
        job: BatchJob,
        steps: dict[int, Step],
        failed_so_far: Callable[[int], int],
        ended: Callable[[JobEnd], None],
        lose_node: Callable[[Node], None],
        name: str,
    ) -> None:
        self.disk, self.world = disk, disk.world
        self.rng = disk.world.stream("worker")
        self.steps, self._failed_so_far, self._ended = steps, failed_so_far, ended
        self.job, self.name, self.issue = job, name, job.issue
        self.host = job.node.name if job.node is not None else ""
        self.results: File | None = None
        self.claimed = False
        self.waiting: list[Assignment] = []
        self.heeded = ""
        self.bundle: File | None = None
        self._lose_node = lose_node
        self.alive = True
        self.sidecar = True
        self._stalled_until = 0.0
        self._sync_due = False
        self._synced_at = 0.0
        self._life = self._work()
        self.world.after(self.rng.uniform(0, 0.1), self._go_on)

    # Being a process.

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

    # The sidecar.

    def _beat(self, claim: File, every_s: float) -> None:
        if self.sidecar and self.alive:
            if self.world.now >= self._stalled_until:
                claim.content = cast(int, claim.content) + 1
            self.world.after(every_s, lambda: self._beat(claim, every_s))

    def _ask_for_sync(self) -> None:
        if not self._sync_due and self.sidecar:
            self._sync_due = True
            wait = max(0.0, self._synced_at + 0.2 - self.world.now)
            self.world.after(wait + 0.01, self._sidecar_sync)

    def _sidecar_sync(self) -> None:
        self._sync_due = False
        if self.sidecar and self.alive and self.world.now >= self._stalled_until:
            self._sync()
        elif self.sidecar and self.alive:
            self._ask_for_sync_later()

    def _ask_for_sync_later(self) -> None:
        self._sync_due = True
        self.world.after(self._stalled_until - self.world.now + 0.01, self._sidecar_sync)

    def _sync(self) -> None:
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

    # Being a worker.

    def _pause(self) -> float:
        return self.rng.choice([0.0, 0.01, 0.01, 2.0])

    def _work(self) -> Life:
        if self.job.node is not None and not self.job.node.sees_tree:
            yield self._pause()
            return self.look_in_vain()
        submission = self.job.spec.name
        order = self.disk.files.get(f"orders/{submission}")
        if order is None:
            return NOT_OURS
        terms, packs = cast("tuple[Terms, list[list[Assignment]]]", order.content)
        pack = packs[self.job.spec.index]
        yield self._pause()
        if self._fence() == Fence.STOP:
            return NOT_OURS
        draft = f"claims/{self.issue}~{self.name}"
        self.disk.create(draft)
        yield self._pause()
        claim = self.take_claim()
        self.disk.remove(draft)
        self.world.record("claim", worker=self.name, issue=self.issue, won=claim is not None)
        if claim is None:
            note = f"claims/{self.issue}~lost.{self.name}"
            self.disk.create(note)
            if not self.order_stands():
                self.disk.remove(note)
            return NOT_OURS
        self.claimed = True
        yield self._pause()
        self.results = self.disk.create(f"results/{self.issue}")
        if self.results is None:
            return OWN_FAILURE
        if not self.order_stands():
            self.disk.remove(f"results/{self.issue}")
            self.disk.remove(f"claims/{self.issue}")
            return NOT_OURS
        self.world.after(terms.heartbeat_s, lambda: self._beat(claim, terms.heartbeat_s))
        if self.world.strikes("sidecar killed"):
            self.world.after(self.rng.uniform(0, 60), self._lose_sidecar)
        self._write(Hello(self.host, 1, self.name, 0.0, "/nowhere"))
        yield self._pause()
        self.waiting = list(pack)
        while self.waiting:
            fence = self._fence()
            if fence == Fence.STOP:
                return NOT_OURS
            self._heed(fence)
            if not self.waiting:
                break
            left = yield from self._run_job(terms, self.waiting.pop(0))
            if left:
                return NOT_OURS
        yield self._pause()
        self._write(End(0.0))
        self._sync()
        return PUBLISHED

    def look_in_vain(self) -> int:
        """Look for an order where not even the tree is to be seen."""
        self.world.record("unseen", node=self.host, issue=self.issue)
        return OWN_FAILURE

    def take_claim(self) -> File | None:
        """Claim the issue; None if it is another's."""
        return self.disk.create(f"claims/{self.issue}", 0)

    def order_stands(self) -> bool:
        """Look whether the order is still there, now that the claim is held."""
        return f"orders/{self.job.spec.name}" in self.disk.files

    def _lose_sidecar(self) -> None:
        self.sidecar = False

    def _write(self, line: ResultLine) -> int:
        assert self.results is not None
        needed = 0 if self.bundle is None else len(self.bundle.data)
        return write_line(self.disk, self.results, self.issue, line, needed)

    def _fence(self) -> str | None:
        if self.claimed and f"claims/{self.issue}" not in self.disk.files:
            return Fence.STOP
        file = self.disk.files.get(f"fences/{self.issue}")
        return None if file is None else cast(str, file.content)

    def _heed(self, fence: str | None) -> None:
        """Hand back what is recalled, once for each recall."""
        if fence is None or fence in (self.heeded, Fence.STOP):
            return
        self.heeded = fence
        kept = Fence.kept(fence, len(self.waiting))
        given = [each.job for each in self.waiting[kept:]]
        self.waiting = self.waiting[:kept]
        self._write(Returned(given))
        self.world.record("returned", issue=self.issue, worker=self.name, jobs=given)
        self._ask_for_sync()

    def _run_job(self, terms: Terms, given: Assignment) -> Generator[float, None, bool]:
        """Run a job's steps as far as this worker may; True if fenced off meanwhile."""
        stack, number, isolated = list(given.stack), given.step, given.isolate
        while True:
            if self._fence() == Fence.STOP:
                return True
            self._write(Start(given.job, given.attempt, number, 0.0))
            step = self.steps[step_number(stack[-1])]
            what = {
                "worker": self.name,
                "issue": self.issue,
                "node": step.number,
                "job": given.job,
                "attempt": given.attempt,
                "step": number,
            }
            self.world.record("started", **what)
            self._check_pickle(stack[-1].pickle, what)
            has_directory = self._use_directory(step, what)
            yield step.lasts_s / 2
            yield step.lasts_s / 2
            granted = (terms.granted.memory_bytes or 0) - WORKER_BYTES
            if step.needs_bytes > granted:
                self.world.record("finished", ok=False, goes_on=False, own=False, **what)
                raise Died(JobEnd(Reason.OUT_OF_MEMORY, signal=9, node=self.host))
            if step.fails == NEVER or self._failed_so_far(step.number) < step.fails:
                self._fail(step, what, isolated, has_directory)
                return False
            stack.pop()
            children, follow_on = self._bear(step)
            if follow_on is not None:
                stack.append(follow_on)
            if len(children) == 1:
                stack.append(children[0])
            goes_on = bool(stack) and len(children) < 2 and not step.publishes
            self._heed(self._fence())
            goes_on = goes_on and self._fits(stack[-1], terms) and self._fence() != Fence.STOP
            at = -1
            if len(children) > CHILDREN_IN_A_LINE:
                for start in range(0, len(children), CHILDREN_IN_A_LINE):
                    part = children[start : start + CHILDREN_IN_A_LINE]
                    offset = self._write(Children(given.job, part))
                    at = offset if at < 0 else at
            yield self._pause()
            if self._fence() == Fence.STOP:
                return True
            self._write(
                Done(
                    given.job,
                    given.attempt,
                    number,
                    Usage(step.lasts_s, step.lasts_s, None),
                    len(children),
                    children if at < 0 else [],
                    at,
                    follow_on,
                    goes_on,
                    [],
                    self._publish(step, what),
                    LogRange(0, 0),
                    has_directory,
                    "",
                )
            )
            self.world.record("finished", ok=True, goes_on=goes_on, own=True, **what)
            self._maybe_lose_node()
            self._ask_for_sync()
            yield self._pause()
            if not goes_on:
                return False
            number, isolated = number + 1, False

    def _maybe_lose_node(self) -> None:
        """Have the node die just now, when there is most to lose."""
        node = self.job.node
        if node is not None and node.up and self.world.strikes("node died"):
            self.world.after(self.rng.choice([0.001, 0.1]), lambda: self._lose_node(node))

    def _fits(self, command: Command, terms: Terms) -> bool:
        wanted = command.requirements.resolve(terms.defaults)
        return (wanted.memory_bytes or 0) <= (terms.granted.memory_bytes or 0)

    def _fail(
        self, step: Step, what: dict[str, object], isolated: bool, has_directory: bool
    ) -> None:
        self.world.record("finished", ok=False, goes_on=False, own=True, **what)
        if step.crashes and not isolated:
            raise Died(JobEnd(Reason.FAILED, signal=SIGNALS[step.number % 4], node=self.host))
        self._write(
            Failed(
                cast(int, what["job"]),
                cast(int, what["attempt"]),
                cast(int, what["step"]),
                Usage(step.lasts_s, 0.0, None),
                1,
                None,
                "it was to fail",
                "",
                step.crashes,
                [],
                False,
                has_directory,
            )
        )
        self._ask_for_sync()

    def _check_pickle(self, where: Pickle | None, what: dict[str, object]) -> None:
        if where is None or where.bundle == self.issue:
            return  # its own bundle is in its node's cache
        if not self.disk.holds(where):
            self.world.record("pickle lost", **what)

    def _bear(self, step: Step) -> tuple[list[Command], Command | None]:
        children = [self._command(self.steps[child]) for child in step.children]
        follow_on = self._command(self.steps[step.follow_on]) if step.follow_on else None
        return children, follow_on

    def _command(self, step: Step) -> Command:
        if not step.is_target:
            return command_for(step, None)
        if self.bundle is None:
            path = f"bundles/{self.issue}"
            self.bundle = self.disk.files.get(path) or self.disk.create(path)
            if f"claims/{self.issue}" not in self.disk.files:
                self.world.record("late file", path=path)
        assert self.bundle is not None
        pickled = f"<step {step.number}>".encode()
        at = self.disk.append(self.bundle, pickled)
        return command_for(step, Pickle(self.issue, at, len(pickled), digest(pickled)))

    def _use_directory(self, step: Step, what: dict[str, object]) -> bool:
        uses = step.publishes or self.rng.random() < step.directory
        if uses:
            self.disk.directories.setdefault(cast(int, what["job"]), {})
            self.world.record("directory", **what)
        return uses

    def _publish(self, step: Step, what: dict[str, object]) -> list[list[str]]:
        if not step.publishes:
            return []
        job, attempt, number = (cast(int, what[key]) for key in ("job", "attempt", "step"))
        source = f"{job}/{attempt}/{number}"
        self.disk.directories.setdefault(job, {})[source] = (job, attempt, number)
        return [[source, f"output {step.number}"]]
