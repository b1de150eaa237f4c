"""What is learnt of a batch system: what a batch job costs by itself, and how many run at once.

Pure: must not know jobs, nor any clock: `now` is always an argument. Read next: packing.py,
whose sizes depend on it.
"""

from __future__ import annotations

from collections import OrderedDict, deque

START_S = 0.25
"""What the start of a worker takes, about: no batch job costs less."""

MOST_S = 10.0
"""A batch job is never taken to cost more: the rest of its delay was waiting for others."""

SUBMISSIONS = 9
"""So many of the last submissions are remembered."""

WAVE = 16
"""The starts of so many tasks of one submission show how fast jobs are started."""


class JobOverhead:
    """What a batch job costs beside the work in it.

    start_s: the time from submission to the worker's start, where the job had to wait for nothing
    else, plus how much longer it lasts than its steps. gap_s: the time between the starts of two
    jobs that could both have started at once; 0: not known.
    """

    def __init__(self) -> None:
        self._starts: deque[float] = deque(maxlen=SUBMISSIONS)
        self._ends: deque[float] = deque(maxlen=WAVE)
        self._gaps: deque[float] = deque(maxlen=SUBMISSIONS)
        self._waves: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self.start_s, self.gap_s = START_S, 0.0

    def started(self, submission: str, delay_s: float, now: float) -> None:
        """Note that a job of a submission has started, and after how long.

        Only the first of a submission counts: the others may have waited for slots.
        """
        first, count = self._waves.get(submission, (now, 0))
        self._waves[submission] = first, count + 1
        if count == 0:
            if len(self._waves) > 2 * SUBMISSIONS:
                self._waves.popitem(last=False)
            self._starts.append(max(0.0, delay_s))
            self._weigh()
        elif count + 1 == WAVE:
            self._gaps.append((now - first) / (WAVE - 1))
            self.gap_s = min(self._gaps)

    def ended(self, beside_s: float) -> None:
        """Note how much longer a batch job lasted, by its scheduler, than the steps in it."""
        self._ends.append(max(0.0, beside_s))
        self._weigh()

    def _weigh(self) -> None:
        beside_s = sorted(self._ends)[len(self._ends) // 2] if self._ends else 0.0
        start_s = min(self._starts) if self._starts else 0.0
        self.start_s = min(max(START_S, start_s + beside_s), MOST_S)


PATIENCE_S = 30.0
"""If batch jobs have been waiting for this long, there is no room for more."""

FEWEST = 16
"""Fewer waiting slots than this prove nothing."""

REMEMBERED_S = 300.0
"""How many ran at once is remembered for this long, or up to twice as long."""


class SlotEstimate:
    """How many slots there really are: fewer than the scheduler says, if jobs wait all the same.

    A scheduler tells what a cluster has, not what others leave of it. most: the estimate, None
    as long as the scheduler's figure has not proved too high.
    """

    def __init__(self) -> None:
        self.most: int | None = None
        self._since: float | None = None
        self._peaks = (0, 0)
        self._turned_at = 0.0

    @property
    def peak(self) -> int:
        """The most slots that were in use at once in the last minutes."""
        return max(self._peaks)

    def observe(self, waiting: int, running: int, now: float) -> None:
        """Note how many slots the jobs that wait in the queue ask for, and how many are in use."""
        if now - self._turned_at >= REMEMBERED_S:
            self._peaks, self._turned_at = (self._peaks[1], running), now
        self._peaks = (self._peaks[0], max(self._peaks[1], running))
        if waiting < FEWEST:
            self._since = None
            if self.most is not None and not waiting:
                # all that was asked for runs: twice as much may find room, and in the end all
                self.most = max(self.most, 2 * running)
            return
        if self._since is None:
            self._since = now
        if now - self._since >= PATIENCE_S:
            self.most = max(2 * FEWEST, 2 * self.peak)
