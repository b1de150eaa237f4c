"""Inheriting: taking back the jobs of an earlier instance, by id and name.

Owns what becomes of each record in the light of one answer of queue and history; must not ask.
Read next: engine.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batchsystems.commandline.dialect import Listing, Phase, Sighting
from batchsystems.commandline.jobs import FOREVER, Job, Search, called, candidates, meanings, newest
from batchsystems.commandline.reconcile import Following
from batchsystems.interface import Accepted, JobEnd, JobRecord, Reason

UNANSWERED = Listing(why="not asked")


class _Index:
    """The sightings of an answer, by id and by what their names mean."""

    def __init__(self, following: Following, listing: Listing, now: float) -> None:
        self._following, self._now = following, now
        split = following.dialect.split
        self.by_meaning: dict[tuple[str, int], list[Sighting]] = {}
        self.nameless: dict[str, Sighting] = {}
        for sighting in newest(listing.sightings).values():
            if not sighting.name:
                self.nameless[sighting.native] = sighting
            parts = split(sighting.native)
            if parts is not None and sighting.name:
                for meaning in meanings(sighting.name, parts[1]):
                    self.by_meaning.setdefault(meaning, []).append(sighting)

    def find(self, record: JobRecord) -> Sighting | None:
        """Return the job of a record: never one that merely has its id."""
        named = self.by_meaning.get((record.name, record.index), [])
        begun = self._following.clock.at(record.submitted, self._now)
        if record.native:
            named = [each for each in named if each.native == record.native]
            nameless = self.nameless.get(record.native)
            if nameless and self._following.is_fresh(nameless, begun, self._now):
                named = [*named, nameless]
        else:
            named = self._following.likely(named, begun, self._now)
        return min(named, key=_rank, default=None)


def _rank(sighting: Sighting) -> tuple[bool, float]:
    return sighting.phase is Phase.ENDED, sighting.submitted or 0.0


@dataclass(slots=True, eq=False)
class Inheritance:
    """Records to be adopted, and the answers about them so far."""

    records: Sequence[JobRecord]
    queue: Listing | None = None
    history: Listing | None = None
    began: float = 0.0

    def missing(self, following: Following, now: float) -> list[JobRecord]:
        """Return the records that the answers so far do not show."""
        indices = [_Index(following, each, now) for each in (self.queue, self.history) if each]
        return [
            record
            for record in self.records
            if not any(index.find(record) for index in indices)
            and (not record.native or following.dialect.split(record.native) is not None)
        ]

    def settle(self, following: Following, now: float) -> list[int | None]:
        """Return the handle of each record, None of those that are certainly not there."""
        answers = [each or UNANSWERED for each in (self.queue, self.history)]
        indices = [_Index(following, each, now) for each in answers]
        return [self._settle(record, indices, following, now) for record in self.records]

    def _settle(
        self,
        record: JobRecord,
        indices: list[_Index],
        following: Following,
        now: float,
    ) -> int | None:
        roll, dialect = following.roll, following.dialect
        if record.native and dialect.split(record.native) is None:
            return None
        begun = following.clock.at(record.submitted, now)
        found = next((s for index in indices if (s := index.find(record))), None)
        if found is None and self._certainly_gone(record, following, now - begun):
            meant, names = (record.name, record.index), self._names(record, following)
            following.disowned.add(meant, record.native, names, now)
            return None
        job = roll.enter(record.name, record.index)
        job.begun = begun
        if found is not None:
            self._take(job, found, record, following, now)
        elif record.native:
            (job.called,) = self._names(record, following)
            roll.bind(job, record.native, self.began)
        else:
            names = self._names(record, following)
            following.search(Search([job], names, self.began, begun))
        return job.handle

    def _names(self, record: JobRecord, following: Following) -> tuple[str, ...]:
        """Return what the scheduler may call the submission of a record."""
        if not record.native:
            return candidates(record.name, record.index, following.timeouts.tasks)
        split = following.dialect.split(record.native)
        task = (split[1] if split else None) or 0
        return (called(record.name, record.index - task),)

    def _take(
        self, job: Job, found: Sighting, record: JobRecord, following: Following, now: float
    ) -> None:
        job.called = found.name or record.name
        following.roll.bind(job, found.native, self.began)
        if not record.native:
            following.roll.tell(job, Accepted(found.native))
        if found.phase is Phase.ENDED:
            following.finish(job, found.end or JobEnd(Reason.ENDED))
        else:
            following.see(job, found, self.began, now)

    def _certainly_gone(self, record: JobRecord, following: Following, age_s: float) -> bool:
        """Tell whether queue and history both say that it is not there, nor will be.

        age_s: how long ago it was submitted, infinite if a clock that was set hides that.
        """
        timeouts, whole = following.timeouts, following.dialect.submission(record.native)
        names = candidates(record.name, record.index, timeouts.tasks)
        if self.queue is None or not self.queue.complete:
            return False
        answers = [each for each in (self.queue, self.history) if each is not None]
        if any(answer.hides(record.native, whole, *names) for answer in answers):
            return False
        answered = self.history is not None and self.history.complete
        if record.native:
            return answered
        settled_s = timeouts.visibility_s + timeouts.two_looks_s
        return (answered or following.history_off) and settled_s <= age_s < FOREVER
