"""Where time comes from: the machine's clock, or whatever stands in for it.

Owns the two times there are. The engine of command-line batch systems and the master's decisions
ask no machine for them, but are given `now`. What runs processes asks it: the transport, the single
machine, DRMAA's session, workers. Read next: commandline/adapter.py, jobtree/master/loop.py.
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
