"""Errands that tests of a module look at: done at the same time, as by the users of one cluster.

Owns which of them are wanted, their threads, their places and the end of what they started; must
not know any scheduler. Read next: slurm/test_site.py.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.live.engines import open_directory, processes_of
from tests.live.waiting import eventually

Errand = Callable[[Path], Any]
"""What is done in a directory of its own; it can be compared, and has a short name as its str."""


def wanted(request: pytest.FixtureRequest) -> list[Any]:
    """Return what this module's tests that are to run have as `errand`, in order, each once."""
    found = [
        item.callspec.params.get("errand")
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.module is request.module
        and hasattr(item, "callspec")
    ]
    return [*dict.fromkeys(errand for errand in found if errand is not None)]


def do_at_once(errands: Mapping[Any, Errand], most: int) -> Mapping[Any, Future[Any]]:
    """Do errands, so many at a time, the first ones first; return once all are done or failed.

    What one of them leaves running is killed at its end, or when the tests are interrupted.
    """
    with ExitStack() as places, ThreadPoolExecutor(most) as pool:
        found, homes = {}, []
        for key, errand in errands.items():
            homes.append(places.enter_context(open_directory()))
            found[key] = pool.submit(_do, errand, homes[-1])
        try:
            wait(found.values())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while wait(found.values(), timeout=0.1).not_done:
                _kill(homes)
            raise
    return found


def _do(errand: Errand, home: Path) -> Any:
    try:
        return errand(home)
    finally:
        eventually(f"nothing runs in {home}", lambda: not _kill([home]))


def _kill(homes: Iterable[Path]) -> int:
    """Kill all that was started for these directories; return how many processes that were.

    Not a scheduler's daemon that has a file open there: jobs of it end by themselves.
    """
    doomed = [pid for home in homes for pid in processes_of(home, open_files=False)]
    for pid in doomed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(doomed)
