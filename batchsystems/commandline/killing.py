"""Killing: requests to end jobs, gathered into few commands and made until they arrive.

Owns what was asked for and not yet sent; only answers about the queue confirm an end.
Read next: engine.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from batchsystems.commandline.following import Following
from batchsystems.commandline.task import Task
from batchsystems.commandline.tracking import FOREVER

log = logging.getLogger("jobtree.batchsystems")

LEAST_PAUSE_S = 2.0
MOST_PAUSE_S = 60.0


class Killing:
    """Sends the kills that following.py has gathered."""

    def __init__(self, following: Following, stirred: Callable[[float], None]) -> None:
        self._following, self._stirred = following, stirred
        self._not_before = 0.0
        self._pause_s = 0.0

    @property
    def due(self) -> float:
        """When something is to be killed."""
        following = self._following
        return self._not_before if following.to_kill or following.names_to_kill else FOREVER

    def next(self) -> Task | None:
        """Return the next command."""
        dialect, wanted = self._following.dialect, self._following.to_kill
        if self._following.names_to_kill:
            return self._named(self._following.names_to_kill.pop())
        by_id = self._whole_arrays()
        chosen = list(by_id)[: self._following.patience.kill_chunk]
        natives = [native for each in chosen for native in by_id[each]]
        jobs = [job for native in natives if (job := wanted.pop(native)) is not None]
        if not chosen:
            return None

        def hear(problem: str, began: float, now: float) -> None:
            if problem:
                self._pause(problem, now)
                alive = self._following.roll.by_native
                wanted.update({job.native: job for job in jobs if job.native in alive})
                return
            self._pause_s = 0.0
            for job in jobs:
                job.killed = now
            self._stirred(now)

        return Task(hear, str, dialect.kill(chosen), dialect.parse_kill)

    def _named(self, name: str) -> Task | None:
        """Kill by name what may have been accepted without a clear answer."""
        dialect = self._following.dialect
        command = dialect.kill_named(name)
        if command is None:
            return None

        def hear(problem: str, began: float, now: float) -> None:
            if problem:
                self._pause(problem, now)
                self._following.names_to_kill.add(name)

        return Task(hear, str, command, dialect.parse_kill)

    def _pause(self, problem: str, now: float) -> None:
        self._pause_s = min(max(2 * self._pause_s, LEAST_PAUSE_S), MOST_PAUSE_S)
        self._not_before = now + self._pause_s
        name = self._following.dialect.name
        log.warning("%s: a kill did not arrive and is sent again: %s", name, problem)

    def _whole_arrays(self) -> dict[str, list[str]]:
        """Return the ids to kill and what they stand for: an array's own if all is wanted."""
        wanted, whole_id = self._following.to_kill, self._following.dialect.submission
        spared: dict[str, int] = {}
        for native in self._following.roll.by_native:
            submission = whole_id(native)
            spared[submission] = spared.get(submission, 0) + (native not in wanted)
        found: dict[str, list[str]] = {}
        for native in wanted:
            submission = whole_id(native)
            whole = spared.get(submission, 1) == 0
            found.setdefault(submission if whole else native, []).append(native)
        return found
