"""Inheriting: taking back the jobs of an earlier instance, by id and name.

Owns what becomes of each record in the light of one answer of queue and history; must not ask.
Read next: engine.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batchsystems.commandline.dialect import Listing, Phase, Sighting
from batchsystems.commandline.following import Following
from batchsystems.commandline.tracking import Job, Search, called, candidates, meanings, newest
from batchsystems.interface import Accepted, JobEnd, JobRecord, Reason

UNANSWERED = Listing(why="not asked")


class _Index:
    """The sightings of an answer, by id and by what their names mean."""

    def __init__(self, following: Following, listing: Listing) -> None:
        split = following.dialect.split
        self.by_native = newest(listing.sightings)
        self.by_meaning: dict[tuple[str, int], list[Sighting]] = {}
        for sighting in self.by_native.values():
            parts = split(sighting.native)
            if parts is not None and sighting.name:
                for meaning in meanings(sighting.name, parts[1]):
                    self.by_meaning.setdefault(meaning, []).append(sighting)

    def find(self, record: JobRecord, oldest: float) -> Sighting | None:
        """Return the job of a record: never one that merely has its id."""
        named = self.by_meaning.get((record.name, record.index), [])
        if record.native:
            known = self.by_native.get(record.native)
            named = [s for s in named if s is known]
            if known is not None and not known.name:
                named = [known]
        fresh = [s for s in named if (s.submitted or oldest) >= oldest]
        fresh.sort(key=lambda s: (s.phase is Phase.ENDED, s.submitted or 0.0))
        return fresh[0] if fresh else None


@dataclass(slots=True, eq=False)
class Inheritance:
    """Records to be adopted, and the answers about them so far."""

    records: Sequence[JobRecord]
    queue: Listing | None = None
    history: Listing | None = None
    began: float = 0.0

    def missing(self, following: Following) -> list[JobRecord]:
        """Return the records that the answers so far do not show."""
        slack = following.patience.clock_slack_s
        indices = [_Index(following, each) for each in (self.queue, self.history) if each]
        return [
            record
            for record in self.records
            if not any(index.find(record, record.submitted - slack) for index in indices)
            and (not record.native or following.dialect.split(record.native) is not None)
        ]

    def settle(self, following: Following, now: float, epoch: float) -> list[int | None]:
        """Return the handle of each record, None of those that are certainly not there."""
        indices = [_Index(following, each or UNANSWERED) for each in (self.queue, self.history)]
        return [self._settle(record, indices, following, now, epoch) for record in self.records]

    def _settle(
        self,
        record: JobRecord,
        indices: list[_Index],
        following: Following,
        now: float,
        epoch: float,
    ) -> int | None:
        roll, dialect, patience = following.roll, following.dialect, following.patience
        if record.native and dialect.split(record.native) is None:
            return None
        oldest = record.submitted - patience.clock_slack_s
        found = next((s for index in indices if (s := index.find(record, oldest))), None)
        if found is None and self._certainly_gone(record, following, epoch):
            return None
        job = roll.enter(record.name, record.index)
        job.intent = record.submitted
        if found is not None:
            self._take(job, found, record, following, now)
        elif record.native:
            split = dialect.split(record.native)
            assert split is not None
            job.called = called(record.name, record.index - (split[1] or 0))
            roll.bind(job, record.native, self.began)
        else:
            names = candidates(record.name, record.index, patience.tasks)
            following.search(Search([job], names, self.began, record.submitted))
        return job.handle

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

    def _certainly_gone(self, record: JobRecord, following: Following, epoch: float) -> bool:
        """Tell whether queue and history both say that it is not there, nor will be."""
        patience, whole = following.patience, following.dialect.submission(record.native)
        names = candidates(record.name, record.index, patience.tasks)
        if self.queue is None or not self.queue.complete:
            return False
        answers = [each for each in (self.queue, self.history) if each is not None]
        if any(answer.hides(record.native, whole, *names) for answer in answers):
            return False
        answered = self.history is not None and self.history.complete
        if record.native:
            return answered
        settled_s = patience.visibility_s + patience.two_looks_s
        return (answered or following.history_off) and epoch - record.submitted >= settled_s
