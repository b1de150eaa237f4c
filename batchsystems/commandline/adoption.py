"""Adoption: taking back the jobs of an earlier instance, by id and name.

Owns what becomes of each record in the light of one answer of queue and history; must not ask.
Read next: engine.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batchsystems.commandline.answers import Observation, Phase, QueryResult
from batchsystems.commandline.jobs import (
    FOREVER,
    Job,
    Search,
    newest,
    parse_part_name,
    part_name,
    possible_names,
)
from batchsystems.commandline.reconcile import Reconciler
from batchsystems.interface import Accepted, JobEnd, JobRecord, Reason

UNANSWERED = QueryResult(why="not asked")


class _Index:
    """The observations of an answer, by id and by what their names mean."""

    def __init__(self, reconciler: Reconciler, result: QueryResult, now: float) -> None:
        self._reconciler, self._now = reconciler, now
        split = reconciler.dialect.ids.split
        self.by_meaning: dict[tuple[str, int], list[Observation]] = {}
        self.nameless: dict[str, Observation] = {}
        for observation in newest(result.observations).values():
            if not observation.name:
                self.nameless[observation.native] = observation
            parts = split(observation.native)
            if parts is not None and observation.name:
                for meaning in parse_part_name(observation.name, parts[1]):
                    self.by_meaning.setdefault(meaning, []).append(observation)

    def find(self, record: JobRecord) -> Observation | None:
        """Return the job of a record: never one that merely has its id."""
        named = self.by_meaning.get((record.name, record.index), [])
        begun = self._reconciler.clock.at(record.submitted, self._now)
        if record.native:
            named = [each for each in named if each.native == record.native]
            nameless = self.nameless.get(record.native)
            if nameless and self._reconciler.is_fresh(nameless, begun, self._now):
                named = [*named, nameless]
        else:
            named = self._reconciler.likely(named, begun, self._now)
        return min(named, key=_rank, default=None)


def _rank(observation: Observation) -> tuple[bool, float]:
    return observation.phase is Phase.ENDED, observation.submitted or 0.0


@dataclass(slots=True, eq=False)
class Adoption:
    """Records to be adopted, and the answers about them so far."""

    records: Sequence[JobRecord]
    queue: QueryResult | None = None
    history: QueryResult | None = None
    began: float = 0.0

    def missing(self, reconciler: Reconciler, now: float) -> list[JobRecord]:
        """Return the records that the answers so far do not show."""
        indices = [_Index(reconciler, each, now) for each in (self.queue, self.history) if each]
        return [
            record
            for record in self.records
            if not any(index.find(record) for index in indices)
            and (not record.native or reconciler.dialect.ids.split(record.native) is not None)
        ]

    def settle(self, reconciler: Reconciler, now: float) -> list[int | None]:
        """Return the handle of each record, None of those that are certainly not there."""
        answers = [each or UNANSWERED for each in (self.queue, self.history)]
        indices = [_Index(reconciler, each, now) for each in answers]
        return [self._settle(record, indices, reconciler, now) for record in self.records]

    def _settle(
        self, record: JobRecord, indices: list[_Index], reconciler: Reconciler, now: float
    ) -> int | None:
        job_table, dialect = reconciler.job_table, reconciler.dialect
        if record.native and dialect.ids.split(record.native) is None:
            return None
        begun = reconciler.clock.at(record.submitted, now)
        found = next((s for index in indices if (s := index.find(record))), None)
        if found is None and self._certainly_gone(record, reconciler, now - begun):
            meant, names = (record.name, record.index), self._names(record, reconciler)
            reconciler.abandoned.add(meant, record.native, names, now)
            return None
        job = job_table.enter(record.name, record.index)
        job.begun = begun
        if found is not None:
            self._take(job, found, record, reconciler, now)
        elif record.native:
            (job.part_name,) = self._names(record, reconciler)
            job_table.bind(job, record.native, self.began)
        else:
            names = self._names(record, reconciler)
            reconciler.search(Search([job], names, self.began, begun))
        return job.handle

    def _names(self, record: JobRecord, reconciler: Reconciler) -> tuple[str, ...]:
        """Return what the scheduler may call the submission of a record."""
        if not record.native:
            return possible_names(record.name, record.index, reconciler.timeouts.tasks)
        split = reconciler.dialect.ids.split(record.native)
        task = (split[1] if split else None) or 0
        return (part_name(record.name, record.index - task),)

    def _take(
        self, job: Job, found: Observation, record: JobRecord, reconciler: Reconciler, now: float
    ) -> None:
        job.part_name = found.name or record.name
        reconciler.job_table.bind(job, found.native, self.began)
        if not record.native:
            reconciler.job_table.tell(job, Accepted(found.native))
        if found.phase is Phase.ENDED:
            reconciler.finish(job, found.end or JobEnd(Reason.ENDED))
        else:
            reconciler.see(job, found, self.began, now)

    def _certainly_gone(self, record: JobRecord, reconciler: Reconciler, age_s: float) -> bool:
        """Tell whether queue and history both say that it is not there, nor will be.

        age_s: how long ago it was submitted, infinite if a clock that was set hides that.
        """
        timeouts, whole = reconciler.timeouts, reconciler.dialect.ids.submission_of(record.native)
        names = possible_names(record.name, record.index, timeouts.tasks)
        if self.queue is None or not self.queue.complete:
            return False
        answers = [each for each in (self.queue, self.history) if each is not None]
        if any(answer.hides(record.native, whole, *names) for answer in answers):
            return False
        answered = self.history is not None and self.history.complete
        if record.native:
            return answered
        settled_s = timeouts.visibility_s + timeouts.two_looks_s
        return (answered or reconciler.history_off) and settled_s <= age_s < FOREVER
