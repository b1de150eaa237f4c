"""How live tests wait for a real scheduler, up to a generous limit, and look at processes.

Must not know any scheduler. Read next: the folder of the scheduler concerned.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

LIMIT_S = 240.0
"""Long enough for a busy machine of two cores; only failures ever wait that long."""

Found = TypeVar("Found")


def eventually(
    what: str,
    look: Callable[[], Found],
    accept: Callable[[Found], object] = bool,
    *,
    limit_s: float = LIMIT_S,
    every_s: float = 0.1,
) -> Found:
    """Return what `look` finds as soon as `accept` is content; fail with the last finding."""
    deadline = time.monotonic() + limit_s
    while True:
        found = look()
        if accept(found):
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit_s:g} s: {what}; last seen: {found!r}")
        time.sleep(every_s)


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is no zombie; pid 1 may be slow to bury its orphans."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
