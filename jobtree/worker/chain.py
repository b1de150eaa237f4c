"""Runs one job as far as this worker may: step after step, each published before the next.

Owns the rules for chains: when a job's next step runs here, and when the job is handed back; must
not run steps itself (steps.py), nor choose the pack's next job (main.py). Read next: steps.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic, sleep
from typing import NoReturn

from jobtree.core.exit_status import NOT_OURS
from jobtree.core.job import Command, CommandKind, Requirements
from jobtree.mailbox.claims import Fence, check_fence
from jobtree.mailbox.layout import failed_log_path
from jobtree.mailbox.orders import Assignment, Terms
from jobtree.mailbox.results import (
    CHILDREN_PER_LINE,
    Done,
    Failed,
    LogRange,
    Returned,
    Start,
    Usage,
)
from jobtree.mailbox.worker_side import ResultWriter
from jobtree.payload.context import LocalDirectory, StepContext
from jobtree.worker.oom import KillCount
from jobtree.worker.shell import StepOutcome, seems_killed
from jobtree.worker.sidecar import Sidecar
from jobtree.worker.steplog import StepLog
from jobtree.worker.steps import run_step
from jobtree.worker.targets import StepTools, leave_process, restore_worker

FENCE_EVERY_S = 0.1
LINGER_S = 1.0
"""The processes of a batch job that is ended get their signals one after the other."""


class Fenced(BaseException):
    """This worker's work is void: leave at once, publishing nothing more."""

    status = NOT_OURS


class WorkerRun:
    """What a worker works with, and how far it is."""

    def __init__(
        self,
        tools: StepTools,
        terms: Terms,
        results: ResultWriter,
        log: StepLog,
        local: LocalDirectory,
        sidecar: Sidecar,
        issue: str,
        began: float,
    ) -> None:
        self.tools, self.terms, self.results, self.log = tools, terms, results, log
        self.local, self.sidecar, self.issue = local, sidecar, issue
        self.began = began  # on the monotonic clock
        self.tainted = False  # the process is not fit for another Target
        self.waiting: list[Assignment] = []  # the jobs not started; the next one is last
        self.last = False  # none is waiting: what is published at the end is synced at once
        self.kills = KillCount()
        self.running: StepContext | None = None
        self._fence_read_at = 0.0
        self._fence: str | None = None

    def check_fence(self) -> bool:
        """Read the fence, now and then; tell whether all that waits is recalled.

        Hands back what is recalled. Raises Fenced if this worker is to stop.
        """
        now = monotonic()
        if now - self._fence_read_at > FENCE_EVERY_S:
            word, before = check_fence(self.tools.tree, self.issue), self._fence
            self._fence, self._fence_read_at = word, now
            if word == Fence.STOP:
                raise Fenced
            if word != before and word is not None:
                self.hand_back(Fence.kept(word, len(self.waiting)))
                self.sidecar.sync()
        return self._fence == Fence.RECALL

    def hand_back(self, kept: int) -> None:
        """Publish which jobs will not be started here: all but the next `kept` ones."""
        count = len(self.waiting) - kept
        given, self.waiting = self.waiting[:count], self.waiting[count:]
        self.results.append(Returned([each.job for each in reversed(given)]))
        self.last = not self.waiting

    def hand_back_rest(self) -> None:
        """Publish that no further job will be started here."""
        if self.waiting:
            self.hand_back(0)

    def request_sync(self, goes_on: bool) -> None:
        """Have the sidecar sync a step's result, unless this worker itself does so next."""
        if goes_on or not self.last:
            self.sidecar.sync()

    def remaining_s(self) -> float:
        """Return how much of the granted time is left."""
        granted = self.terms.granted.time_s
        return float("inf") if granted is None else granted - (monotonic() - self.began)

    def end_step(self, ran_here: bool = True) -> LogRange:
        """Restore this process after a step; return where the step's output is.

        ran_here: the step ran in this process; a command cannot have changed it.
        """
        if not ran_here:
            self.running = None
            return self.log.end_step()
        process_state = self.tools.process_state
        process_state.flush()
        unfit = process_state.restore(self.tools.meter.seen or self.tools.meter.status())
        if self.tools.descriptors.lost:
            unfit = unfit or "it closed descriptors that were not its own"
        if unfit and not (self.tainted or self.last):
            process_state.tell(f"this batch job runs no further Target after this one: {unfit}")
        self.tainted = self.tainted or bool(unfit)
        self.running = None
        return self.log.end_step()


