"""History: asking for jobs that the queue shows no more, in as few looks as it takes.

Owns the rounds of asking and their rhythm; what the answers mean is reconcile.py's and
adoption.py's. Read next: engine.py.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from batchsystems.commandline.accounting_file import Records, Wanted
from batchsystems.commandline.adoption import Inheritance
from batchsystems.commandline.clock_offset import SchedulerClock
from batchsystems.commandline.dialect import Listing, Sighting
from batchsystems.commandline.jobs import FOREVER, NEVER, Job, candidates
from batchsystems.commandline.reconcile import Following
from batchsystems.commandline.task import Task, poor, reading, unanswered

log = logging.getLogger("jobtree.batchsystems")

MOST_PAUSE_S = 60.0

UNKNOWN_AGE_S = 7 * 86400.0
"""A job whose submission is still to come, by a clock that was set, is no older than this."""


@dataclass(slots=True)
class Round:
    """One asking. asks: natives and names, one look each. heir: for whom, if for an heir."""

    asks: deque[tuple[list[str], list[str]]]
    jobs: list[Job]
    since: float
    heir: Inheritance | None
    began: float
    sightings: list[Sighting] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)


class History:
    """Asks about what is absent from the queue, ever more rarely while nothing comes of it."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self._round: Round | None = None
        self._due = FOREVER
        self._pause_s = 0.0
        dialect, absence_s = following.dialect, following.timeouts.absence_s
        self._records = Records(dialect, absence_s) if dialect.record_file() else None

    @property
    def due(self) -> float:
        """When something is to be asked."""
        return NEVER if self._round is not None else self._due

    def plan(self, now: float, afresh: bool) -> None:
        """See to it that what is absent is asked for. afresh: more is absent than was."""
        if self._following.asks_history() and not self._following.history_off:
            self._pause_s = 0.0 if afresh else self._pause_s
            self._due = min(self._due, now + self._pause_s)

    def inherit(self, heir: Inheritance, now: float) -> None:
        """Ask for the records of an heir that the queue does not show, before anything else."""
        missing = heir.missing(self._following, now)
        if self._following.history_off or not missing:
            heir.history = Listing(off=True)
            return
        nameless = [record for record in missing if not record.native]
        tasks, clock = self._following.timeouts.tasks, self._following.clock
        self._round = self._planned(
            [record.native for record in missing if record.native],
            [name for r in nameless for name in candidates(r.name, r.index, tasks)],
            [_began(clock.at(record.submitted, now), clock, now) for record in missing],
            now,
        )
        self._round.heir = heir

    def next(self, now: float) -> Task | None:
        """Return the next question."""
        self._due = FOREVER
        current = self._round = self._round or self._absent(now)
        if not current.asks:
            self._round = None
            return None
        natives, names = current.asks.popleft()
        if self._records is not None:
            return self._look(self._records, current, natives, names, now)
        dialect = self._following.dialect
        slack_s = self._following.timeouts.clock_slack_s
        command = dialect.history(natives, names, current.since - slack_s)
        if command is None:
            self._end(current, Listing(off=True), now)
            return None

        def hear(listing: Listing, began: float, now: float) -> None:
            if listing.cut and len(natives) + len(names) > 1:
                current.asks.extendleft(_halves(natives, names))
                return
            current.sightings.extend(listing.sightings)
            current.broken.update(listing.broken)
            if not listing.complete or not current.asks:
                said = replace(listing, sightings=current.sightings, broken=current.broken)
                self._end(current, said, now)

        return Task(hear, unanswered, command, reading(dialect.parse_history), again=poor)

    def _look(
        self, records: Records, current: Round, natives: list[str], names: list[str], now: float
    ) -> Task:
        """Return the look into the file of records; those of all jobs are kept for later."""
        following, searches = self._following, self._following.searches
        submission, jobs = following.dialect.submission, following.roll.by_native
        clock = following.clock
        oldest = min([current.since, *(_shown(job, clock, now) for job in jobs.values())])
        wanted = Wanted(
            {*natives, *(submission(native) for native in jobs)},
            {*names, *(name for search in searches for name in search.names)},
            oldest - following.timeouts.clock_slack_s,
        )

        def hear(listing: Listing, began: float, now: float) -> None:
            self._end(current, listing, now)

        return Task(hear, unanswered, look=lambda transport: records.read(transport, wanted, now))

    def _absent(self, now: float) -> Round:
        jobs, clock = list(self._following.absent.values()), self._following.clock
        searches = [s for s in self._following.searches if s.wants_history]
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
        chunk = self._following.timeouts.history_chunk
        whole = list(dict.fromkeys(map(self._following.dialect.submission, natives)))
        unique = list(dict.fromkeys(names))
        since = min(times, default=self._following.clock.there(now, now))
        asks: deque[tuple[list[str], list[str]]] = deque()
        if self._records is not None:
            asks.extend([(whole, unique)] if whole or unique else [])
            return Round(asks, [], since, None, now)
        asks.extend((whole[at : at + chunk], []) for at in range(0, len(whole), chunk))
        asks.extend(([], unique[at : at + chunk]) for at in range(0, len(unique), chunk))
        return Round(asks, [], since, None, now)

    def _end(self, current: Round, listing: Listing, now: float) -> None:
        following, self._round = self._following, None
        if listing.off:
            following.history_off = True
        if current.heir is not None:
            current.heir.history = listing
            return
        if listing.complete:
            following.hear_history(listing, current.jobs, current.began, now)
        else:
            if not listing.off and following.history_failing_since is None:
                log.warning(
                    "%s: accounting gives no answer: %s", following.dialect.name, listing.why
                )
            following.miss_history(listing, now)
        self._pause_s = min(
            max(2 * self._pause_s, following.timeouts.history_pause_s), MOST_PAUSE_S
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
