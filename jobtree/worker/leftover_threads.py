"""Waits for what a Target leaves running: threads, executors, processes of multiprocessing.

Owns the waiting, which is like Python's own at the end of a program; must not know what a Target
is. Read next: steps.py. A step is done when its threads are: otherwise its work would be cut off.
"""

from __future__ import annotations

import _thread
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any

QUIET_S = 0.1
"""Waiting this long is not worth a message."""


def wait_for_leftovers(threads_before: int, tell: Callable[[str], object]) -> str:
    """Wait for threads and processes that are no daemons; return why no Target may follow, or "".

    Daemons are left alone, as Python leaves them: the caller must see whether there are any.
    """
    unfit = ""
    if _thread._count() > threads_before and "threading" in sys.modules:
        unfit = _wait_for_threads(tell)
    if "multiprocessing.process" in sys.modules:
        _wait_for_processes(tell)
    return unfit


def _wait_for_threads(tell: Callable[[str], object]) -> str:
    threading: Any = sys.modules["threading"]
    unfit = ""
    quiet_until = monotonic() + QUIET_S
    while left := _at_work(threading):
        for thread in left:
            thread.join(max(0.0, quiet_until - monotonic()))
        left = [thread for thread in left if thread.is_alive()]
        if not left:
            continue
        tell(f"waiting for {_names(left)}, which the step left at work")
        if _of_executors(left):
            unfit = "an executor was not shut down"
            for shut_down in reversed(getattr(threading, "_threading_atexits", [])):
                shut_down()
        for thread in left:
            thread.join()
    return unfit


def _at_work(threading: Any) -> list[Any]:
    own = (threading.current_thread(), threading.main_thread())
    return [t for t in threading.enumerate() if not t.daemon and t not in own]


def _of_executors(threads: list[Any]) -> bool:
    """Tell whether one of these is concurrent.futures': those wait for work until told to end."""
    known: list[Any] = []
    for module, name in (("thread", "_threads_queues"), ("process", "_threads_wakeups")):
        known += getattr(sys.modules.get(f"concurrent.futures.{module}"), name, ())
    return any(thread in known for thread in threads)


def _wait_for_processes(tell: Callable[[str], object]) -> None:
    process: Any = sys.modules["multiprocessing.process"]
    left = [child for child in process.active_children() if not child.daemon]
    quiet_until = monotonic() + QUIET_S
    for child in left:
        child.join(max(0.0, quiet_until - monotonic()))
    left = [child for child in left if child.is_alive()]
    if left:
        tell(f"waiting for {_names(left)}, which the step left at work")
    for child in left:
        child.join()


def _names(things: list[Any]) -> str:
    names = ", ".join(str(thing.name) for thing in things[:5])
    return f"{names} and {len(things) - 5} more" if len(things) > 5 else names
