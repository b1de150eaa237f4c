"""Engine: which command to run next, and what its answer changes. No clock, thread or process.

Owns the order of submissions, kills, polls and look-ups under a site's pace; what an answer
means for a job is reconcile.py's. Read next: `CommandLine`, which runs the commands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from batchsystems.commandline.adoption import Inheritance
from batchsystems.commandline.census import Census
from batchsystems.commandline.dialect import (
    LITTLE,
    Check,
    Dialect,
    Kind,
    Limits,
    Listing,
    Phase,
    Request,
    Taken,
    Turned,
)
from batchsystems.commandline.environment import for_answers, job_environment
from batchsystems.commandline.history import History
from batchsystems.commandline.jobs import FOREVER, NEVER, Batch, Job, Roll, Search
from batchsystems.commandline.kills import Killing
from batchsystems.commandline.pacing import Pace, PollSchedule, RateLimits, Timeouts
from batchsystems.commandline.pending import Reasons
from batchsystems.commandline.polling import Looking
from batchsystems.commandline.reconcile import Following
from batchsystems.commandline.submissions import Outbox
from batchsystems.commandline.task import Task
from batchsystems.commandline.troubles import Waits, current
from batchsystems.common.jobscript import reread_launch
from batchsystems.errors import Unobtainable
from batchsystems.interface import Ambiguous, JobEnd, JobRecord, Refused, Trouble
from batchsystems.transport.local import Command, Transport

log = logging.getLogger("jobtree.batchsystems")

TRY_AGAIN = {
    (Kind.UNFIT, Check.ON): Check.WHY,
    (Kind.UNCHECKED, Check.ON): Check.OFF,
    (Kind.UNCHECKED, Check.WHY): Check.OFF,
}
"""How a submission is made again that a scheduler's check has turned down."""

TAIL_BYTES = 1 << 16
"""How much of the end of a job's output may be read."""

KILL_AGAIN_S = 10.0
"""A repeated request to kill is passed on if the last one is older."""


