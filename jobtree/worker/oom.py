"""Whether the kernel has killed processes here for want of memory: the cgroup's own count.

Owns the reading of cgroups, versions 1 and 2; judges nothing. Without a count, nothing is ever
reported as out of memory. Read next: chain.py.
"""

from __future__ import annotations

import os

MOUNT = "/sys/fs/cgroup"
OWN = "/proc/self/cgroup"


class KillCount:
    """The kernel's count of such kills in this process's cgroup, and how it grows."""

    def __init__(self, own: str = OWN, mount: str = MOUNT) -> None:
        self._path = _count_path(own, mount)
        self._seen = self._read()

    def has_grown(self) -> bool:
        """Tell whether there was a kill since the last look; the first look was at the start."""
        before, self._seen = self._seen, self._read()
        return self._seen > before

    def _read(self) -> int:
        try:
            with open(self._path, "rb") as file:
                _, found, rest = file.read().partition(b"oom_kill ")
            return int(rest.split(None, 1)[0]) if found else 0
        except (OSError, ValueError, IndexError):
            return 0


def _count_path(own: str, mount: str) -> str:
    """Return the file that has the count, "" if there is none."""
    try:
        with open(own, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return ""
    for line in lines:
        if len(line) == 3 and "memory" in line[1].split(","):
            return f"{mount}/memory{line[2].rstrip('/')}/memory.oom_control"
    unified = next((line[2] for line in lines if len(line) == 3 and line[:2] == ["0", ""]), None)
    if unified is None:
        return ""
    path = f"{mount}{unified.rstrip('/')}/memory.events"
    return path if os.path.exists(path) else ""
