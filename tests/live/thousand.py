"""A thousand jobs alike, through an adapter of a real scheduler: how long, by how many commands.

Owns the counting of commands; must not know any scheduler. Read next: workflows.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil

from batchsystems import INDEX, BatchSystem, JobSpec, Reason
from batchsystems.conformance import Watcher
from batchsystems.transport.local import Command, CommandResult, Local

MANY = 1000

FIVE, FIVE_LAST_S, POLL_S = 5, 90.0, 30.0
"""A thousand like jobs take five commands, the submission and four looks; on a machine so busy that
they take longer than the first, one more look in each of the second, as where a site says nothing.
"""

UNEVEN = 2
"""Where other tests slow them down towards their end, as they are looked for when they should have
ended at the pace before. At an even pace there are no such looks: see commandfaults.py.
"""


def most_commands(took_s: float) -> int:
    """Return how many commands a thousand like jobs take at most, if they took so long."""
    return FIVE + ceil(max(0.0, took_s - FIVE_LAST_S) / POLL_S) + UNEVEN


class Counted(Local):
    """Counts commands."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def run(self, command: Command, timeout_s: float) -> CommandResult:
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
    assert len(counted.log) <= most_commands(took_s)
    batch.close()
