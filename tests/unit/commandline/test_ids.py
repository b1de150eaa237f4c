"""Ids of array tasks, as data tells their form."""

from __future__ import annotations

import pytest

from batchsystems.commandline.ids import IdFormat

SLURM = IdFormat("_", first_task=0)
LSF = IdFormat("[", first_task=1, task_end="]")
PBS = IdFormat("[", first_task=0, task_end="]", submission=r"\d{1,12}[.\w]*")


@pytest.mark.parametrize(
    ("ids", "native", "submission", "task"),
    [
        (SLURM, "12", "12", None),
        (SLURM, "12_0", "12", 0),
        (LSF, "12[1]", "12", 0),
        (LSF, "12[30]", "12", 29),
        (PBS, "12.server", "12.server", None),
    ],
)
def test_an_id_is_split_and_joined(ids: IdFormat, native: str, submission: str, task: int | None):
    assert ids.split(native) == (submission, task)
    assert ids.submission_of(native) == submission
    if task is not None:
        assert ids.join(submission, task) == native


@pytest.mark.parametrize("text", ["", "x", "12_", "_3", "12[0]", "12[1", "12[1]x", "12[-1]", "1 2"])
def test_what_is_no_id_is_not_split(text: str):
    assert LSF.split(text) is None
    assert LSF.submission_of(text) == text
