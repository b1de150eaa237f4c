"""The virtual world: one clock, one queue of things to come, one seed, one history.

Owns time, chance and the record of what happened; knows no master, worker or scheduler.
Read next: disk.py, cluster.py, adapter.py, worker.py, masters.py, in that order.

Nothing here looks at a real clock, starts a thread, or iterates over a set: a seed decides all.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, ClassVar, NamedTuple

FAULTS: dict[str, float] = {
    # the master
    "master killed": 0.012,
    "master killed while recovering": 0.05,
    "master killed at a fence": 0.3,
    "master paused": 0.012,
    "master taken over": 0.006,
    "clock jumped": 0.02,
    # workers and nodes
    "worker killed": 0.02,
    "worker stalled": 0.025,
    "sidecar killed": 0.10,
    "node died": 0.03,
    "node cut off": 0.012,
    "job requeued": 0.5,
    # the scheduler
    "submission refused": 0.08,
    "submission timed out, accepted": 0.08,
    "submission timed out, not accepted": 0.06,
    "submission refused, yet started": 0.06,
    "submission never answered": 0.08,
    "twin started": 0.10,
    "job lost": 0.05,
    "job absent for a while": 0.15,
    "update late": 0.15,
    "update repeated": 0.15,
    "update reordered": 0.10,
    "update lost": 0.05,
    "end told of a running job": 0.05,
    "outage": 0.01,
    "kill ignored": 0.3,
    "kill late": 0.9,
    "job not found again": 0.5,
    # the shared file system
    "name seen late": 0.15,
    "lines seen late": 0.05,
    "tail torn": 1.0,
    "doorbell lost": 0.30,
    "move failed": 0.40,
    # what came later stands last, so that older seeds enable what they did
    "node without the tree": 0.5,
    "tree wanted elsewhere": 0.01,
    "restarted elsewhere": 0.5,
}
"""Each kind of fault, and how likely it is where it could strike, before a seed's own factor."""

COMMAND_FAULTS: dict[str, float] = {
    "clocks differ": 1.0,
    "scheduler's clock set": 0.01,
    "zone changed": 0.02,
    "namesake submits": 0.15,
    "predecessor submits": 0.15,
}
"""Those of worlds in which masters speak to the scheduler by the real engine and its commands."""

SELDOM = ("kill ignored", "kill late")
"""Where these could strike few seeds come, so all of them enable them."""

MOST_FAULTS = 40
"""A seed's faults of all kinds: after them, or after its fault time, the world is well."""


class Event(NamedTuple):
    """One thing that happened. at: virtual seconds."""

    at: float
    kind: str
    data: dict[str, Any]


class World:
    """Time, chance and history. now: seconds that never jump; epoch_offset: what a clock adds."""

    forced: ClassVar[dict[str, float]] = {}
    """rates that hold for every seed, whatever it enables"""

    def __init__(self, seed: int, faulty: bool = True, commands: bool = False) -> None:
        self.seed = seed
        self.now = 1000.0
        self.epoch_offset = 1.7e9
        self.history: list[Event] = []
        self.fired: Counter[str] = Counter()
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0
        self._streams: dict[str, Random] = {}
        swarm = self.stream("swarm")
        self.quiet_at = self.now + swarm.choice([60.0, 300.0, 1500.0])
        self.rates = {}
        kinds = FAULTS | COMMAND_FAULTS if commands else FAULTS
        for kind, rate in kinds.items():
            share = 1.0 if kind in SELDOM else 0.5
            enabled, factor = swarm.random() < share, swarm.choice([0.5, 1.0, 2.0])
            if enabled and faulty:
                self.rates[kind] = min(1.0, rate * factor)
        self.rates |= self.forced

    def stream(self, concern: str) -> Random:
        """Return the random numbers of one concern."""
        found = self._streams.get(concern)
        if found is None:
            found = self._streams[concern] = Random(f"{self.seed}/{concern}")
        return found

    def strikes(self, kind: str) -> bool:
        """Tell whether a fault strikes here and now; if so, it is counted and recorded."""
        rate = self.rates.get(kind)
        if rate is None or self.now >= self.quiet_at or self.fired.total() >= MOST_FAULTS:
            return False
        if self.stream(kind).random() >= rate:
            return False
        self.fired[kind] += 1
        self.record("fault", fault=kind)
        return True

    def record(self, kind: str, **data: Any) -> None:
        """Add to the history."""
        self.history.append(Event(self.now, kind, data))

    def after(self, delay_s: float, act: Callable[[], object]) -> None:
        """Have something happen later."""
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay_s, self._count, act))

    def run_until(self, moment: float) -> None:
        """Let everything happen that is due by `moment`."""
        while self._queue and self._queue[0][0] <= moment:
            at, _, act = heapq.heappop(self._queue)
            self.now = max(self.now, at)
            act()
        self.now = max(self.now, moment)

    def digest(self) -> str:
        """Return what tells this history from any other."""
        summary = hashlib.sha256()
        for event in self.history:
            summary.update(repr(event).encode())
        return summary.hexdigest()


class VirtualClock:
    """The machine's clock as the product sees it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        """Return seconds that never jump."""
        return self._world.now

    def epoch(self) -> float:
        """Return seconds since 1970, which jump."""
        return self._world.now + self._world.epoch_offset
