"""What strace is asked for, and what it tells: the durable operations of one process.

Owns strace's words; must not know what a workflow does. Read next: trial.py.

The call that a fault is injected at is not made: SIGKILL arrives before it, an error instead of
it. Calls that read lie between two points and change nothing, so counting them does no harm.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

CALLS = (
    *("openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2"),
    *("link", "linkat", "unlink", "unlinkat", "ftruncate", "mkdir", "mkdirat", "rmdir"),
)
"""Every call of ours that can change what is on disk; of openat only those that can."""

FAILING = ("write", "pwrite64", "fsync", "fdatasync", "close")
"""The calls that report a full or broken disk; of close only what was open for writing."""

ERRORS = ("ENOSPC", "EIO", "EDQUOT")

_CALL = re.compile(r"(\w+)\((.*)")
_OPENED = re.compile(r"openat\(.*\) = (\d+)$")
_WRITES = re.compile(r"\bO_(WRONLY|RDWR|CREAT|TRUNC|TMPFILE)\b")


class Point(NamedTuple):
    """Where one process is hit: at its `when`-th call of this kind. process: see Victim."""

    victim: str
    process: int
    call: str
    when: int
    error: str = ""

    def __str__(self) -> str:
        return ":".join(map(str, self if self.error else self[:4]))

    @classmethod
    def parse(cls, text: str) -> Point:
        """Return the point that str() made this text of."""
        victim, process, call, when, *error = text.split(":")
        return cls(victim, int(process), call, int(when), *error)


def strace() -> str | None:
    """Return where strace is, None if it is not or may not trace."""
    found = shutil.which("strace")
    if found is None:
        return None
    tried = subprocess.run([found, "-o", "/dev/null", "true"], capture_output=True, check=False)
    return found if tried.returncode == 0 else None


def strace_argv(log: Path | str, point: Point | None) -> list[str]:
    """Return strace's words, without the command: the log of calls, and the fault at a point."""
    argv = ["strace", "-o", str(log), "-s", "0", "-e", f"trace={','.join((*CALLS, 'close'))}"]
    if point is not None:
        what = f"error={point.error}" if point.error else "signal=SIGKILL"
        argv += ["-e", f"inject={point.call}:{what}:when={point.when}"]
    return argv


def durable(line: str) -> str | None:
    """Return the call that a line of the log tells of, None if it changes nothing on disk."""
    match = _CALL.match(line)
    if (
        match is None
        or match[1] not in CALLS
        or (match[1] == "openat" and not _WRITES.search(match[2]))
    ):
        return None
    return match[1]


def moments(log: Path) -> list[tuple[str, int]]:
    """Return the durable operations of a log in order: the call, and its number among its kind."""
    seen: Counter[str] = Counter()
    found = []
    for line in _lines(log):
        match = _CALL.match(line)
        if match is None:
            continue
        seen[match[1]] += 1
        if durable(line):
            found.append((match[1], seen[match[1]]))
    return found


def closings(log: Path) -> list[tuple[str, int]]:
    """Return which calls of close close what was open for writing."""
    found, count, writing = [], 0, set()
    for line in _lines(log):
        opened = _OPENED.match(line)
        if opened and durable(line):
            writing.add(opened[1])
        elif opened:
            writing.discard(opened[1])
        elif line.startswith("close("):
            count += 1
            fd = line[6:].partition(")")[0]
            if fd in writing:
                writing.discard(fd)
                found.append(("close", count))
    return found


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()


def count_independently(log: Path) -> int:
    """Return how many durable operations a log holds, by grep: no code shared with moments()."""
    names = "write|pwrite64|fsync|fdatasync|rename|renameat2?|linkat|link|unlinkat|unlink"
    pattern = f"^({names}|ftruncate|mkdirat|mkdir|rmdir)\\(|^openat\\(.*O_(WRONLY|RDWR|CREAT|TRUNC)"
    argv = ["grep", "-cE", pattern, str(log)]
    return int(subprocess.run(argv, capture_output=True, text=True, check=False).stdout)


def fired(log: Path, point: Point) -> bool:
    """Tell whether the fault was reached."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "(INJECTED)" in text if point.error else "+++ killed by SIGKILL +++" in text
