"""Engine: which command to run next, and what its answer changes. No clock, thread or process.

Owns the order of submissions, kills, polls and other queries under a site's pace; what an answer
means for a job is reconcile.py's. Read next: adapter.py, which runs the commands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from batchsystems.commandline.adoption import Adoption
from batchsystems.commandline.answers import Phase, QueryResult, Rejected, Rejection, Submitted
from batchsystems.commandline.cluster import Cluster
from batchsystems.commandline.delays import StuckJobs, delays
from batchsystems.commandline.dialect import Dialect, Request, Validation
from batchsystems.commandline.environment import job_environment
from batchsystems.commandline.history import History
from batchsystems.commandline.jobs import FOREVER, NEVER, Batch, Job, JobTable, Search
from batchsystems.commandline.kills import Kills
from batchsystems.commandline.limits import LITTLE
from batchsystems.commandline.operation import Operation
from batchsystems.commandline.output import reread, tail_of
from batchsystems.commandline.pacing import Pace, PollSchedule, RateLimits, Timeouts
from batchsystems.commandline.pending import PendingReasons
from batchsystems.commandline.polling import QueuePoll
from batchsystems.commandline.reconcile import Reconciler
from batchsystems.commandline.submissions import SubmissionQueue
from batchsystems.common.jobscript import reread_launch
from batchsystems.errors import Unobtainable
from batchsystems.interface import Ambiguous, JobEnd, JobRecord, Trouble

log = logging.getLogger("jobtree.batchsystems")

TRY_AGAIN = {
    (Rejection.UNFIT, Validation.ON): Validation.WHY,
    (Rejection.UNCHECKED, Validation.ON): Validation.OFF,
    (Rejection.UNCHECKED, Validation.WHY): Validation.OFF,
}
"""How a submission is made again that a scheduler's check has turned down."""

KILL_AGAIN_S = 10.0
"""A repeated request to kill is passed on if the last one is older."""


