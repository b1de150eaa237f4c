"""Capacity: how many jobs run at once, asked once somebody wants to know, and again now and then.

Owns what is still to be asked; how an answer is read is the dialect's. Read next: engine.py.
"""

from __future__ import annotations

from collections import deque

from batchsystems.commandline.jobs import FOREVER, NEVER
from batchsystems.transport.local import Command

AGAIN_S = 600.0
"""Nodes and limits come and go: so old an answer is asked for anew."""


class CapacityQueries:
    """The questions, and when they are due."""

    def __init__(self) -> None:
        self._left: deque[Command] = deque()
        self._began = NEVER
        self._open = False
        self._answered = False
        self.news = False
        """Whether all that was asked has been answered since this was last set to False."""

    @property
    def answered(self) -> bool:
        """Whether all questions have been asked once, whatever came of them."""
        return self._answered

    def stale(self, now: float) -> bool:
        """Tell whether it is time to ask, for the first time or anew."""
        return not self._open and now - self._began >= AGAIN_S

    def begin(self, commands: tuple[Command, ...], now: float) -> None:
        """Ask these from now on."""
        self._left.extend(commands)
        self._began, self._open = now, True
        self.close_if_done()

    def close_if_done(self) -> None:
        """Note that the last question was answered, if it was."""
        if self._open and not self._left:
            self._open, self._answered, self.news = False, True, True

    @property
    def due(self) -> float:
        """When something is to be asked."""
        return NEVER if self._left else FOREVER

    def next(self) -> Command:
        """Return the next question; close_if_done() is to be called when it was answered."""
        return self._left.popleft()
