"""Where time comes from: the machine's clock, or whatever stands in for it.

Owns the two times there are; nothing else in these packages that decides asks the machine for
them, but is given `now`. Read next: commandline/adapter.py, jobtree/master/loop.py.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The machine's clock, or a simulation's."""

    def now(self) -> float:
        """Return seconds that never jump."""

    def epoch(self) -> float:
        """Return seconds since 1970."""


class MachineClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()

    def epoch(self) -> float:
        """Return seconds since 1970."""
        return time.time()
