"""The virtual worker: the real one's protocol, as steps between which anything may happen.

Owns the order of a worker's acts, as jobtree/worker/main.py and chain.py have it; a `yield` is
time passing. test_worker_differential.py holds it against the real one. Read next: masters.py.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import cast

from batchsystems.interface import JobEnd, Reason
from jobtree.core.exit_status import NOT_OURS, PUBLISHED, WORKER_FAILED
from jobtree.core.job import Command, Pickle
from jobtree.mailbox import PROTOCOL
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
    Returned,
    Start,
    Usage,
)
from jobtree.worker.main import TIME_MARGIN
from tests.simulation.cluster import BatchJob, Node
from tests.simulation.disk import Disk, File
from tests.simulation.processes import Died, Life, LivingProcess
from tests.simulation.trees import NEVER, Step, command_for, step_number

WORKER_BYTES = 64 * 2**20
CHILDREN_IN_A_LINE = 3
"""Far fewer than the real worker's, so that small trees write Children lines too."""

SIGNALS = (11, 14, 10, 24)
"""By which steps take their process down: only of the first two it is sure that it was they."""


class Fenced(Exception):
    """The worker is to stop."""


class Worker(LivingProcess):
    """The process of one batch job that runs the pack of an issue."""

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
        self.steps, self._failed_so_far, self._lose_node = steps, failed_so_far, lose_node
        self.claimed = False
        self.waiting: list[Assignment] = []
        self.heeded: str | None = None
        super().__init__(disk, job, ended, name, self._work())

    def _pause(self) -> float:
        return self.rng.choice([0.0, 0.01, 0.01, 2.0])

    def _work(self) -> Life:
        if self.job.node is not None and not self.job.node.sees_tree:
            yield self._pause()
            return self.look_in_vain()
        order = self.disk.files.get(f"orders/{self.job.spec.name}")
        if order is None:
            return NOT_OURS
        protocol, terms, packs = cast("tuple[int, Terms, list[list[Assignment]]]", order.content)
        if protocol != PROTOCOL:
            return WORKER_FAILED
        self.waiting = list(packs[self.job.spec.index])
        yield self._pause()
        if self._fence() == Fence.STOP:
            return NOT_OURS
        status = yield from self._begin(terms)
        if status is not None:
            return status
        self.terms, self.began = terms, self.world.now
        yield self._pause()
        try:
            yield from self._run_pack()
        except Fenced:
            return NOT_OURS
        yield self._pause()
        self.write(End(0.0))
        self.sync()
        return PUBLISHED

    def _begin(self, terms: Terms) -> Generator[float, None, int | None]:
        """Claim the issue and begin its results; return the exit status if that cannot be."""
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
            return WORKER_FAILED
        if not self.order_stands():
            self.disk.remove(f"results/{self.issue}")
            self.disk.remove(f"claims/{self.issue}")
            return NOT_OURS
        self.world.after(terms.heartbeat_s, lambda: self.beat(claim, terms.heartbeat_s))
        if self.world.strikes("sidecar killed"):
            self.world.after(self.rng.uniform(0, 60), self._lose_sidecar)
        self.write(Hello(self.host, 1, self.name, 0.0, "/nowhere"))
        return None

    def _run_pack(self) -> Generator[float, None, None]:
        """Run the jobs of the pack in order; hand back those that are not to be started."""
        longest_s = 0.0
        while self.waiting:
            self._check_fence()
            if self._remaining_s() < TIME_MARGIN * longest_s:
                self._hand_back(0)
            if not self.waiting:
                return
            began = self.world.now
            yield from self._run_job(self.waiting.pop(0))
            longest_s = max(longest_s, self.world.now - began)

    def look_in_vain(self) -> int:
        """Look for an order where not even the tree is to be seen."""
        self.world.record("unseen", node=self.host, issue=self.issue)
        return WORKER_FAILED

    def take_claim(self) -> File | None:
        """Claim the issue; None if it is another's."""
        return self.disk.create(f"claims/{self.issue}", 0)

    def order_stands(self) -> bool:
        """Look whether the order is still there, now that the claim is held."""
        return f"orders/{self.job.spec.name}" in self.disk.files

    def _lose_sidecar(self) -> None:
        self.sidecar = False

    def _fence(self) -> str | None:
        if self.claimed and f"claims/{self.issue}" not in self.disk.files:
            return Fence.STOP
        file = self.disk.files.get(f"fences/{self.issue}")
        return None if file is None else cast(str, file.content)

    def _check_fence(self) -> bool:
        """Hand back what is recalled, once for each recall; tell whether it is everything."""
        fence, before = self._fence(), self.heeded
        self.heeded = fence
        if fence == Fence.STOP:
            raise Fenced
        if fence is not None and fence != before:
            self._hand_back(Fence.kept(fence, len(self.waiting)))
            self.ask_for_sync()
        return fence == Fence.RECALL

    def _hand_back(self, kept: int) -> None:
        given = [each.job for each in self.waiting[kept:]]
        self.waiting = self.waiting[:kept]
        self.write(Returned(given))
        self.world.record("returned", issue=self.issue, worker=self.name, jobs=given)

    def _remaining_s(self) -> float:
        granted_s = self.terms.granted.time_s
        return float("inf") if granted_s is None else granted_s - (self.world.now - self.began)

    def _run_job(self, given: Assignment) -> Generator[float, None, None]:
        """Run a job's steps as far as this worker may."""
        stack, number, isolated = list(given.stack), given.step, given.isolate
        goes_on = True
        while goes_on:
            self._check_fence()
            self.write(Start(given.job, given.attempt, number, 0.0))
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
            self._end_by_memory(step, what)
            if step.fails == NEVER or self._failed_so_far(step.number) < step.fails:
                self._fail(step, what, isolated, has_directory)
                return
            stack.pop()
            children, follow_on = self._bear(step)
            if follow_on is not None:
                stack.append(follow_on)
            if len(children) == 1:
                stack.append(children[0])
            goes_on = self._goes_on(step, stack, len(children))
            at = self._write_children(given.job, children)
            yield self._pause()
            self.write(
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
            self.ask_for_sync()
            yield self._pause()
            number, isolated = number + 1, False

    def _end_by_memory(self, step: Step, what: dict[str, object]) -> None:
        """Be killed if the step needs more memory than was granted."""
        if step.needs_bytes > (self.terms.granted.memory_bytes or 0) - WORKER_BYTES:
            self.world.record("finished", ok=False, goes_on=False, own=False, **what)
            raise Died(JobEnd(Reason.OUT_OF_MEMORY, signal=9, node=self.host))

    def _goes_on(self, step: Step, stack: list[Command], children: int) -> bool:
        """Tell whether this worker runs the job's next step."""
        if not stack or children > 1 or step.publishes or self._check_fence():
            return False
        wanted = stack[-1].requirements.resolve(self.terms.defaults)
        enough = (wanted.memory_bytes or 0) <= (self.terms.granted.memory_bytes or 0)
        return enough and (wanted.time_s or 0) <= self._remaining_s()

    def _write_children(self, job: int, children: list[Command]) -> int:
        """Write children that are too many for their step's line; return where they begin."""
        at = -1
        if len(children) > CHILDREN_IN_A_LINE:
            for start in range(0, len(children), CHILDREN_IN_A_LINE):
                part = children[start : start + CHILDREN_IN_A_LINE]
                offset = self.write(Children(job, part))
                at = offset if at < 0 else at
        return at

    def _maybe_lose_node(self) -> None:
        """Have the node die just now, when there is most to lose."""
        node = self.job.node
        if node is not None and node.up and self.world.strikes("node died"):
            self.world.after(self.rng.choice([0.001, 0.1]), lambda: self._lose_node(node))

    def _fail(
        self, step: Step, what: dict[str, object], isolated: bool, has_directory: bool
    ) -> None:
        self.world.record("finished", ok=False, goes_on=False, own=True, **what)
        number = SIGNALS[step.number % 4] if step.crashes else None
        if number is not None and step.is_target and not isolated:
            raise Died(JobEnd(Reason.FAILED, signal=number, node=self.host))
        self.write(
            Failed(
                cast(int, what["job"]),
                cast(int, what["attempt"]),
                cast(int, what["step"]),
                Usage(step.lasts_s, 0.0, None),
                None if step.is_target or step.crashes else 1,
                number,
                "it was to fail",
                "",
                step.crashes and step.is_target,
                [],
                False,
                has_directory,
            )
        )
        self.ask_for_sync()

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
        directory = self.disk.directories.get(job)
        if directory is not None:  # else the job is over, and this worker was given up long ago
            directory[source] = (job, attempt, number)
        return [[source, f"output {step.number}"]]
