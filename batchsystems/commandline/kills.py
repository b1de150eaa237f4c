"""Kills: requests to end jobs, gathered into few commands and made until they arrive.

Owns what was asked for and not yet sent, and how often; only answers about the queue confirm an
end. A request that does not arrive is made again, ever more rarely; one that the scheduler
refuses a few times only. Read next: engine.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from batchsystems.commandline.answers import Unkilled
from batchsystems.commandline.jobs import FOREVER, Job
from batchsystems.commandline.operation import Operation
from batchsystems.commandline.reconcile import Reconciler

log = logging.getLogger("jobtree.batchsystems")

LEAST_PAUSE_S = 2.0
MOST_PAUSE_S = 60.0


class Kills:
    """Sends the kills that reconcile.py has gathered."""

    def __init__(self, reconciler: Reconciler, stirred: Callable[[float], None]) -> None:
        self._reconciler, self._stirred = reconciler, stirred
        self._not_before = 0.0
        self._pause_s = 0.0
        self._refused: dict[str, int] = {}
        self.problem, self.since = "", 0.0
        """Why kills do not arrive now, "" if they do, and since when."""

    @property
    def due(self) -> float:
        """When something is to be killed."""
        reconciler = self._reconciler
        return self._not_before if reconciler.to_kill or reconciler.names_to_kill else FOREVER

    def next(self) -> Operation | None:
        """Return the next command."""
        dialect, wanted = self._reconciler.dialect, self._reconciler.to_kill
        if self._reconciler.names_to_kill:
            return self._named(self._reconciler.names_to_kill.pop())
        by_id = self._whole_arrays()
        chosen = list(by_id)[: self._reconciler.timeouts.kill_chunk]
        jobs = {each: {native: wanted.pop(native) for native in by_id[each]} for each in chosen}
        if not chosen:
            return None

        def on_answer(said: Unkilled | None, began: float, now: float) -> None:
            self._pace(said, now)
            for each in chosen:
                marks = {each, dialect.ids.submission_of(each)}
                spared = said is not None and not (said.natives and marks.isdisjoint(said.natives))
                self._on_answer(jobs[each], said if spared else None, now)
            self._stirred(now)

        return Operation(on_answer, Unkilled, dialect.kill(chosen), dialect.parse_kill)

    def _on_answer(self, jobs: Mapping[str, Job | None], said: Unkilled | None, now: float) -> None:
        """Note what came of a kill for some jobs, by their ids; None among them are nobody's."""
        reconciler = self._reconciler
        for native, job in jobs.items():
            if job is None:
                if self._again(native, said):
                    reconciler.to_kill.setdefault(native, None)
                continue
            if native not in reconciler.job_table.by_native:
                continue
            if said is None:
                job.killed, job.kills = now, job.kills + 1
                continue
            job.unkilled = said.words
            job.refusals += said.refused
            if job.refusals < reconciler.timeouts.tries:
                reconciler.to_kill[job.native] = job
            else:
                job.killed = now

    def _named(self, name: str) -> Operation | None:
        """Kill by name what may have been accepted without a clear answer."""
        dialect = self._reconciler.dialect
        command = dialect.kill_named(name)
        if command is None:
            return None

        def on_answer(said: Unkilled | None, began: float, now: float) -> None:
            self._pace(said, now)
            if self._again(name, said):
                self._reconciler.names_to_kill.add(name)

        return Operation(on_answer, Unkilled, command, dialect.parse_kill)

    def _again(self, key: str, said: Unkilled | None) -> bool:
        """Tell whether to repeat a kill that no job keeps count of, by its name or id."""
        if said is None:
            self._refused.pop(key, None)
            return False
        self._refused[key] = self._refused.get(key, 0) + said.refused
        return self._refused[key] < self._reconciler.timeouts.tries

    def _pace(self, said: Unkilled | None, now: float) -> None:
        """Wait ever longer while kills do not arrive, or are refused."""
        if said is None:
            self._pause_s, self.problem = 0.0, ""
            return
        self._pause_s = min(max(2 * self._pause_s, LEAST_PAUSE_S), MOST_PAUSE_S)
        self._not_before = now + self._pause_s
        how = "was refused" if said.refused else "did not arrive"
        log.warning("%s: a kill %s: %s", self._reconciler.dialect.name, how, said.words)
        if not self.problem:
            self.since = now
        self.problem = said.words

    def _whole_arrays(self) -> dict[str, list[str]]:
        """Return the ids to kill and what they stand for: an array's own if all is wanted."""
        wanted, whole_id = self._reconciler.to_kill, self._reconciler.dialect.ids.submission_of
        spared: dict[str, int] = {}
        for native in self._reconciler.job_table.by_native:
            submission = whole_id(native)
            spared[submission] = spared.get(submission, 0) + (native not in wanted)
        found: dict[str, list[str]] = {}
        for native in wanted:
            submission = whole_id(native)
            whole = spared.get(submission, 1) == 0
            found.setdefault(submission if whole else native, []).append(native)
        return found
