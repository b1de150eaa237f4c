"""Reconcile: what answers of the scheduler mean for the jobs they show, or do not show.

Owns the three-valued reading (seen, absent from a complete answer, nothing learnt), the search
for submissions without a clear answer, and when absence is believed. Read next: engine.py.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from batchsystems.commandline.abandoned import Abandoned
from batchsystems.commandline.answers import Observation, Phase, QueryResult
from batchsystems.commandline.clock_offset import SchedulerClock, bounded
from batchsystems.commandline.dialect import Dialect
from batchsystems.commandline.jobs import (
    FOREVER,
    NEVER,
    Job,
    JobTable,
    Search,
    newest,
    parse_part_name,
)
from batchsystems.commandline.output import is_doubtful
from batchsystems.commandline.pacing import Timeouts
from batchsystems.interface import Accepted, JobEnd, Reason, Refused

log = logging.getLogger("jobtree.batchsystems")

KILLS = (signal.SIGKILL, signal.SIGTERM)
"""By these a scheduler ends a job whose end was asked for."""

MOST_KILLS = 8
"""So often a job is ended that does not end: in two hours, ever more rarely."""

SILENT = (Reason.CANCELLED, Reason.ENDED, Reason.LOST)
"""Ends that do not say why a job ended which was given up before."""


class Reconciler:
    """Carries answers into the table of jobs."""

    def __init__(
        self, dialect: Dialect, job_table: JobTable, timeouts: Timeouts, epoch: Callable[[], float]
    ) -> None:
        self.dialect, self.job_table, self.timeouts = dialect, job_table, timeouts
        self.clock = SchedulerClock(epoch, timeouts.clock_slack_s)
        self.searches: list[Search] = []
        self.to_kill: dict[str, Job | None] = {}
        self.names_to_kill: set[str] = set()
        self.to_reread: list[tuple[Job, JobEnd]] = []
        self.absent: dict[int, Job] = {}
        self.history_off = False
        self.history_failing_since: float | None = None
        self.abandoned = Abandoned(timeouts.kill_again_s)
        self._said: set[str] = set()

    # -- the queue ----------------------------------------------------------------------------

    def on_queue(self, result: QueryResult, began: float, now: float) -> int:
        """Take in a complete answer of the queue; return how many jobs it shows ended."""
        unseen = {job.handle: job for job in self.job_table.accepted() if job.accepted_at < began}
        ended, foreign = 0, []
        for observation in result.observations:
            job = self._owner(observation, now)
            if job is None:
                foreign.append(observation)
                continue
            unseen.pop(job.handle, None)
            self.absent.pop(job.handle, None)
            job.absences = 0
            ended += self.see(job, observation, began, now)
        self._look_for(foreign, began, now, False, result)
        for job in unseen.values():
            if self._hidden(job, result):
                continue
            if job.absences == 0:
                job.absent_since, job.record = now, ""
            job.absences += 1
            self.absent[job.handle] = job
        self._judge_absent(now)
        return ended

    def _hidden(self, job: Job, result: QueryResult) -> bool:
        """Tell whether a row that could not be read may be this job's."""
        whole = self.dialect.ids.submission_of
        return bool(result.broken) and result.hides(job.native, job.part_name, whole(job.native))

    def _owner(self, observation: Observation, now: float) -> Job | None:
        """Return the job an observation is of: the id and the name must agree.

        Names are unique, so times that do not agree tell of a clock. They decide where the
        scheduler tells no name.
        """
        job = self.job_table.by_native.get(observation.native)
        if job is None or (observation.name and observation.name != job.part_name):
            return None
        return job if observation.name or self.is_fresh(observation, job.begun, now) else None

    def is_fresh(self, observation: Observation, begun: float, now: float) -> bool:
        """Tell whether what is shown may have been submitted at this moment or later."""
        if observation.submitted is None:
            return True
        return observation.submitted >= self.clock.there(begun, now) - self.timeouts.clock_slack_s

    def see(self, job: Job, observation: Observation, began: float, now: float) -> bool:
        """Note where a job is; return whether it has ended."""
        phase = observation.phase
        if phase is Phase.UNKNOWN:
            self._say_once(
                f"state {observation.word}",
                f"{self.dialect.name}: the state {observation.word!r} of job {job.native} "
                "is not known to jobTree; such jobs are left alone",
            )
            return False
        if phase is not job.phase or observation.why:
            job.why = observation.why
        job.phase, job.seen_at = phase, now
        job.node = observation.node or job.node
        if job.shown is None:
            self.clock.see(job, observation, now)
            if self.clock.differs:
                self._say_once("clock", f"{self.dialect.name}: {self.clock.differs}")
        job.running_s = bounded(job, observation.running_s or 0.0, now)
        if observation.started is not None:
            job.running_s = self.clock.running_s(job, observation.started, now)
        if phase is Phase.ENDED:
            self.finish(job, observation.end or JobEnd(Reason.ENDED))
            return True
        self._check_stuck(job, now)
        if job.killed is not None and began > job.killed + self._kill_again_s(job):
            self.kill(job)
        return False

    def _kill_again_s(self, job: Job) -> float:
        """Return how long after a kill without effect it is repeated: not for ever."""
        if job.kills >= MOST_KILLS or job.refusals >= self.timeouts.tries:
            return FOREVER
        return self.timeouts.kill_again_s * 2.0 ** max(0, job.kills - 1)

    def _check_stuck(self, job: Job, now: float) -> None:
        """End a job that can never start; warn of one that waits in vain."""
        if job.phase is not Phase.STUCK:
            job.stuck_since = None
            self.judge_waiting(job)
            return
        job.stuck_since = now if job.stuck_since is None else job.stuck_since
        if now - job.stuck_since >= self.timeouts.held_s and job.killed is None:
            said, remedy = f"{self.dialect.name} held it: {job.why}", self.dialect.remedy(job.why)
            evidence = f"{said}: {remedy}" if remedy else said
            job.verdict = JobEnd(Reason.LAUNCH_FAILED, node=job.node, evidence=(evidence,))
            self.kill(job)

    def judge_waiting(self, job: Job) -> None:
        """Warn, once for its submission, of a job that waits in vain."""
        if job.phase is Phase.WAITING and self.dialect.is_hopeless(job.why):
            self._say_once(
                f"waits {job.name} {job.why}",
                f"{job.part_name} ({job.native}) waits and will not start by itself: "
                f"{self.explain(job)}",
            )

    def explain(self, job: Job) -> str:
        """Say why a job in the queue does not run yet, or does not end; "" if it just runs."""
        if job.refusals:
            tries = f"{job.refusals} times" if job.refusals > 1 else "once"
            return f"{self.dialect.name} refused {tries} to end it: {job.unkilled}"
        if job.kills > 1:
            return f"its end was asked for {job.kills} times, and it is still there"
        if job.phase in (Phase.RUNNING, Phase.ENDED):
            return ""
        remedy = self.dialect.remedy(job.why)
        said = f"{self.dialect.name} says: {job.why or job.phase.value}"
        return f"{said}: {remedy}" if remedy else said

    # -- ends ---------------------------------------------------------------------------------

    def finish(self, job: Job, end: JobEnd, reread: bool = True) -> None:
        """Tell the end of a job, unless its output may know better."""
        self.absent.pop(job.handle, None)
        if reread and job.output is not None and is_doubtful(self.dialect, end):
            self.job_table.by_native.pop(job.native, None)
            self.to_reread.append((job, end))
            return
        if job.killed is not None and end.reason is Reason.FAILED and end.signal in KILLS:
            evidence = (*end.evidence, "its end had been asked for")
            end = replace(end, reason=Reason.CANCELLED, evidence=evidence)
        if job.verdict is not None:
            told = job.verdict if end.reason in SILENT else end
            end = replace(told, evidence=(*job.verdict.evidence, *end.evidence))
        self.to_kill.pop(job.native, None)
        self.job_table.drop(job, end)

    def kill(self, job: Job) -> None:
        """Have a job ended that the scheduler has."""
        job.killed = NEVER
        self.to_kill[job.native] = job

    def kill_sought(self, search: Search, now: float) -> None:
        """Have a submission ended that may have been accepted, once all of it is unwanted.

        It is ended by name, and again while it is looked for: it may appear late.
        """
        late = search.killed is None or now - search.killed >= self.timeouts.kill_again_s
        if late and all(job.killed is not None for job in search.jobs):
            search.killed = now
            self.names_to_kill.update(search.names)

    # -- the history --------------------------------------------------------------------------

    def on_history(
        self, result: QueryResult, asked: Sequence[Job], began: float, now: float
    ) -> int:
        """Take in a complete answer about jobs no longer queued; return how many had ended."""
        self.history_failing_since = None
        records = newest(result.observations)
        ended = 0
        for job in asked:
            observation = records.get((job.native, job.part_name)) or records.get((job.native, ""))
            if job.handle not in self.absent:
                continue
            if observation is None and self._hidden(job, result):
                job.record = "what cannot be read"
            elif observation is None or self._owner(observation, now) is not job:
                job.record = "nothing"
            elif observation.phase is Phase.ENDED:
                ended += 1
                self.finish(job, observation.end or JobEnd(Reason.ENDED))
            else:
                job.record = observation.word or observation.phase.value
        self._look_for(records.values(), began, now, True, result)
        self._judge_absent(now)
        return ended

    def miss_history(self, result: QueryResult, now: float) -> None:
        """Note that the history gave no complete answer, or that there is none."""
        if result.off:
            self.history_off = True
        elif self.history_failing_since is None:
            self.history_failing_since = now
        if self.history_off or self._history_given_up(now):
            self._look_for((), now, now, True, QueryResult())
            self._judge_absent(now)

    def _history_given_up(self, now: float) -> bool:
        since = self.history_failing_since
        return since is not None and now - since >= self.timeouts.history_s

    def asks_history(self) -> bool:
        """Tell whether there is anything the history should be asked."""
        return bool(self.absent) or any(search.wants_history for search in self.searches)

    def _judge_absent(self, now: float) -> None:
        """End the jobs whose absence is beyond doubt. Absence is never success.

        A job killed while it waited need not have a record: its absence confirms the kill. Beyond
        doubt or not: what shows again after that is killed.
        """
        for job in list(self.absent.values()):
            gone_s = now - job.absent_since
            waited = job.phase in (Phase.WAITING, Phase.STUCK)
            at_once = job.killed is not None and job.record == "nothing" and waited
            if job.absences < 2 or (gone_s < self.timeouts.absence_s and not at_once):
                continue
            end = self._end_of_absent(job, gone_s, self.history_off or self._history_given_up(now))
            if end is not None:
                self.abandoned.add((job.name, job.index), job.native, [job.part_name], now)
                self.finish(job, end)

    def _end_of_absent(self, job: Job, gone_s: float, answerless: bool) -> JobEnd | None:
        """Return how a job ended that is in the queue no more, None if that is still open.

        answerless: the history will not tell.
        """
        nothing = job.record == "nothing"
        queue = f"not in the queue for {gone_s:.0f} s, in {job.absences} complete answers"
        if job.killed is not None and (nothing or answerless):
            reason = Reason.CANCELLED
            said = "its end had been asked for, and accounting has nothing else to say"
        elif answerless:
            reason = Reason.ENDED
            said = "accounting is off" if self.history_off else "accounting gives no answer"
        elif nothing:
            reason, said = Reason.LOST, "accounting has no record of it"
        elif job.record and gone_s >= self.timeouts.history_s:
            reason, said = Reason.LOST, f"accounting still says {job.record}"
        else:
            return None
        return JobEnd(reason, node=job.node, evidence=(queue, said))

    # -- submissions without a clear answer ------------------------------------------------------

    def search(self, search: Search) -> None:
        """Look for a submission by name from now on."""
        self.searches.append(search)
        for job in search.jobs:
            self.abandoned.expect((job.name, job.index), search.names)

    def _look_for(
        self,
        observations: Iterable[Observation],
        began: float,
        now: float,
        of_history: bool,
        result: QueryResult,
    ) -> None:
        """Compare names with what is searched for, and with what was given up."""
        if not self.searches and not self.abandoned:
            return
        by_meaning: dict[tuple[str, int], list[Observation]] = {}
        for observation in observations:
            known = self.abandoned.knows(observation)
            if not known and not self.searches:
                continue
            split = self.dialect.ids.split(observation.native)
            if split is not None and observation.name:
                is_job = known and self._owner(observation, now) is not None
                if known and not is_job and self.abandoned.is_due(observation, split[1], now):
                    log.warning("%s appeared after all, too late: it is killed", observation.name)
                    self.to_kill[observation.native] = None
                for meaning in parse_part_name(observation.name, split[1]):
                    by_meaning.setdefault(meaning, []).append(observation)
        for search in list(self.searches):
            if began > search.since:
                hidden = result.hides(*search.names)
                self._settle(search, by_meaning, now, of_history, hidden)

    def _settle(
        self,
        search: Search,
        by_meaning: dict[tuple[str, int], list[Observation]],
        now: float,
        of_history: bool,
        hidden: bool,
    ) -> None:
        for job in search.jobs:
            found = self.likely(by_meaning.get((job.name, job.index), []), search.begun, now)
            if found:
                self._found(search, found, now)
                return
        self.kill_sought(search, now)
        if hidden or of_history != search.wants_history:
            return
        if not of_history and not self.history_off:
            search.wants_history = True
            return
        search.wants_history = False
        search.absent = now if search.absent is None else search.absent
        waited = now - search.since >= self.timeouts.visibility_s
        if waited and now - search.absent >= self.timeouts.two_looks_s:
            self.searches.remove(search)
            why = search.given_up or "it got no clear answer, and the scheduler does not know it"
            for job in search.jobs:
                self.abandoned.add((job.name, job.index), "", search.names, now)
                told = f"{job.part_name or job.name}: {why}"
                self.job_table.drop(job, Refused(told, transient=not search.given_up))

    def likely(self, named: list[Observation], begun: float, now: float) -> list[Observation]:
        """Return which of the jobs that bear a name are the one submitted at this moment.

        Those that the clocks allow, if any; else whatever lives: names are unique, and clocks are
        not to be relied on. An end from before may be of a job whose name was used again.
        """
        fresh = [each for each in named if self.is_fresh(each, begun, now)]
        return fresh or [each for each in named if each.phase is not Phase.ENDED]

    def _found(self, search: Search, fresh: list[Observation], now: float) -> None:
        """Bind the jobs of a search; of twins the running one, else the oldest, the rest die."""
        self.searches.remove(search)
        fresh.sort(key=lambda each: (each.phase is not Phase.RUNNING, each.submitted or 0.0))
        chosen, *twins = fresh
        for twin in twins:
            if twin.native != chosen.native and twin.phase is not Phase.ENDED:
                self.to_kill[twin.native] = None
        split = self.dialect.ids.split(chosen.native)
        assert split is not None
        submission, task = split
        meant = parse_part_name(chosen.name, task)
        at = next(i for i, job in enumerate(search.jobs) if (job.name, job.index) in meant)
        for number, job in enumerate(search.jobs):
            native = submission
            if task is not None:
                native = self.dialect.ids.join(submission, task - at + number)
            self.accept(job, chosen.name, native, now)

    def accept(self, job: Job, name: str, native: str, now: float) -> None:
        """Note and tell that the scheduler has a job."""
        job.part_name = name
        self.job_table.bind(job, native, now)
        self.job_table.tell(job, Accepted(native))
        if job.killed is not None:
            self.kill(job)

    def _say_once(self, key: str, text: str) -> None:
        if key not in self._said:
            self._said.add(key)
            log.warning(text)