class Engine:
    """The state behind a command-line batch system. Not for several threads at once.

    epoch: returns the time in epoch seconds; all other times are arguments.
    """

    def __init__(
        self, dialect: Dialect, pace: Pace, timeouts: Timeouts, epoch: Callable[[], float]
    ) -> None:
        self.dialect, self.timeouts, self._epoch = dialect, timeouts, epoch
        self.roll = Roll()
        self.outbox = Outbox(self.roll, timeouts, dialect.arrays)
        self.following = Following(dialect, self.roll, timeouts, epoch)
        self.limits: Limits = dialect.known
        self.avoid: tuple[str, ...] = ()
        self.schedule, self._rates = PollSchedule(pace), RateLimits(pace)
        self.census = Census()
        self._like = LITTLE
        self._asked: set[tuple[str, ...]] = set()
        self._answered_at: float | None = None
        self._outage_since = 0.0
        self.failures, self.outage = 0, ""
        self._killing = Killing(self.following, self.schedule.stirred)
        self._history = History(self.following)
        self._reasons = Reasons(self.following)
        self._waits = Waits()
        self._looking = Looking(self.following)
        self.submitting: Batch | None = None
        self._strange = 0
        self.inheritance: Inheritance | None = None
        self._served = {"submit": NEVER, "history": NEVER, "queue": NEVER}

    # -- what the caller asks for ---------------------------------------------------------------

    def expect_ends(self, now: float) -> None:
        """Look at the queue as soon as the pace allows, as jobs are ending by themselves."""
        if self.roll.by_native:
            self.schedule.stirred(now)

    def kill(self, handles: Iterable[int], now: float) -> None:
        """Request the end of these jobs; unknown ones are nobody's."""
        wanted = set(handles) & self.roll.jobs.keys()
        self.outbox.withdraw(wanted)
        for handle in wanted:
            job = self.roll.jobs.get(handle)
            if job is not None and job.killed is None:
                job.killed = NEVER
                if job.accepted:
                    self.following.kill(job)
            elif job is not None and job.accepted and self._may_kill_again(job, now):
                self.following.kill(job)
        for search in self.following.searches:
            if any(job.handle in wanted for job in search.jobs):
                self.following.kill_sought(search, now)

    def _may_kill_again(self, job: Job, now: float) -> bool:
        late = now > (job.killed or 0.0) + KILL_AGAIN_S
        return late and job.refusals < self.timeouts.tries

    def issued(self, now: float) -> frozenset[int]:
        """Return the handles not ended; raises Unobtainable without a late complete answer."""
        said_at = self._answered_at if self._answered_at is not None else self._outage_since
        stale_s = max(self.timeouts.stale_s, 3 * self.schedule.calm_s)
        if self.failures and self.roll.by_native and now - said_at > stale_s:
            raise Unobtainable(
                f"{self.dialect.name} has given no complete answer for {now - said_at:.0f} s",
                why=f"it says: {self.outage}",
                fix="nothing needs to be done: it is asked again, and jobs go on meanwhile",
            )
        return frozenset(self.roll.jobs)

    def troubles(self, now: float) -> list[Trouble]:
        """Say what holds jobs up."""
        found = list(current(self.following, self.outbox, self._killing, self._waits))
        if self.failures > 1:
            said_at = self._answered_at if self._answered_at is not None else self._outage_since
            found.insert(0, (f"no complete answer ({self.failures} tries): {self.outage}", said_at))
        epoch = self._epoch()
        return [Trouble(what, round(epoch - (now - since))) for what, since in found]

    def running(self, now: float) -> dict[int, float]:
        """Return handle -> seconds running of the jobs that run, as of now."""
        return {
            job.handle: job.running_s + (now - job.seen_at if job.phase is Phase.RUNNING else 0)
            for job in self.roll.accepted()
            if job.phase in (Phase.RUNNING, Phase.SUSPENDED)
        }

    def explain(self, handles: Iterable[int]) -> dict[int, str]:
        """Say why these jobs do not run yet."""
        said = {}
        for handle in handles:
            job = self.roll.jobs.get(handle)
            if job is None:
                continue
            if job.accepted:
                said[handle] = self.following.explain(job)
            elif any(job in search.jobs for search in self.following.searches):
                said[handle] = "its submission got no clear answer; it is being looked for"
            else:
                said[handle] = self.outbox.explain(job)
        return {handle: why for handle, why in said.items() if why}

    def inherit(self, records: Sequence[JobRecord], now: float) -> None:
        """Begin to take back these jobs: look at the queue at once."""
        self.inheritance = Inheritance(records)
        self._looking.begin_anew()
        self.schedule.at_once(now)

    def inherited(self) -> bool:
        """Tell whether all that is needed to settle an inheritance was asked."""
        found = self.inheritance
        return found is None or (found.queue is not None and found.history is not None)

    def settle_inheritance(self, now: float) -> list[int | None]:
        """Return the handles of the records, whatever was answered by now."""
        found, self.inheritance = self.inheritance, None
        assert found is not None
        handles = found.settle(self.following, now)
        self.schedule.needed(now)
        return handles

    # -- what is next ---------------------------------------------------------------------------

    def next_task(self, now: float) -> Task | None:
        """Return the next thing to do now, if any; its answer must be given to task.hear."""
        if self.following.to_reread:
            return self._reread(*self.following.to_reread.pop())
        for kind in self._due(now):
            if self._rates.wait_s(kind in ("submit", "kill"), now) > 0:
                continue
            task = self._make(kind, now)
            if task is None:
                continue
            self._served[kind] = task.begun = now
            self._rates.take(task.acts)
            return task
        return None

    def _make(self, kind: str, now: float) -> Task | None:
        if kind == "kill":
            return self._killing.next()
        if kind == "submit":
            return self._submit(now)
        if kind == "reasons":
            return self._reasons.next(now)
        if kind == "census":
            return self._discover(self.census.next(), self.census.close_if_done)
        return self._history.next(now) if kind == "history" else self._poll(now)

    def looked_again(self) -> None:
        """Count a query that was made once more."""
        self._rates.take(False)

    def idle_s(self, now: float) -> float:
        """Return for how long there will be nothing to do, as far as is known."""
        if self.following.to_reread:
            return 0.0
        waits = [
            max(due - now, self._rates.wait_s(kind in ("submit", "kill"), now), 0.0)
            for kind, due in self._dues().items()
            if due < FOREVER
        ]
        return min(waits, default=FOREVER)

    def _dues(self) -> dict[str, float]:
        return {
            "kill": self._killing.due,
            "submit": FOREVER if self.submitting else self.outbox.due(),
            "history": self._history.due,
            "reasons": self._reasons.due,
            "queue": NEVER if self._looking.going_on else self.schedule.due,
            "census": self.census.due,
        }

    def _due(self, now: float) -> list[str]:
        """Return what is due, kills first, then what was served least recently."""
        due = [kind for kind, at in self._dues().items() if at <= now]
        return sorted(due, key=lambda kind: (kind != "kill", self._served.get(kind, NEVER)))

    # -- submissions ------------------------------------------------------------------------------

    def _submit(self, now: float) -> Task | None:
        tasks = self.outbox.largest()
        if not tasks:
            return None
        asked = self.outbox.waiting[0].spec.resources
        for command in self.dialect.discover(self.limits, tasks, asked):
            if command.argv not in self._asked:
                self._asked.add(command.argv)
                return self._discover(command)
        batch = self.outbox.next(self.limits.tasks)
        spec = batch.spec
        self._like = replace(spec.resources, cpus=1)
        why = self.dialect.impossible(spec.resources, self.limits)
        if why:
            for job in batch.jobs:
                self.roll.drop(job, Refused(f"{spec.name} {why}"))
            return None
        for job in batch.jobs:
            job.called, job.begun = batch.called, now
        avoid = self.avoid if batch.avoids else ()
        size = len(batch.jobs) if len(batch.jobs) > 1 else None
        env, given = job_environment(self.dialect, spec.env)
        request = Request(
            batch.called,
            spec.argv,
            spec.resources,
            size,
            batch.first,
            batch.cwd,
            env,
            spec.output,
            avoid,
            batch.check,
            given,
            spec.private_env,
        )
        self.submitting = batch
        command = self.dialect.submit(request, self.limits)
        if command.private is not None:
            self.roll.need(batch.jobs, command.private.path)
        return Task(
            lambda answer, began, now: self._hear_submit(batch, answer, bool(avoid), now),
            lambda words: Turned(Kind.UNKNOWN, words),
            command,
            self.dialect.parse_submit,
        )

    def count(self, now: float, user: str) -> bool:
        """Have it asked how much can run at once, unless it was lately; tell if it ever was."""
        if self.census.stale(now):
            limits, dialect = self.limits, self.dialect
            asks = [c for c in dialect.discover(limits, 1) if c.argv not in self._asked]
            self._asked.update(command.argv for command in asks)
            self.census.begin((*asks, *dialect.census(limits, user)), now)
        return self.census.answered

    def slots(self) -> int | None:
        """Return how many jobs of one cpu, like those submitted last, run at once at most."""
        return self.limits.slots(self._like)

    def _discover(self, command: Command, then: Callable[[], None] | None = None) -> Task:
        def hear(limits: Limits, began: float, now: float) -> None:
            self.limits = limits
            if then is not None:
                then()

        limits = self.limits
        return Task(
            hear,
            lambda words: limits,
            command,
            lambda ran: self.dialect.parse_limits(command, ran, limits),
        )

    def environment(self) -> dict[str, str]:
        """Return what commands inherit whose output is parsed."""
        return for_answers(self.dialect)

    def _hear_submit(self, batch: Batch, answer: Taken | Turned, avoided: bool, now: float) -> None:
        self.submitting = None
        if isinstance(answer, Taken):
            self._accepted(batch, answer.native, now)
            return
        said = f"{self.dialect.name}: {answer.words}"
        kind = answer.kind
        if kind is Kind.LIMIT:  # of what is queued if anything is, else of what one job may ask for
            kind = Kind.FULL if self.roll.by_native else Kind.REFUSED
        if kind in (Kind.NODES, Kind.PERMANENT, Kind.UNFIT) and avoided:
            log.warning("%s; asking again without leaving out nodes", said)
            batch.avoids = False
            self.outbox.put_back(batch)
        elif (kind, batch.check) in TRY_AGAIN:
            batch.check = TRY_AGAIN[kind, batch.check]
            self.outbox.put_back(batch)
        elif kind is Kind.SIZE and len(batch.jobs) > 1:
            self.outbox.halve(batch)
        elif kind in (Kind.OUTAGE, Kind.FULL, Kind.CROWDED):
            self._hold(batch, kind, said, now)
        elif kind in (Kind.UNKNOWN, Kind.STRANGE):
            self._unclear(batch, said, kind is Kind.STRANGE, now)
            return
        elif kind is Kind.REFUSED and batch.refusals + 1 < self.timeouts.tries:
            batch.refusals += 1
            self._hold(batch, kind, said, now)
        else:
            said += f" ({self.timeouts.tries} times)" if kind is Kind.REFUSED else ""
            for job in batch.jobs:
                self.roll.drop(job, Refused(f"{batch.called} was refused by {said}"))
            return
        self.outbox.withdraw(
            {j.handle for j in batch.jobs if batch.withdrawn or j.killed is not None}
        )

    def _accepted(self, batch: Batch, submission: str, now: float) -> None:
        self.outbox.taken()
        self._strange = 0
        for task, job in enumerate(batch.jobs):
            single = len(batch.jobs) == 1
            native = submission if single else self.dialect.join(submission, task)
            self.following.accept(job, batch.called, native, now)
        self.schedule.stirred(now)

    def _hold(self, batch: Batch, kind: Kind, said: str, now: float) -> None:
        if not self.outbox.held_for:
            log.warning("submissions wait, and no job is harmed: %s", said)
        if kind is Kind.FULL:
            self.outbox.full(batch, said, now)
        else:
            self.outbox.hold(batch, said, now)

    def _unclear(self, batch: Batch, said: str, strange: bool, now: float) -> None:
        """Look for a submission that may have been accepted before it is made again.

        Others wait, ever longer while none gets an answer. After some strange answers in a row
        what is not found is not to be made again.
        """
        for job in batch.jobs:
            self.roll.tell(job, Ambiguous(said))
        self._strange = self._strange + 1 if strange else 0
        search = Search(batch.jobs, (batch.called,), now, batch.jobs[0].begun)
        if self._strange >= self.timeouts.tries:
            search.given_up = f"the last {self._strange} submissions were answered so: {said}"
        self.following.search(search)
        self.outbox.pause(said, now)
        self.schedule.stirred(now)

    # -- the queue --------------------------------------------------------------------------------

    def _poll(self, now: float) -> Task | None:
        self.schedule.due = FOREVER
        expected = self.roll.by_native or self.following.searches or self.inheritance
        if not (expected or self._looking.going_on or self.following.disowned.watched(now)):
            return None
        heirs = self.inheritance.records if self.inheritance is not None else ()
        return self._looking.next(heirs, self._hear_queue)

    def _hear_queue(self, listing: Listing, began: float, now: float) -> None:
        found = self.inheritance
        if found is not None and found.queue is None:
            found.queue, found.began = listing, began
            self._history.inherit(found, now)
        if not listing.complete:
            self._miss(listing.why, now)
            return
        if self.failures:
            log.info("%s answers again", self.dialect.name)
        self.failures, self.outage, self._answered_at = 0, "", now
        before = set(self.following.absent)
        ended = self.following.hear_queue(listing, began, now)
        gone = self.following.absent.keys() - before
        if ended or gone:
            self.outbox.room(now)
        known, searches = len(self.roll.by_native), len(self.following.searches)
        shown = max(known - len(self.following.absent), min(known, 1))
        watched = int(self.following.disowned.watched(now))
        self.schedule.answered(now, shown + searches + watched, ended + len(gone))
        self._waits.look(self.following, now)
        self._reasons.plan(now)
        sought = any(search.wants_history for search in self.following.searches)
        self._history.plan(now, afresh=sought or bool(gone))

    def _miss(self, why: str, now: float) -> None:
        """Note that there is no telling how things stand."""
        if not self.failures:
            self._outage_since = now
            log.warning("%s gives no complete answer: %s; jobs go on", self.dialect.name, why)
        self.failures, self.outage = self.failures + 1, why
        self.schedule.failed(now, self.failures)

    # -- the tail of a job's output ---------------------------------------------------------------

    def _reread(self, job: Job, end: JobEnd) -> Task:
        def hear(tail: str, began: float, now: float) -> None:
            better = self.dialect.reread(reread_launch(end, job.index, tail), job.native, tail)
            self.following.finish(job, better, reread=False)

        def look(transport: Transport) -> str:
            try:
                return transport.read(job.output or "", -TAIL_BYTES, TAIL_BYTES).decode(
                    errors="replace"
                )
            except OSError:
                return ""

        return Task(hear, str, look=look)