class Engine:
    """The state behind a command-line batch system. Not for several threads at once.

    epoch: returns the time in epoch seconds; all other times are arguments.
    """

    def __init__(
        self,
        dialect: Dialect,
        pace: Pace,
        timeouts: Timeouts,
        epoch: Callable[[], float],
        user: str = "",
    ) -> None:
        self.dialect, self.timeouts, self._epoch = dialect, timeouts, epoch
        self.job_table = JobTable()
        self.submission_queue = SubmissionQueue(self.job_table, timeouts, dialect.arrays)
        self.reconciler = Reconciler(dialect, self.job_table, timeouts, epoch)
        self.cluster = Cluster(dialect.cluster, dialect.known, user)
        self.avoid: tuple[str, ...] = ()
        self.schedule, self._rates = PollSchedule(pace), RateLimits(pace)
        self._like = LITTLE
        self._answered_at: float | None = None
        self._outage_since = 0.0
        self.failures, self.outage = 0, ""
        self._kills = Kills(self.reconciler, self.schedule.stirred)
        self._history = History(self.reconciler, lambda: self.cluster.limits)
        self._reasons = PendingReasons(self.reconciler)
        self._stuck_jobs = StuckJobs()
        self._queue_poll = QueuePoll(self.reconciler)
        self.submitting: Batch | None = None
        self._strange = 0
        self.adoption: Adoption | None = None
        self._served = {"submit": NEVER, "history": NEVER, "queue": NEVER}

    # -- what the caller asks for ---------------------------------------------------------------

    def expect_ends(self, now: float) -> None:
        """Look at the queue as soon as the pace allows, as jobs are ending by themselves."""
        if self.job_table.by_native:
            self.schedule.stirred(now)

    def kill(self, handles: Iterable[int], now: float) -> None:
        """Request the end of these jobs; unknown ones are nobody's."""
        wanted = set(handles) & self.job_table.jobs.keys()
        self.submission_queue.withdraw(wanted)
        for handle in wanted:
            job = self.job_table.jobs.get(handle)
            if job is not None and job.killed is None:
                job.killed = NEVER
                if job.accepted:
                    self.reconciler.kill(job)
            elif job is not None and job.accepted and self._may_kill_again(job, now):
                self.reconciler.kill(job)
        for search in self.reconciler.searches:
            if any(job.handle in wanted for job in search.jobs):
                self.reconciler.kill_sought(search, now)

    def _may_kill_again(self, job: Job, now: float) -> bool:
        late = now > (job.killed or 0.0) + KILL_AGAIN_S
        return late and job.refusals < self.timeouts.tries

    def issued(self, now: float) -> frozenset[int]:
        """Return the handles not ended; raises Unobtainable without a late complete answer."""
        said_at = self._answered_at if self._answered_at is not None else self._outage_since
        stale_s = max(self.timeouts.stale_s, 3 * self.schedule.calm_s)
        if self.failures and self.job_table.by_native and now - said_at > stale_s:
            raise Unobtainable(
                f"{self.dialect.name} has given no complete answer for {now - said_at:.0f} s",
                why=f"it says: {self.outage}",
                fix="nothing needs to be done: it is asked again, and jobs go on meanwhile",
            )
        return frozenset(self.job_table.jobs)

    def troubles(self, now: float) -> list[Trouble]:
        """Say what holds jobs up."""
        found = list(delays(self.reconciler, self.submission_queue, self._kills, self._stuck_jobs))
        if self.failures > 1:
            said_at = self._answered_at if self._answered_at is not None else self._outage_since
            found.insert(0, (f"no complete answer ({self.failures} tries): {self.outage}", said_at))
        epoch = self._epoch()
        return [Trouble(what, round(epoch - (now - since))) for what, since in found]

    def running(self, now: float) -> dict[int, float]:
        """Return handle -> seconds running of the jobs that run, as of now."""
        return {
            job.handle: job.running_s + (now - job.seen_at if job.phase is Phase.RUNNING else 0)
            for job in self.job_table.accepted()
            if job.phase in (Phase.RUNNING, Phase.SUSPENDED)
        }

    def explain(self, handles: Iterable[int]) -> dict[int, str]:
        """Say why these jobs do not run yet."""
        said = {}
        for job in filter(None, map(self.job_table.jobs.get, handles)):
            if job.accepted:
                said[job.handle] = self.reconciler.explain(job)
            elif any(job in search.jobs for search in self.reconciler.searches):
                said[job.handle] = "its submission got no clear answer; it is being looked for"
            else:
                said[job.handle] = self.submission_queue.explain(job)
        return {handle: why for handle, why in said.items() if why}

    def begin_adoption(self, records: Sequence[JobRecord], now: float) -> None:
        """Begin to take back these jobs: ask for the queue at once."""
        self.adoption = Adoption(records)
        self._queue_poll.begin_anew()
        self.schedule.at_once(now)

    def adoption_answered(self) -> bool:
        """Tell whether all that is needed to settle an adoption was asked."""
        found = self.adoption
        return found is None or (found.queue is not None and found.history is not None)

    def finish_adoption(self, now: float) -> list[int | None]:
        """Return the handles of the records, whatever was answered by now."""
        found, self.adoption = self.adoption, None
        assert found is not None
        handles = found.settle(self.reconciler, now)
        self.schedule.needed(now)
        return handles

    # -- what is next ---------------------------------------------------------------------------

    def next_operation(self, now: float) -> Operation | None:
        """Return the next thing to do now, if any; its answer must be given to on_answer."""
        if self.reconciler.to_reread:
            return self._read_output(*self.reconciler.to_reread.pop())
        for kind in self._due(now):
            if self._rates.wait_s(kind in ("submit", "kill"), now) > 0:
                continue
            operation = self._make(kind, now)
            if operation is None:
                continue
            self._served[kind] = operation.begun = now
            self._rates.take(operation.acts)
            return operation
        return None

    def _make(self, kind: str, now: float) -> Operation | None:
        if kind == "kill":
            return self._kills.next()
        if kind == "submit":
            return self._submit(now)
        if kind == "reasons":
            return self._reasons.next(now)
        if kind == "cluster":
            return self.cluster.next()
        return self._history.next(now) if kind == "history" else self._poll(now)

    def count_retry(self) -> None:
        """Count a query that was made once more."""
        self._rates.take(False)

    def idle_s(self, now: float) -> float:
        """Return for how long there will be nothing to do, as far as is known."""
        if self.reconciler.to_reread:
            return 0.0
        waits = [
            max(due - now, self._rates.wait_s(kind in ("submit", "kill"), now), 0.0)
            for kind, due in self._dues().items()
            if due < FOREVER
        ]
        return min(waits, default=FOREVER)

    def _dues(self) -> dict[str, float]:
        return {
            "kill": self._kills.due,
            "submit": FOREVER if self.submitting else self.submission_queue.due(),
            "history": self._history.due,
            "reasons": self._reasons.due,
            "queue": NEVER if self._queue_poll.going_on else self.schedule.due,
            "cluster": self.cluster.due,
        }

    def _due(self, now: float) -> list[str]:
        """Return what is due, kills first, then what was served least recently."""
        due = [kind for kind, at in self._dues().items() if at <= now]
        return sorted(due, key=lambda kind: (kind != "kill", self._served.get(kind, NEVER)))

    # -- submissions ------------------------------------------------------------------------------

    def _submit(self, now: float) -> Operation | None:
        tasks = self.submission_queue.largest()
        if not tasks:
            return None
        asked = self.submission_queue.waiting[0].spec.resources
        question = self.cluster.before(tasks, asked)
        if question is not None:
            return question
        batch = self.submission_queue.next(self.cluster.limits.tasks)
        spec = batch.spec
        self._like = replace(spec.resources, cpus=1)
        why = self.cluster.impossible(spec.resources)
        if why:
            self.job_table.refuse(batch.jobs, f"{spec.name} {why}")
            return None
        for job in batch.jobs:
            job.part_name, job.begun = batch.part_name, now
        avoid = self.avoid if batch.avoids else ()
        env, given = job_environment(self.dialect, spec.env)
        request = Request(
            name=batch.part_name,
            command=spec.argv,
            resources=spec.resources,
            size=len(batch.jobs) if len(batch.jobs) > 1 else None,
            first=batch.first,
            cwd=batch.cwd,
            env=env,
            output=spec.output,
            avoid=avoid,
            check=batch.check,
            given=given,
            private_env=spec.private_env,
        )
        try:
            command = self.dialect.submit(request, self.cluster.limits)
        except Exception as error:  # a dialect's fault must not stop the others' jobs
            log.exception("%s: %s cannot be submitted", self.dialect.name, batch.part_name)
            self.job_table.refuse(batch.jobs, f"{batch.part_name} cannot be submitted: {error!r}")
            return None
        self.submitting = batch
        if command.private is not None:
            self.job_table.need(batch.jobs, command.private.path)
        return Operation(
            lambda answer, began, now: self._on_submit(batch, answer, bool(avoid), now),
            lambda words: Rejected(Rejection.UNKNOWN, words),
            command,
            self.dialect.parse_submit,
        )

    def _read_output(self, job: Job, end: JobEnd) -> Operation:
        def on_answer(tail: str, began: float, now: float) -> None:
            better = reread(self.dialect, reread_launch(end, job.index, tail), job.native, tail)
            self.reconciler.finish(job, better, reread=False)

        return Operation(on_answer, str, read_files=lambda transport: tail_of(job, transport))

    def slots(self) -> int | None:
        """Return how many jobs of one cpu, like those submitted last, run at once at most."""
        return self.cluster.limits.slots(self._like)

    def _on_submit(
        self, batch: Batch, answer: Submitted | Rejected, avoided: bool, now: float
    ) -> None:
        self.submitting = None
        if isinstance(answer, Submitted):
            self._accepted(batch, answer.native, now)
            return
        said = f"{self.dialect.name}: {answer.words}"
        kind = answer.kind
        if kind is Rejection.LIMIT:
            # of what is queued if anything is, else of what one job may ask for
            kind = Rejection.FULL if self.job_table.by_native else Rejection.REFUSED
        if kind in (Rejection.NODES, Rejection.PERMANENT, Rejection.UNFIT) and avoided:
            log.warning("%s; asking again without leaving out nodes", said)
            batch.avoids = False
            self.submission_queue.put_back(batch)
        elif (kind, batch.check) in TRY_AGAIN:
            batch.check = TRY_AGAIN[kind, batch.check]
            self.submission_queue.put_back(batch)
        elif kind is Rejection.SIZE and len(batch.jobs) > 1:
            self.submission_queue.halve(batch)
        elif kind in (Rejection.OUTAGE, Rejection.FULL, Rejection.CROWDED):
            self._hold(batch, kind, said, now)
        elif kind in (Rejection.UNKNOWN, Rejection.STRANGE):
            self._unclear(batch, said, kind is Rejection.STRANGE, now)
            return
        elif kind is Rejection.REFUSED and batch.refusals + 1 < self.timeouts.tries:
            batch.refusals += 1
            self._hold(batch, kind, said, now)
        else:
            said += f" ({self.timeouts.tries} times)" if kind is Rejection.REFUSED else ""
            self.job_table.refuse(batch.jobs, f"{batch.part_name} was refused by {said}")
            return
        self.submission_queue.withdraw(
            {j.handle for j in batch.jobs if batch.withdrawn or j.killed is not None}
        )

    def _accepted(self, batch: Batch, submission: str, now: float) -> None:
        self.submission_queue.taken()
        self._strange = 0
        for task, job in enumerate(batch.jobs):
            single = len(batch.jobs) == 1
            native = submission if single else self.dialect.ids.join(submission, task)
            self.reconciler.accept(job, batch.part_name, native, now)
        self.schedule.stirred(now)

    def _hold(self, batch: Batch, kind: Rejection, said: str, now: float) -> None:
        if not self.submission_queue.held_for:
            log.warning("submissions wait, and no job is harmed: %s", said)
        queue = self.submission_queue
        (queue.full if kind is Rejection.FULL else queue.hold)(batch, said, now)

    def _unclear(self, batch: Batch, said: str, strange: bool, now: float) -> None:
        """Look for a submission that may have been accepted before it is made again.

        Others wait, ever longer while none gets an answer. After some strange answers in a row
        what is not found is not to be made again.
        """
        for job in batch.jobs:
            self.job_table.tell(job, Ambiguous(said))
        self._strange = self._strange + 1 if strange else 0
        search = Search(batch.jobs, (batch.part_name,), now, batch.jobs[0].begun)
        if self._strange >= self.timeouts.tries:
            search.given_up = f"the last {self._strange} submissions were answered so: {said}"
        self.reconciler.search(search)
        self.submission_queue.pause(said, now)
        self.schedule.stirred(now)

    # -- the queue --------------------------------------------------------------------------------

    def _poll(self, now: float) -> Operation | None:
        self.schedule.due = FOREVER
        expected = self.job_table.by_native or self.reconciler.searches or self.adoption
        if not (expected or self._queue_poll.going_on or self.reconciler.abandoned.watched(now)):
            return None
        adopted = self.adoption.records if self.adoption is not None else ()
        return self._queue_poll.next(adopted, self._on_queue)

    def _on_queue(self, result: QueryResult, began: float, now: float) -> None:
        found = self.adoption
        if found is not None and found.queue is None:
            found.queue, found.began = result, began
            self._history.begin_adoption(found, now)
        if not result.complete:
            self._miss(result.why, now)
            return
        if self.failures:
            log.info("%s answers again", self.dialect.name)
        self.failures, self.outage, self._answered_at = 0, "", now
        before = set(self.reconciler.absent)
        ended = self.reconciler.on_queue(result, began, now)
        gone = self.reconciler.absent.keys() - before
        if ended or gone:
            self.submission_queue.room(now)
        known, searches = len(self.job_table.by_native), len(self.reconciler.searches)
        shown = max(known - len(self.reconciler.absent), min(known, 1))
        watched = int(self.reconciler.abandoned.watched(now))
        self.schedule.answered(now, shown + searches + watched, ended + len(gone))
        self._stuck_jobs.update(self.reconciler, now)
        self._reasons.plan(now)
        sought = any(search.wants_history for search in self.reconciler.searches)
        self._history.plan(now, afresh=sought or bool(gone))

    def _miss(self, why: str, now: float) -> None:
        """Note that there is no telling how things stand."""
        if not self.failures:
            self._outage_since = now
            log.warning("%s gives no complete answer: %s; jobs go on", self.dialect.name, why)
        self.failures, self.outage = self.failures + 1, why
        self.schedule.failed(now, self.failures)
