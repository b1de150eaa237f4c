"""The worker's own file descriptors: kept out of the way of Targets, and checked after each.

Owns their numbers and what each leads to; must not know what is written there. Read next:
worker_side.py, ../worker/steplog.py. A Target in this process may close any of them, or open a
file of its own under the same number: then nothing of ours may be written there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from fcntl import F_DUPFD_CLOEXEC, fcntl
from resource import RLIMIT_NOFILE, getrlimit
from typing import Protocol

HIGHEST_FLOOR = 512
"""Below 1,024 (select), and above what programs close that close "all of them" by a guess."""

Identity = tuple[int, int]
"""Device and inode."""


class DescriptorOwner(Protocol):
    """Who holds descriptors."""

    def repair(self) -> bool:
        """Open again what a step has closed or replaced; tell whether all was as it should be."""


class Descriptors:
    """All descriptors that must survive a step.

    The order of the owners matters: the standard streams are repaired first, as a file opened
    while one of them is closed would get its number.
    """

    def __init__(self, owners: Sequence[DescriptorOwner]) -> None:
        self.owners = list(owners)
        self.lost = False  # one had to be opened again

    def repair(self) -> None:
        """Open again what a step has closed or replaced. Raises OSError if that cannot be."""
        for owner in self.owners:
            if not owner.repair():
                self.lost = True


class StandardInput:
    """Descriptor 0: nothing to read."""

    def __init__(self) -> None:
        self._lead()

    def repair(self) -> bool:
        """Lead it to /dev/null again. Always True: that it was closed harms nobody."""
        if not leads_to(0, self._identity):
            self._lead()
        return True

    def _lead(self) -> None:
        null = os.open("/dev/null", os.O_RDONLY)
        if null:
            os.dup2(null, 0)
            os.close(null)
        self._identity = identity(0)


def move_high(fd: int) -> int:
    """Return a descriptor of the same open file with a high number; `fd` is closed."""
    floor = min(HIGHEST_FLOOR, getrlimit(RLIMIT_NOFILE)[0] // 2)
    for least in (floor, 3):
        with suppress(OSError):  # there may be no room so high
            lifted = fcntl(fd, F_DUPFD_CLOEXEC, least)
            os.close(fd)
            return lifted
    return fd


def identity(fd: int) -> Identity:
    """Return what a descriptor leads to. Raises OSError if it is closed."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def leads_to(fd: int, what: Identity) -> bool:
    """Tell whether a descriptor is open and leads to that file."""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return found.st_ino == what[1] and found.st_dev == what[0]
