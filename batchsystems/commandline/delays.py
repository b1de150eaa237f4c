"""Delays: what holds jobs up now, and since when. Words alone; it changes nothing.

Owns how it is told; what is tried again, how often and when, is the others'. Read next: engine.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from batchsystems.commandline.answers import Phase
from batchsystems.commandline.kills import Kills
from batchsystems.commandline.reconcile import Reconciler
from batchsystems.commandline.submissions import SubmissionQueue

IN_VAIN = 3
"""A job that was ended so often without effect is told."""


class StuckJobs:
    """Jobs that wait in vain, or that the scheduler will not end, by the scheduler's words."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], float] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def update(self, reconciler: Reconciler, now: float) -> None:
        """Count them after an answer of the queue."""
        waiting: Counter[str] = Counter()
        found: Counter[tuple[str, str]] = Counter()
        for job in reconciler.job_table.accepted():
            if job.refusals:
                found["job(s) that it refuses to end", job.unkilled] += 1
            elif job.kills >= IN_VAIN:
                found["job(s) that do not end", f"asked for at least {IN_VAIN} times"] += 1
            elif job.phase is Phase.WAITING:
                waiting[job.why] += 1
        for why, count in waiting.items():
            if reconciler.dialect.is_hopeless(why):
                remedy = reconciler.dialect.remedy(why)
                told = f"{why}: {remedy}" if remedy else why
                found["job(s) that will not start by themselves", told] += count
        self._counts = found
        self._since = {each: self._since.get(each, now) for each in found}

    def tell(self) -> Iterator[tuple[str, float]]:
        """Yield what there is, and since when."""
        for (what, why), count in self._counts.items():
            yield f"{count} {what}: {why}", self._since[what, why]


def delays(
    reconciler: Reconciler, queue: SubmissionQueue, kills: Kills, stuck: StuckJobs
) -> Iterator[tuple[str, float]]:
    """Yield what holds jobs up beside an outage, and since when."""
    held = bool(queue.waiting or reconciler.searches)
    if queue.held_for and held and queue.held_since is not None:
        tries = f"tried {queue.tries} times" if queue.tries > 1 else "tried once"
        yield (f"no submission was taken ({tries}): {queue.held_for}", queue.held_since)
    if kills.problem and (reconciler.to_kill or reconciler.names_to_kill):
        yield f"kills do not arrive and are sent again: {kills.problem}", kills.since
    if reconciler.history_failing_since is not None and reconciler.absent:
        yield "accounting gives no answer", reconciler.history_failing_since
    if reconciler.clock.differs:
        yield reconciler.clock.differs, reconciler.clock.differs_since
    yield from stuck.tell()
