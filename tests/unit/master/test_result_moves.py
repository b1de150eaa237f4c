"""Moving published outputs: whose fault a failure is."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobtree.core import job_states
from jobtree.core.job import Colour, Command, CommandKind, Job, Requirements
from jobtree.mailbox.results import Done, LogRange, Usage
from jobtree.master.result_events import make_moves

BUDGETS = job_states.Budgets(1, 1)
LINE = Done(
    1, 1_000_001, 0, Usage(0.1, 0.1, None), 0, [], -1, None, False, [], [["a", "b"]],
    LogRange(0, 0), False, "",
)  # fmt: skip


class OneJob:
    """A run of one black job, whose moves end as told."""

    def __init__(self, error: OSError | None) -> None:
        command = Command(CommandKind.SHELL, "echo", "echo", Requirements())
        first = job_states.first_job(1, 0, command, BUDGETS)
        self.job: Job = first._replace(colour=Colour.BLACK, attempt=1_000_001)
        self.error, self.moves = error, {1: "issue"}
        self.directory = "tree"
        self.mailbox = self.store = SimpleNamespace(move=self.move, get=lambda _: self.job)

    def move(self, source: str, destination: str) -> None:
        if self.error is not None:
            raise self.error

    def apply(self, job: Job, event: job_states.Event, children: Any = None) -> Job:
        self.job = job_states.step(job, event, BUDGETS).job
        return self.job

    def end_move(self, job_id: int) -> None:
        self.moves.pop(job_id)

    def record(self, *_: Any, **__: Any) -> None:
        pass


def moved(error: OSError | None) -> Job:
    run = OneJob(error)
    make_moves(run, 1, "issue", LINE)  # type: ignore[arg-type]
    return run.job


def test_a_move_that_succeeds_takes_the_job_on() -> None:
    assert moved(None).colour == Colour.DEAD


def test_a_destination_that_cannot_be_is_the_steps_fault() -> None:
    failed = moved(OSError(errno.ENOTDIR, "not a directory"))
    assert (failed.colour, failed.retries) == (Colour.WHITE, 0)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.ESTALE])
def test_a_file_system_that_fails_is_nobodys_fault(number: int, tmp_path: Path) -> None:
    run = OneJob(OSError(number, "the file system fails"))
    with pytest.raises(OSError, match="file system fails"):
        make_moves(run, 1, "issue", LINE)  # type: ignore[arg-type]
    assert (run.job.colour, run.moves) == (Colour.BLACK, {1: "issue"})
