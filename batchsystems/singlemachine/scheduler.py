"""Which waiting job starts next on one machine: first come first served, with backfill.

PURE: no clock, no process; `now` is an argument. Read next: adapter.py, which obeys it.

The head of the queue can never starve. A younger job may overtake it for one of two reasons:
it and every other running job younger than the head fit on the machine together with the head,
so that the head starts at the latest when the older jobs have ended, whatever the younger do; or
its time limit ends it before the head could start, going by the limits of what runs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from batchsystems.interface import Resources

BACKFILL_WINDOW = 64
"""How many jobs behind the head are considered: bounds the work per event."""

Amounts = tuple[int, int, int]
"""Cpus, bytes of memory, gpus."""


def amounts(asked: Resources) -> Amounts:
    """Return what the job occupies; a job without a memory limit is taken to need none."""
    return max(asked.cpus, 1), asked.memory_bytes or 0, asked.gpus


def add(left: Amounts, right: Amounts) -> Amounts:
    """Return the sum."""
    return left[0] + right[0], left[1] + right[1], left[2] + right[2]


def subtract(left: Amounts, right: Amounts) -> Amounts:
    """Return the difference."""
    return left[0] - right[0], left[1] - right[1], left[2] - right[2]


def fits(need: Amounts, room: Amounts) -> bool:
    """Return whether each amount needed is there."""
    return need[0] <= room[0] and need[1] <= room[1] and need[2] <= room[2]


def in_words(needs: Amounts) -> str:
    """Return the amounts for people, cpus always, the others where there are any."""
    cpus, memory, gpus = needs
    words = [f"{cpus} cpu" + "s" * (cpus != 1)]
    if memory >= 2**30:
        words.append(f"{memory / 2**30:.4g} GB of memory")
    elif memory:
        words.append(f"{memory / 2**20:.4g} MB of memory")
    if gpus:
        words.append(f"{gpus} gpu" + "s" * (gpus != 1))
    return ", ".join(words)


@dataclass(slots=True)
class Devices:
    """The names of the gpus that no job has."""

    free: list[str] = field(default_factory=list)

    def take(self, count: int) -> tuple[str, ...]:
        """Return that many of the free ones."""
        taken, self.free = tuple(self.free[:count]), self.free[count:]
        return taken

    def claim(self, names: Iterable[str]) -> None:
        """Count these as taken."""
        taken = set(names)
        self.free = [name for name in self.free if name not in taken]

    def give_back(self, names: Iterable[str]) -> None:
        """Return these to the free ones."""
        self.free = sorted([*self.free, *names])


@dataclass(slots=True)
class _Running:
    needs: Amounts
    ends_by: float


@dataclass
class JobQueue:
    """A machine's total, its queue and what runs. Ids must grow with the order of arrival."""

    total: Amounts
    slack_s: float = 10.0
    """How much later than its time limit a job may end: the grace of a kill, and its launch."""

    free: Amounts = field(init=False)
    waiting: OrderedDict[int, Resources] = field(default_factory=OrderedDict, init=False)
    running: dict[int, _Running] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.free = self.total

    def refusal(self, asked: Resources) -> str:
        """Return why a job can never run here, "" if it can."""
        needs = amounts(asked)
        if fits(needs, self.total):
            return ""
        return (
            f"asks for {in_words(needs)}; this machine has {in_words(self.total)}: "
            "lower it, or choose a batch system with larger machines"
        )

    def enqueue(self, job: int, asked: Resources) -> None:
        """Put the job at the end of the queue."""
        self.waiting[job] = asked

    def withdraw(self, job: int) -> bool:
        """Take the job out of the queue; False if it is not there."""
        return self.waiting.pop(job, None) is not None

    def begin(self, job: int, asked: Resources, now: float) -> None:
        """Count a job as running, from the queue or (adopted) from nowhere."""
        self.waiting.pop(job, None)
        needs = amounts(asked)
        ends_by = float("inf") if asked.time_s is None else now + asked.time_s + self.slack_s
        self.running[job] = _Running(needs, ends_by)
        self.free = subtract(self.free, needs)

    def end(self, job: int) -> None:
        """Give back what the job occupied; harmless for one that does not run."""
        ended = self.running.pop(job, None)
        if ended is not None:
            self.free = add(self.free, ended.needs)

    def choose(self, now: float) -> int | None:
        """Return the job to begin now, None if nothing may start."""
        if not self.waiting or self.free[0] < 1:
            return None
        queue = iter(self.waiting.items())
        head, asked = next(queue)
        head_needs = amounts(asked)
        if fits(head_needs, self.free):
            return head
        spare, head_starts = self._reservation(head, head_needs)
        for _, (job, wish) in zip(range(BACKFILL_WINDOW), queue, strict=False):
            needs = amounts(wish)
            if fits(needs, self.free) and (
                fits(needs, spare)
                or (wish.time_s is not None and now + wish.time_s + self.slack_s <= head_starts)
            ):
                return job
        return None

    def _reservation(self, head: int, head_needs: Amounts) -> tuple[Amounts, float]:
        """Return what overtakers may still take, and when the head starts at the latest."""
        taken, head_starts = head_needs, float("inf")
        room = self.free
        for job, running in sorted(self.running.items(), key=lambda item: item[1].ends_by):
            if job > head:
                taken = add(taken, running.needs)
            if not fits(head_needs, room):
                room = add(room, running.needs)
                if fits(head_needs, room):
                    head_starts = running.ends_by
        if head_starts == float("inf"):
            head_starts = float("-inf")  # unknown: then no time limit is short enough
        return subtract(self.total, taken), head_starts
