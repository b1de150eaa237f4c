"""History: asking for jobs that the queue shows no more, in as few queries as it takes.

Owns the rounds of asking and their rhythm; what the answers mean is reconcile.py's and
adoption.py's. Read next: engine.py.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from batchsystems.commandline.accounting_file import AccountingFile, Wanted
from batchsystems.commandline.adoption import Adoption
from batchsystems.commandline.answers import Observation, QueryResult
from batchsystems.commandline.clock_offset import SchedulerClock
from batchsystems.commandline.jobs import FOREVER, NEVER, Job, possible_names
from batchsystems.commandline.limits import Limits
from batchsystems.commandline.operation import Operation, reading, unanswered, worth_retrying
from batchsystems.commandline.reconcile import Reconciler

log = logging.getLogger("jobtree.batchsystems")

MOST_PAUSE_S = 60.0

UNKNOWN_AGE_S = 7 * 86400.0
"""A job whose submission is still to come, by a clock that was set, is no older than this."""


@dataclass(slots=True)
class Round:
    """One asking."""

    asks: deque[tuple[list[str], list[str]]]
    """Natives and names, one query each."""
    jobs: list[Job]
    since: float
    adoption: Adoption | None
    """For whose sake, if for an adoption."""
    began: float
    observations: list[Observation] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)


class History:
    """Asks about what is absent from the queue, ever more rarely while nothing comes of it."""

    def __init__(self, reconciler: Reconciler, limits: Callable[[], Limits]) -> None:
        self._reconciler, self._limits = reconciler, limits
        self._round: Round | None = None
        self._due = FOREVER
        self._pause_s = 0.0
        records, absence_s = reconciler.dialect.records, reconciler.timeouts.absence_s
        self._records = None if records is None else AccountingFile(records, absence_s)

    @property
    def due(self) -> float:
        """When something is to be asked."""
        return NEVER if self._round is not None else self._due

    def plan(self, now: float, afresh: bool) -> None:
        """See to it that what is absent is asked for. afresh: more is absent than was."""
        if self._reconciler.asks_history() and not self._reconciler.history_off:
            self._pause_s = 0.0 if afresh else self._pause_s
            self._due = min(self._due, now + self._pause_s)

    def begin_adoption(self, adoption: Adoption, now: float) -> None:
        """Ask first for what is to be adopted and the queue does not show."""
        missing = adoption.missing(self._reconciler, now)
        if self._reconciler.history_off or not missing:
            adoption.history = QueryResult(off=True)
            return
        nameless = [record for record in missing if not record.native]
        tasks, clock = self._reconciler.timeouts.tasks, self._reconciler.clock
        self._round = self._planned(
            [record.native for record in missing if record.native],
            [name for r in nameless for name in possible_names(r.name, r.index, tasks)],
            [_began(clock.at(record.submitted, now), clock, now) for record in missing],
            now,
        )
        self._round.adoption = adoption

    def next(self, now: float) -> Operation | None:
        """Return the next question."""
        self._due = FOREVER
        current = self._round = self._round or self._absent(now)
        if not current.asks:
            self._round = None
            return None
        natives, names = current.asks.popleft()
        if self._records is not None:
            return self._read_records(self._records, current, natives, names, now)
        dialect = self._reconciler.dialect
        slack_s = self._reconciler.timeouts.clock_slack_s
        command = dialect.history(natives, names, current.since - slack_s)
        if command is None:
            self._end(current, QueryResult(off=True), now)
            return None

        def on_answer(result: QueryResult, began: float, now: float) -> None:
            if result.cut and len(natives) + len(names) > 1:
                current.asks.extendleft(_halves(natives, names))
                return
            current.observations.extend(result.observations)
            current.broken.update(result.broken)
            if not result.complete or not current.asks:
                said = replace(result, observations=current.observations, broken=current.broken)
                self._end(current, said, now)

        limits = self._limits()
        parse = reading(lambda ran: dialect.parse_history(ran, limits))
        return Operation(on_answer, unanswered, command, parse, again=worth_retrying)

    def _read_records(
        self,
        records: AccountingFile,
        current: Round,
        natives: list[str],
        names: list[str],
        now: float,
    ) -> Operation:
        """Return the reading of the file of records; those of all jobs are kept for later."""
        reconciler, searches = self._reconciler, self._reconciler.searches
        submission, jobs = reconciler.dialect.ids.submission_of, reconciler.job_table.by_native
        clock = reconciler.clock
        oldest = min([current.since, *(_shown(job, clock, now) for job in jobs.values())])
        wanted = Wanted(
            {*natives, *(submission(native) for native in jobs)},
            {*names, *(name for search in searches for name in search.names)},
            oldest - reconciler.timeouts.clock_slack_s,
        )

        def on_answer(result: QueryResult, began: float, now: float) -> None:
            self._end(current, result, now)

        return Operation(
            on_answer, unanswered, read_files=lambda transport: records.read(transport, wanted, now)
        )

    def _absent(self, now: float) -> Round:
        jobs, clock = list(self._reconciler.absent.values()), self._reconciler.clock
        searches = [s for s in self._reconciler.searches if s.wants_history]
        planned = self._planned(
            [job.native for job in jobs],
            [name for search in searches for name in search.names],
            [_shown(job, clock, now) for job in jobs]
            + [_began(search.begun, clock, now) for search in searches],
            now,
        )
        planned.jobs = jobs
        return planned

    def _planned(
        self, natives: Iterable[str], names: Iterable[str], times: list[float], now: float
    ) -> Round:
        chunk = self._reconciler.timeouts.history_chunk
        whole = list(dict.fromkeys(map(self._reconciler.dialect.ids.submission_of, natives)))
        unique = list(dict.fromkeys(names))
        since = min(times, default=self._reconciler.clock.there(now, now))
        asks: deque[tuple[list[str], list[str]]] = deque()
        if self._records is not None:
            asks.extend([(whole, unique)] if whole or unique else [])
            return Round(asks, [], since, None, now)
        asks.extend((whole[at : at + chunk], []) for at in range(0, len(whole), chunk))
        asks.extend(([], unique[at : at + chunk]) for at in range(0, len(unique), chunk))
        return Round(asks, [], since, None, now)

    def _end(self, current: Round, result: QueryResult, now: float) -> None:
        reconciler, self._round = self._reconciler, None
        if result.off:
            reconciler.history_off = True
        if current.adoption is not None:
            current.adoption.history = result
            return
        if result.complete:
            reconciler.on_history(result, current.jobs, current.began, now)
        else:
            if not result.off and reconciler.history_failing_since is None:
                log.warning(
                    "%s: accounting gives no answer: %s", reconciler.dialect.name, result.why
                )
            reconciler.miss_history(result, now)
        self._pause_s = min(
            max(2 * self._pause_s, reconciler.timeouts.history_pause_s), MOST_PAUSE_S
        )
        self.plan(now, afresh=False)


def _shown(job: Job, clock: SchedulerClock, now: float) -> float:
    """Return when a job came in by the scheduler's clock."""
    return _began(job.begun, clock, now) if job.shown is None else job.shown


def _began(at: float, clock: SchedulerClock, now: float) -> float:
    """Return what the scheduler's clock showed at a moment, which may not be known."""
    return clock.there(at if at > NEVER else now - UNKNOWN_AGE_S, now)


def _halves(natives: list[str], names: list[str]) -> list[tuple[list[str], list[str]]]:
    """Return what to ask instead of what had too long an answer."""
    if natives and names:
        return [([], names), (natives, [])]
    half = (len(natives) + len(names)) // 2
    return [(natives[half:], names[half:]), (natives[:half], names[:half])]
