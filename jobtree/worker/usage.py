"""What a step uses: wall time, cpu time and peak memory of this process.

Owns the readings of /proc and rusage; must not know what is being run.
Read next: steps.py. What cannot be known is None: "unknown" beats wrong.
"""

from __future__ import annotations

import os
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from time import monotonic, process_time

from jobtree.mailbox.descriptors import identity, leads_to, move_high
from jobtree.mailbox.results import Usage

_RESET_PEAK = b"5"


class Meter:
    """Measures one step after another, run in this very process."""

    def __init__(self) -> None:
        self._peak = _open("/proc/self/clear_refs", os.O_WRONLY)
        self._status = _open("/proc/self/status", os.O_RDONLY)
        self._identities = [(fd, identity(fd)) for fd in (self._peak, self._status) if fd >= 0]
        self._began = self._cpu = 0.0
        self.seen = b""  # /proc/self/status at the end of the last step, if known

    def start(self) -> None:
        """Begin with a step."""
        try:  # noqa: SIM105 - suppress() takes as long as the write
            os.pwrite(self._peak, _RESET_PEAK, 0)
        except OSError:
            pass
        self._cpu = cpu_seconds()
        self._began = monotonic()

    def stop(self) -> Usage:
        """End the step; return what it used."""
        wall_s = monotonic() - self._began
        self.seen = self.status()
        memory = peak_memory(self.seen) if self._peak >= 0 else None
        return Usage(round(wall_s, 6), round(cpu_seconds() - self._cpu, 6), memory)

    def status(self) -> bytes:
        """Return /proc/self/status, b"" if there is none."""
        try:
            return os.pread(self._status, 8192, 0)
        except OSError:
            return b""

    def repair(self) -> bool:
        """Measure no memory from here on if a step has closed our descriptors, or replaced them."""
        for fd, what in self._identities:
            if not leads_to(fd, what):
                self._identities, self._peak, self._status, self.seen = [], -1, -1, b""
                return False
        return True

    def reopen(self) -> None:
        """Open /proc anew, after a fork."""
        self.__init__()  # type: ignore[misc]


def cpu_seconds() -> float:
    """Return the user and system time of this process and of its children waited for."""
    children = getrusage(RUSAGE_CHILDREN)
    return process_time() + children.ru_utime + children.ru_stime


def peak_memory(status: bytes) -> int | None:
    """Return VmHWM of a /proc/PID/status, in bytes."""
    _, found, rest = status.partition(b"\nVmHWM:")
    return int(rest.split(None, 1)[0]) * 1024 if found else None


class _Own:
    """The peak of our own memory; not our ru_maxrss, which began with our parent's."""

    peak_bytes = 0

    @classmethod
    def renew(cls) -> int:
        """Read it anew."""
        try:
            with open("/proc/self/status", "rb") as file:
                cls.peak_bytes = peak_memory(file.read()) or 0
        except OSError:
            cls.peak_bytes = getrusage(RUSAGE_SELF).ru_maxrss * 1024
        return cls.peak_bytes


def usage_of_child(wall_s: float, used: object) -> Usage:
    """Return what a spawned command used, from its rusage.

    Its ru_maxrss begins with the peak of the process that spawned it: it only means something if it
    is clearly above our own. Ours is read again only if it may have grown past that.
    """
    cpu_s: float = used.ru_utime + used.ru_stime  # type: ignore[attr-defined]
    peak_bytes: int = used.ru_maxrss * 1024  # type: ignore[attr-defined]
    clear = peak_bytes > _Own.peak_bytes * 1.1 and peak_bytes > _Own.renew() * 1.1
    return Usage(round(wall_s, 6), round(cpu_s, 6), peak_bytes if clear else None)


def _open(path: str, flags: int) -> int:
    try:
        return move_high(os.open(path, flags | os.O_CLOEXEC))
    except OSError:
        return -1
