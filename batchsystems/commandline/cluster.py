"""Cluster: what is known of a cluster's limits, and the questions that are still to be asked.

Owns when each is asked: before a submission once, of how much runs at once now and again. How an
answer is read is the dialect's. Read next: engine.py; limits.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from batchsystems.commandline.dialect import ClusterQueries
from batchsystems.commandline.jobs import FOREVER, NEVER
from batchsystems.commandline.limits import Limits
from batchsystems.commandline.operation import Operation
from batchsystems.interface import Resources
from batchsystems.transport.local import Command

AGAIN_S = 600.0
"""Nodes and limits come and go: so old an answer is asked for anew."""


class Cluster:
    """The limits, as they are known by now, and what is to be asked of them."""

    def __init__(self, queries: ClusterQueries, known: Limits, user: str) -> None:
        self._queries = queries
        self.limits = replace(known, user=user)
        self._asked: set[tuple[str, ...]] = set()
        self._left: deque[Command] = deque()
        self._began = NEVER
        self._open = False
        self.answered = False
        """Whether all that tells the capacity has been asked once, whatever came of it."""
        self.news = False
        """Whether it has been answered since this was last set to False."""

    def before(self, tasks: int, asked: Resources) -> Operation | None:
        """Return what is to be asked before so many tasks are submitted, None if nothing is."""
        command = next(iter(self._unasked(tasks, asked)), None)
        if command is None:
            return None
        self._asked.add(command.argv)
        return self._question(command, lambda: None)

    def _unasked(self, tasks: int, asked: Resources) -> list[Command]:
        asks = self._queries.discover(self.limits, tasks, asked)
        return [command for command in asks if command.argv not in self._asked]

    def impossible(self, asked: Resources) -> str:
        """Say why a job can never run here, "" if it can or nothing is known."""
        return self._queries.impossible(asked, self.limits)

    def stale(self, now: float) -> bool:
        """Tell whether it is time to ask for the capacity, for the first time or anew."""
        return not self._open and now - self._began >= AGAIN_S

    def ask_capacity(self, now: float) -> None:
        """Have it asked how much can run at once, unless it was lately."""
        if not self.stale(now):
            return
        asks = self._unasked(1, Resources())
        self._asked.update(command.argv for command in asks)
        self._left.extend((*asks, *self._queries.capacity(self.limits)))
        self._began, self._open = now, True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._open and not self._left:
            self._open, self.answered, self.news = False, True, True

    @property
    def due(self) -> float:
        """When something about the capacity is to be asked."""
        return NEVER if self._left else FOREVER

    def next(self) -> Operation:
        """Return the next question about the capacity."""
        return self._question(self._left.popleft(), self._close_if_done)

    def _question(self, command: Command, then: Callable[[], None]) -> Operation:
        def on_answer(limits: Limits, began: float, now: float) -> None:
            self.limits = limits
            then()

        limits = self.limits
        parse = partial(self._queries.parse, command, limits=limits)
        return Operation(on_answer, lambda words: limits, command, parse)
