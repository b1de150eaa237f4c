"""A thousand jobs alike, through an adapter of a real scheduler: how long, by how many commands.

Owns the counting of commands; must not know any scheduler. Read next: workflows.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from batchsystems import INDEX, BatchSystem, JobSpec, Reason
from batchsystems.transport import Command, Local, Ran
from tests.conformance import Watcher

MANY = 1000


class Counted(Local):
    """Counts commands."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def run(self, command: Command, timeout_s: float) -> Ran:
        self.log.append(command.argv[0])
        return super().run(command, timeout_s)


def assert_few_commands(make: Callable[[Local], BatchSystem], bare_s: float) -> None:
    """Fail unless a thousand jobs end well by a handful of commands.

    make: an adapter that runs its commands by this. bare_s: what the scheduler takes by itself.
    """
    counted = Counted()
    batch = make(counted)
    watcher = Watcher(batch)
    began = time.monotonic()
    jobs = batch.issueJobs([JobSpec("thousand", ("true", INDEX), index=i) for i in range(MANY)])
    ends = watcher.ends(jobs)
    took_s = time.monotonic() - began
    print(f"bare array {bare_s:.1f} s, adapter {took_s:.1f} s, commands {counted.log}")
    assert {end.reason for end in ends.values()} == {Reason.OK}
    assert len(counted.log) <= 6, "five where nothing else runs"
    batch.close()
