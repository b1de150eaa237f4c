"""Polling: asking for the queue, all of the user's at once, or by name where that is too much.

Owns which commands make one poll; what the answer means is engine.py's and reconcile.py's.
Read next: engine.py.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from batchsystems.commandline.answers import Observation, QueryResult
from batchsystems.commandline.jobs import part_name, possible_names
from batchsystems.commandline.operation import Operation, reading, unanswered, worth_retrying
from batchsystems.commandline.reconcile import Reconciler
from batchsystems.interface import JobRecord

MANY_ROWS = 20_000
"""One answer is not to have more rows than this, if most of them are of no interest."""

LONGEST_BYTES = 60_000
"""So long may the names in one command be: half of what one argument may have."""

OnAnswer = Callable[[QueryResult, float, float], None]


class QueuePoll:
    """Makes a poll of the queue of one command, or of several whose answers are put together."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._by_name = False
        self._mark = ""
        self._asks: deque[list[str]] = deque()
        self._observations: list[Observation] = []
        self._broken: set[str] = set()
        self._began = 0.0
        self._poll = 0

    @property
    def going_on(self) -> bool:
        """Whether a poll was begun and is not over."""
        return bool(self._asks)

    def begin_anew(self) -> None:
        """Give up a poll by name that does not ask for what is wanted now."""
        self._asks.clear()
        self._poll += 1

    def next(self, adopted: Sequence[JobRecord], on_answer: OnAnswer) -> Operation:
        """Return the next command of the poll; the whole answer is given to on_answer."""
        dialect = self._reconciler.dialect
        parse = reading(dialect.parse_queue)
        if not self._by_name:
            take = self._taking_all(on_answer)
            command = dialect.queue_after(self._mark) if self._mark else dialect.queue()
            return Operation(take, unanswered, command, parse, again=worth_retrying)
        if not self._asks:
            self._asks.extend(self._portions(adopted))
            self._observations, self._broken, self._began = [], set(), 0.0
        names = self._asks.popleft()
        take = self._taking(names, on_answer)
        return Operation(take, unanswered, dialect.queue(names), parse, again=worth_retrying)

    def _taking_all(self, on_answer: OnAnswer) -> OnAnswer:
        def take(result: QueryResult, began: float, now: float) -> None:
            self._mark = result.mark or self._mark
            rows, ours = len(result.observations), len(self._reconciler.job_table.by_native)
            too_many = rows > MANY_ROWS and rows > 10 * ours
            self._by_name = self._reconciler.dialect.by_name and (result.cut or too_many)
            on_answer(result, began, now)

        return take

    def _taking(self, names: list[str], on_answer: OnAnswer) -> OnAnswer:
        poll = self._poll

        def take(result: QueryResult, began: float, now: float) -> None:
            if poll != self._poll:
                return
            self._began = self._began or began
            if result.cut and len(names) > 1:
                half = len(names) // 2
                self._asks.extendleft([names[half:], names[:half]])
                return
            self._observations += result.observations
            self._broken.update(result.broken)
            if result.complete and self._asks:
                return
            self._asks.clear()
            whole = replace(result, observations=self._observations, broken=self._broken)
            on_answer(whole, self._began, now)

        return take

    def _portions(self, adopted: Sequence[JobRecord]) -> Iterable[list[str]]:
        """Yield the names of all that is expected, few enough at a time; nothing may be one."""
        reconciler = self._reconciler
        rows = Counter(job.part_name or job.name for job in reconciler.job_table.accepted())
        others = [name for search in reconciler.searches for name in search.names]
        rows.update(dict.fromkeys([*others, *reconciler.abandoned.names()], 1))
        rows.update(dict.fromkeys(self._adopted_names(adopted), 1))
        portion: list[str] = []
        count = size = 0
        for name in sorted(rows):
            if portion and (count + rows[name] > MANY_ROWS or size + len(name) > LONGEST_BYTES):
                yield portion
                portion, count, size = [], 0, 0
            portion.append(name)
            count, size = count + rows[name], size + len(name) + 1
        yield portion

    def _adopted_names(self, adopted: Sequence[JobRecord]) -> Collection[str]:
        split, tasks = self._reconciler.dialect.ids.split, self._reconciler.timeouts.tasks
        found: set[str] = set()
        for record in adopted:
            found.update(possible_names(record.name, record.index, tasks))
            parts = split(record.native) if record.native else None
            if parts is not None and parts[1] is not None:
                found.add(part_name(record.name, record.index - parts[1]))
        return found
