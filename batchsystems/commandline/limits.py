"""Limits: what is known of a cluster's queues, and of how many jobs it runs at once.

Owns the choice of a queue; must not know a scheduler. Read next: dialect.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from batchsystems.interface import Resources
from batchsystems.site.fields import COUNT, NAME, PERIOD, REQUIRED, SOME, SPACE, TRUTH

LITTLE = Resources()
"""What every machine has."""

FOREVER_S = float("inf")


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue or partition, and the most that one job may ask for in it (None: not known)."""

    name: str = NAME(REQUIRED, "as the scheduler calls it")
    cpus: int | None = SOME(None, "the most processors of a node", "max_cpus")
    memory_bytes: int | None = SPACE(None, "the most memory of a node", "max_memory")
    gpus: int | None = COUNT(None, "the most gpus of a node; 0: it has none", "max_gpus")
    time_s: float | None = PERIOD(None, "the longest time limit", "max_time")
    preferred: bool = TRUTH(False, "taken first by every job that fits")
    preemptible: bool = TRUTH(False, "taken last, and preempted jobs are reissued")
    pushes: bool = False
    """Its jobs end others'."""
    tier: int = 0
    """A higher one is served first."""
    closed: bool = False
    """Not for everybody, or not now."""

    def lacks(self, asked: Resources) -> str:
        """Return what a job asks for that this queue never has, "" if it fits."""
        if self.cpus is not None and asked.cpus > self.cpus:
            return f"{asked.cpus} cpus (it has {self.cpus})"
        if self.memory_bytes is not None and (asked.memory_bytes or 0) > self.memory_bytes:
            return f"{_gib(asked.memory_bytes or 0)} of memory (it has {_gib(self.memory_bytes)})"
        if self.gpus is not None and asked.gpus > self.gpus:
            return f"{asked.gpus} gpus (it has {self.gpus})"
        if self.time_s is not None and (asked.time_s or 0.0) > self.time_s:
            return f"{asked.time_s or 0:.0f} s (its limit is {self.time_s:.0f} s)"
        return ""

    def drawbacks(self, asked: Resources) -> tuple[bool | float, ...]:
        """Return what speaks against sending a job here that fits, the gravest first.

        It may not be let in; the site would have it elsewhere; gpus lie idle under it; it is ended
        for others, or ends others; it is served late; it takes room that is for longer jobs.
        """
        longest_s = FOREVER_S if self.time_s is None else self.time_s
        return (
            self.closed,
            not self.preferred,
            not asked.gpus and bool(self.gpus),
            self.preemptible,
            self.pushes,
            -self.tier,
            0.0 if asked.time_s is None else longest_s,
        )


@dataclass(frozen=True, slots=True)
class Bound:
    """No more than so many jobs of one cpu run at once."""

    source: str
    """Who says so; a later answer of the same source takes the place of all its bounds."""
    most: int
    queue: str = ""
    """In that queue ("": in all)."""
    by: str = ""
    """What else bounds that queue, by the scheduler's name for it."""
    shared: bool = False
    """The scheduler itself chooses among such queues, so that what they run adds up."""
    time_s: float | None = None
    """The longest job of the queue."""

    def takes(self, asked: Resources) -> bool:
        """Tell whether the queue takes jobs that last so long."""
        return self.time_s is None or (asked.time_s or 0.0) <= self.time_s


@dataclass(frozen=True, slots=True)
class Limits:
    """What is known of a cluster: what the site says, and what was found out since."""

    tasks: int | None = None
    """The most in one array (None: not known)."""
    queues: tuple[Queue, ...] = ()
    bounds: tuple[Bound, ...] = ()
    user: str = ""
    """The name of the user whose jobs these are, "" if it has none here."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What one scheduler alone tells, by names of its own."""

    def within(self, names: str) -> Limits:
        """Return the limits with those queues alone that are in a list with commas ("": all)."""
        wanted = names.split(",")
        return replace(self, queues=tuple(q for q in self.queues if not names or q.name in wanted))

    def knowing(self, **facts: object) -> Limits:
        """Return the limits with these facts, too."""
        return replace(self, facts={**self.facts, **facts})

    def bounded(self, source: str, bounds: Iterable[Bound]) -> Limits:
        """Return the limits with these bounds instead of those that the source told before."""
        others = tuple(bound for bound in self.bounds if bound.source != source)
        return replace(self, bounds=(*others, *bounds))

    def slots(self, asked: Resources = LITTLE) -> int | None:
        """Return how many jobs of one cpu run at once, at most; None if nothing is known.

        asked: the resources of those jobs; they decide which queue is counted.
        """
        chosen = self.choose(asked) or self.choose(LITTLE)
        names = ("",) if chosen is None else ("", chosen.name)
        found = [bound.most for bound in self.bounds if bound.queue in names]
        if chosen is None:
            fitting = [b.most for b in self.bounds if b.shared and b.takes(asked)]
            found += [sum(fitting)] if fitting else []
        return min(found, default=None)

    def choose(self, asked: Resources) -> Queue | None:
        """Return the queue a job is best sent to, None if it fits in none that is known.

        Of several with no fewer drawbacks the first is taken.
        """
        fitting = (queue for queue in self.queues if not queue.lacks(asked))
        return min(fitting, key=lambda queue: queue.drawbacks(asked), default=None)

    def impossible(self, asked: Resources) -> str:
        """Say why a job can never run here, "" if it can or nothing is known."""
        if not self.queues or self.choose(asked) is not None:
            return ""
        said = "; ".join(f"{queue.name}: {queue.lacks(asked)}" for queue in self.queues[:8])
        return f"asks for more than any queue here ever has: {said}: lower it, or add a queue"

    def largest(self) -> Resources | None:
        """Return the most that one job may ask for, taking each resource by itself."""
        if not self.queues:
            return None
        times = [queue.time_s for queue in self.queues]
        memories = [queue.memory_bytes for queue in self.queues]
        return Resources(
            cpus=max(2**31 if queue.cpus is None else queue.cpus for queue in self.queues),
            memory_bytes=None if None in memories else max(m for m in memories if m is not None),
            gpus=max(2**31 if queue.gpus is None else queue.gpus for queue in self.queues),
            time_s=None if None in times else max(t for t in times if t is not None),
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"
