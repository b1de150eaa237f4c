"""Processes of this machine: what they are, whose they may be, and their end.

Owns /proc and every signal; must not know any scheduler. Nothing is ever signalled by its name
alone. Read next: daemons.py, which records what it starts.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localengines.failure import Failure

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process, safe against the reuse of its pid. start: in clock ticks since boot."""

    pid: int
    start: int

    @property
    def state(self) -> str:
        """Return "running", "frozen" or "gone"; a zombie is gone."""
        found = _stat(self.pid)
        if found is None or found[1] != self.start or found[0] in "ZX":
            return "gone"
        return "frozen" if found[0] in "Tt" else "running"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still exists."""
        if self.state != "gone":
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def process(pid: int) -> Process | None:
    """Return the process that has this pid now."""
    found = _stat(pid)
    return None if found is None or found[0] in "ZX" else Process(pid, found[1])


def _stat(pid: int) -> tuple[str, int] | None:
    """Return state letter and start time of a pid, None if there is no such process.

    A killed process of several threads is a zombie as soon as its first has ended: until the last
    has, it still holds its ports, and is called running here.
    """
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    letter, threads = fields[0], int(fields[17])
    return "R" if letter in "ZX" and threads > 1 else letter, int(fields[19])


def wait_for(what: str, done: Callable[[], bool], limit_s: float) -> None:
    """Wait until `done`; Failure saying `what` did not happen within the limit."""
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {limit_s:g} s")
        time.sleep(0.05)


def end(processes: Iterable[Process], grace_s: float) -> None:
    """End processes: thaw them, ask with SIGTERM, insist with SIGKILL after the grace."""
    doomed = list(processes)
    if grace_s > 0:
        for one in doomed:
            one.signal(signal.SIGTERM)
            one.signal(signal.SIGCONT)
        with suppress(Failure):
            wait_for("the end", lambda: _all_gone(doomed), grace_s)
    for one in doomed:
        one.signal(signal.SIGKILL)
    wait_for(f"the end of {sorted(one.pid for one in doomed)}", lambda: _all_gone(doomed), 20)


def _all_gone(processes: Iterable[Process]) -> bool:
    return all(one.state == "gone" for one in processes)


# ---- looking at processes that nobody recorded -------------------------------------------


def others() -> Iterator[tuple[Process, Path]]:
    """Return every process except this one and its ancestors, with its directory in /proc."""
    spared = set(_ancestors())
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and int(entry.name) not in spared:
            found = process(int(entry.name))
            if found is not None:
                yield found, entry


def name_of(folder: Path) -> str:
    """Return a process's name, at most 15 bytes; OSError if it has ended, as all of these."""
    return (folder / "comm").read_text(errors="replace").strip()


def title_of(folder: Path) -> str:
    """Return a process's command line."""
    text = (folder / "cmdline").read_bytes().decode(errors="replace")
    return text.replace("\0", " ").strip()


def environ_of(folder: Path) -> dict[str, str]:
    """Return the environment that a process was started with."""
    text = (folder / "environ").read_bytes().decode(errors="replace")
    return {key: value for key, _, value in (line.partition("=") for line in text.split("\0"))}


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
        pid = int(stat.rpartition(")")[2].split()[1])
