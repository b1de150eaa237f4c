"""Processes of this machine: who they are for sure, and what is left of a dead launcher's job.

Owns native ids and the search by /proc; must not know about queues. Read next: watching.py.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from functools import cache

from batchsystems.singlemachine.launcher import MARKER, read_process, read_table


@cache
def boot_id() -> str:
    """Return what tells this boot of the machine from all others."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown-boot"


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that cannot be mistaken for another: start is field 22 of its stat."""

    pid: int
    start: int
    boot: str

    @property
    def native(self) -> str:
        """The native id `pid:starttime:bootid`."""
        return f"{self.pid}:{self.start}:{self.boot}"

    @classmethod
    def parse(cls, native: str) -> Identity | None:
        """Return the process a native id names, None if it is none of ours."""
        pid, _, rest = native.partition(":")
        start, _, boot = rest.partition(":")
        if pid.isdigit() and start.isdigit() and boot:
            return cls(int(pid), int(start), boot)
        return None

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Return the identity of a process that is there now."""
        process = read_process(pid)
        return cls(pid, process.start, boot_id()) if process else None

    def is_alive(self) -> bool:
        """Return whether exactly this process is there and has not ended."""
        process = read_process(self.pid) if self.boot == boot_id() else None
        return process is not None and process.start == self.start and process.state not in "ZX"

    def age_s(self) -> float:
        """Return how long ago it started."""
        with open("/proc/uptime", encoding="ascii") as file:
            uptime_s = float(file.read().split()[0])
        return max(0.0, uptime_s - self.start / os.sysconf("SC_CLK_TCK"))


def read_command_line(pid: int) -> list[str]:
    """Return the process's arguments, none if it is gone or another user's."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def reap(pid: int) -> int | None:
    """Collect the process if it is an ended child of ours; return its exit code."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if ended else None


def kill_survivors(key: str, tries: int = 100) -> int:
    """Kill what a launcher that died left of its job; return how many processes that were.

    They are found by the mark in their environment, which every child inherits.
    """
    mark = f"{MARKER}={key}".encode()
    killed: set[int] = set()
    for _ in range(tries):
        found = [p.pid for p in read_table() if p.state not in "ZX" and _carries(p.pid, mark)]
        if not found:
            break
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        if killed.issuperset(found):
            time.sleep(0.001)
        killed.update(found)
    return len(killed)


def _carries(pid: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark in file.read().split(b"\0")
    except OSError:
        return False
