"""A library with state made when it is imported, as numpy has: a generator, and a lock.

Owns the state; must not know who uses it. Read next: worker_targets.py.
"""

from __future__ import annotations

import os
import threading

lock = threading.Lock()


class Generator:
    """Seeded once, from what the system gives."""

    def __init__(self) -> None:
        self._state = int.from_bytes(os.urandom(8), "big")

    def draw(self) -> int:
        """Return the next number."""
        self._state = self._state * 6364136223846793005 + 1442695040888963407 & 2**64 - 1
        return self._state >> 20


_shared = Generator()


def draw() -> int:
    """Return the next number of the generator that all share, as numpy.random does."""
    return _shared.draw()
