"""In which order a worker gets its pack: what wants an unused process comes first."""

from __future__ import annotations

import pytest

from jobtree.core.job import Colour, Command, CommandKind, Job, Requirements
from jobtree.master.dispatch import _runs_in_the_worker


def job(number: int, kind: str, command: bool = False, retried: bool = False) -> Job:
    top = Command(kind, "x", "x", Requirements(), None, command)
    return Job(number, 0, Colour.WHITE, (top,), 0, 0, 0, 0, 1, 1, 0, 0.0, retried, False)


@pytest.mark.parametrize("wants", [{"command": True}, {"retried": True}])
def test_packs_begin_with_what_leaves_the_worker_unused(wants: dict[str, bool]) -> None:
    pack = [
        job(1, CommandKind.TARGET),
        job(2, CommandKind.SHELL),
        job(3, CommandKind.TARGET, **wants),
    ]
    pack += [job(4, CommandKind.TARGET), job(5, CommandKind.PROTOCOL)]
    pack.sort(key=_runs_in_the_worker)
    assert [each.id for each in pack] == [2, 3, 5, 1, 4]
