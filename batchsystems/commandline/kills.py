"""Killing: requests to end jobs, gathered into few commands and made until they arrive.

Owns what was asked for and not yet sent, and how often; only answers about the queue confirm an
end. A request that does not arrive is made again, ever more rarely; one that the scheduler
refuses a few times only. Read next: engine.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from batchsystems.commandline.dialect import Unkilled
from batchsystems.commandline.jobs import FOREVER, Job
from batchsystems.commandline.reconcile import Following
from batchsystems.commandline.task import Task

log = logging.getLogger("jobtree.batchsystems")

LEAST_PAUSE_S = 2.0
MOST_PAUSE_S = 60.0


class Killing:
    """Sends the kills that reconcile.py has gathered."""

    def __init__(self, following: Following, stirred: Callable[[float], None]) -> None:
        self._following, self._stirred = following, stirred
        self._not_before = 0.0
        self._pause_s = 0.0
        self._refused: dict[str, int] = {}
        self.problem, self.since = "", 0.0
        """Why kills do not arrive now, "" if they do, and since when."""

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
        chosen = list(by_id)[: self._following.timeouts.kill_chunk]
        jobs = {each: [wanted.pop(native) for native in by_id[each]] for each in chosen}
        if not chosen:
            return None

        def hear(said: Unkilled | None, began: float, now: float) -> None:
            self._pace(said, now)
            for each in chosen:
                marks = {each, dialect.submission(each)}
                spared = said is not None and not (said.natives and marks.isdisjoint(said.natives))
                self._hear(jobs[each], said if spared else None, now)
            self._stirred(now)

        return Task(hear, Unkilled, dialect.kill(chosen), dialect.parse_kill)

    def _hear(self, jobs: Sequence[Job | None], said: Unkilled | None, now: float) -> None:
        """Note what came of a kill for some jobs; None among them are nobody's."""
        following = self._following
        for job in jobs:
            if job is None or job.native not in following.roll.by_native:
                continue
            if said is None:
                job.killed, job.kills = now, job.kills + 1
                continue
            job.unkilled = said.words
            job.refusals += said.refused
            if job.refusals < following.timeouts.tries:
                following.to_kill[job.native] = job
            else:
                job.killed = now

    def _named(self, name: str) -> Task | None:
        """Kill by name what may have been accepted without a clear answer."""
        dialect = self._following.dialect
        command = dialect.kill_named(name)
        if command is None:
            return None

        def hear(said: Unkilled | None, began: float, now: float) -> None:
            self._pace(said, now)
            if said is not None and said.refused:
                self._refused[name] = self._refused.get(name, 0) + 1
            if said is not None and self._refused.get(name, 0) < self._following.timeouts.tries:
                self._following.names_to_kill.add(name)

        return Task(hear, Unkilled, command, dialect.parse_kill)

    def _pace(self, said: Unkilled | None, now: float) -> None:
        """Wait ever longer while kills do not arrive, or are refused."""
        if said is None:
            self._pause_s, self.problem = 0.0, ""
            return
        self._pause_s = min(max(2 * self._pause_s, LEAST_PAUSE_S), MOST_PAUSE_S)
        self._not_before = now + self._pause_s
        how = "was refused" if said.refused else "did not arrive"
        log.warning("%s: a kill %s: %s", self._following.dialect.name, how, said.words)
        if not self.problem:
            self.since = now
        self.problem = said.words

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
