"""What a step uses: wall time, cpu time and peak memory of this process.

Owns the readings of /proc and rusage; must not know what is being run.
Read next: steps.py. What cannot be known is None: "unknown" beats wrong.
"""

from __future__ import annotations

import os
from contextlib import suppress
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from time import monotonic, process_time

from jobtree.mailbox.results import Usage

_RESET_PEAK = b"5"


class Meter:
    """Measures one step after another, run in this very process."""

    def __init__(self) -> None:
        self._peak = _open("/proc/self/clear_refs", os.O_WRONLY)
        self._status = _open("/proc/self/status", os.O_RDONLY)
        self._began = self._cpu = 0.0

    def start(self) -> None:
        """Begin with a step."""
        _pwrite(self._peak, _RESET_PEAK)
        self._cpu = cpu_seconds()
        self._began = monotonic()

    def stop(self) -> Usage:
        """End the step; return what it used."""
        wall_s = monotonic() - self._began
        memory = peak_memory(self.status()) if self._peak >= 0 else None
        return Usage(round(wall_s, 6), round(cpu_seconds() - self._cpu, 6), memory)

    def status(self) -> bytes:
        """Return /proc/self/status, b"" if there is none."""
        try:
            return os.pread(self._status, 8192, 0)
        except OSError:
            self.reopen()
            return b""

    def forget(self) -> None:
        """Use the descriptors no more: a step may have closed them, and others have the numbers."""
        self._peak = self._status = -1

    def reopen(self) -> None:
        """Open /proc anew: after a fork, or when the step has closed it."""
        self.__init__()  # type: ignore[misc]


def cpu_seconds() -> float:
    """Return the user and system time of this process and of its children waited for."""
    children = getrusage(RUSAGE_CHILDREN)
    return process_time() + children.ru_utime + children.ru_stime


def peak_memory(status: bytes) -> int | None:
    """Return VmHWM of a /proc/PID/status, in bytes."""
    _, found, rest = status.partition(b"\nVmHWM:")
    return int(rest.split(None, 1)[0]) * 1024 if found else None


def _own_peak() -> int:
    """Return the peak of our own memory; not our ru_maxrss, which began with our parent's."""
    with suppress(OSError), open("/proc/self/status", "rb") as file:
        return peak_memory(file.read()) or 0
    return getrusage(RUSAGE_SELF).ru_maxrss * 1024


def usage_of_child(wall_s: float, used: object) -> Usage:
    """Return what a spawned command used, from its rusage.

    Its ru_maxrss begins with the peak of the process that spawned it: only what is clearly
    above our own says anything.
    """
    own_bytes = _own_peak()
    cpu_s: float = used.ru_utime + used.ru_stime  # type: ignore[attr-defined]
    peak_kb: int = used.ru_maxrss  # type: ignore[attr-defined]
    memory = peak_kb * 1024 if peak_kb * 1024 > own_bytes * 1.1 else None
    return Usage(round(wall_s, 6), round(cpu_s, 6), memory)


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError:
        return -1


def _pwrite(fd: int, content: bytes) -> None:
    with suppress(OSError):
        os.pwrite(fd, content, 0)