def run_job(run: WorkerRun, assignment: Assignment) -> None:
    """Run a job's steps here until it fails, ends, or must be handed back.

    Raises Fenced if this worker is to stop; OSError and WorkerFailure for its own failures.
    """
    stack, step, isolated = list(assignment.stack), assignment.step, assignment.isolate
    goes_on = True
    while goes_on:
        run.check_fence()
        depth = assignment.depth + len(stack) - 1
        job, attempt, granted = assignment.job, assignment.attempt, run.terms.granted
        context = StepContext(run.tools.tree, job, attempt, step, depth, granted, run.local)
        run.results.append(Start(job, attempt, step, round(monotonic() - run.began, 6)))
        run.sidecar.begins_step(run.log.begin_step())
        run.running = context
        outcome, usage = run_step(run.tools, stack[-1], context, isolated)
        log = run.end_step(stack[-1].kind == CommandKind.TARGET)
        run.local.next_step()
        if outcome.why:
            publish_failure(run, context, outcome, usage, log)
            return
        stack.pop()
        if outcome.follow_on is not None:
            stack.append(outcome.follow_on)
        if len(outcome.children) == 1:
            stack.append(outcome.children[0])
        try:
            goes_on = _goes_on(run, stack, outcome, context)
            _publish_success(run, context, outcome, usage, log, goes_on)
        except (TypeError, ValueError, RecursionError) as error:
            # of what the step has made: nothing of it is written yet
            why = f"what the step hands on cannot be written down: {error}"
            publish_failure(run, context, StepOutcome(why[:1000]), usage, log)
            return
        step, isolated = step + 1, False


def _goes_on(
    run: WorkerRun, stack: list[Command], outcome: StepOutcome, context: StepContext
) -> bool:
    """Tell whether this worker runs the job's next step; otherwise the master decides."""
    if not stack or len(outcome.children) > 1:
        return False
    if context.publish or run.tainted or run.check_fence():
        return False
    return _fits(stack[-1].requirements.resolve(run.terms.defaults), run)


def _fits(wanted: Requirements, run: WorkerRun) -> bool:
    """Tell whether a step fits what this issue was granted, and the time it has left."""
    pairs = zip(wanted[:3], run.terms.granted[:3], strict=True)
    for asked, granted in pairs:
        if asked is not None and granted is not None and asked > granted:
            return False
    return (wanted.time_s or 0) <= run.remaining_s()


def _publish_success(
    run: WorkerRun,
    context: StepContext,
    outcome: StepOutcome,
    usage: Usage,
    log: LogRange,
    goes_on: bool,
) -> None:
    children, at = outcome.children, -1
    if len(children) > CHILDREN_PER_LINE:
        at = run.results.append_children(context.job, children)
        children = []
    run.results.append(
        Done(
            context.job,
            context.attempt,
            context.step,
            usage,
            len(outcome.children),
            children,
            at,
            outcome.follow_on,
            goes_on,
            context.messages,
            context.publish,
            log,
            context.has_directory,
            outcome.said,
        )
    )
    run.request_sync(goes_on)


def publish_failure(
    run: WorkerRun, context: StepContext, outcome: StepOutcome, usage: Usage, log: LogRange
) -> None:
    """Publish a failed step, with a copy of what it printed.

    If a child was killed, this process may be next: then the batch job is being ended, and no
    step must be reported as failed.
    """
    if outcome.killed:
        sleep(LINGER_S)
    kept = failed_log_path(run.tools.tree, context.job, context.step, context.attempt)
    log_kept = run.log.copy(log, kept)
    run.results.append(
        Failed(
            context.job,
            context.attempt,
            context.step,
            usage,
            outcome.exit_status,
            outcome.signal,
            outcome.why,
            outcome.detail,
            outcome.crashed,
            context.messages,
            log_kept,
            context.has_directory,
            run.kills.has_grown(),
        )
    )
    run.request_sync(goes_on=False)


def guard_exit(run: WorkerRun, finish: Callable[[], NoReturn]) -> Callable[[int], NoReturn]:
    """Return an os._exit for Targets in this process: it fails the step, and no more.

    finish: hands the rest back and ends this process with the worker's own status. Processes that
    a Target has forked really exit.
    """
    worker = os.getpid()

    def guarded_exit(status: int) -> NoReturn:
        context = run.running
        if context is None or os.getpid() != worker:
            leave_process(status)
        usage = run.tools.meter.stop()
        restore_worker(run.tools)
        log = run.end_step()
        why = f"the Target ended its own process with exit status {status}"
        outcome = StepOutcome(why, exit_status=status, crashed=True, killed=seems_killed(status))
        publish_failure(run, context, outcome, usage, log)
        finish()

    return guarded_exit
