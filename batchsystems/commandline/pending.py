"""Pending reasons: asking why jobs wait, where the scheduler's list of jobs does not say it.

Owns whom to ask about and how rarely; what a reason means is the dialect's. Read next: engine.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import partial

from batchsystems.commandline.answers import Phase
from batchsystems.commandline.jobs import FOREVER
from batchsystems.commandline.operation import Operation
from batchsystems.commandline.reconcile import Reconciler
from batchsystems.transport.local import Command

AT_ONCE = 50
"""How many submissions are asked about at once."""


class PendingReasons:
    """Asks about submissions of which nothing runs, ever more rarely."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._commands: deque[Command] = deque()
        self._not_before: dict[str, float] = {}
        self._pause_s: dict[str, float] = {}
        self._most: dict[str, int] = {}
        self.due = FOREVER

    def plan(self, now: float) -> None:
        """See after an answer of the queue whether there is anything to be asked."""
        queries = self._reconciler.dialect.pending
        if self._commands or queries is None:
            return
        wanted = [each for each in self._waiting(now) if self._not_before.get(each, now) <= now]
        self._commands.extend(queries.commands(wanted[:AT_ONCE]))
        if not self._commands:
            return
        self.due = now
        timeouts = self._reconciler.timeouts
        for submission in wanted[:AT_ONCE]:
            pause_s = self._pause_s.get(submission, timeouts.reason_s)
            self._not_before[submission] = now + pause_s
            self._pause_s[submission] = min(2 * pause_s, timeouts.reason_most_s)

    def _waiting(self, now: float) -> list[str]:
        """Return the submissions that wait as a whole, for long enough; forget those gone.

        One of which jobs have ended, or may have, is served: what is left waits its turn.
        """
        dialect, timeouts = self._reconciler.dialect, self._reconciler.timeouts
        asking: dict[str, int] = {}
        counts: dict[str, int] = {}
        for job in self._reconciler.job_table.accepted():
            waits = job.phase is Phase.WAITING and now - job.accepted_at >= timeouts.reason_s
            asks = job.killed is None and job.absences == 0
            submission = dialect.ids.submission_of(job.native)
            counts[submission] = counts.get(submission, 0) + 1
            if asks and (waits or job.phase is Phase.STUCK):
                asking[submission] = asking.get(submission, 0) + 1
        for known in (self._not_before, self._pause_s, self._most):
            for submission in known.keys() - counts.keys():
                del known[submission]
        for submission, count in counts.items():
            self._most[submission] = max(count, self._most.get(submission, 0))
        return [each for each, count in asking.items() if count == self._most[each]]

    def next(self, now: float) -> Operation | None:
        """Return the next question."""
        command = self._commands.popleft() if self._commands else None
        self.due = now if self._commands else FOREVER
        queries = self._reconciler.dialect.pending
        if command is None or queries is None:
            return None
        parse = partial(queries.parse, command)
        return Operation(self._on_answer, lambda words: {}, command, parse)

    def _on_answer(self, reasons: Mapping[str, str], began: float, now: float) -> None:
        submission = self._reconciler.dialect.ids.submission_of
        for job in self._reconciler.job_table.accepted() if reasons else ():
            told = reasons.get(submission(job.native))
            if told and job.phase in (Phase.WAITING, Phase.STUCK):
                job.why = told
                self._reconciler.judge_waiting(job)
