"""Progress: the status file, what looking costs, the lines of a log, the last words.

Owns what is told and when; must not know how it is shown. Read next: test_console.py.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import timeit
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from batchsystems.conformance import sh, wait_for
from jobtree.cli import render
from jobtree.core.issue_states import State
from jobtree.core.job import Colour
from jobtree.core.packing import Measured
from jobtree.master.run_state import RunState
from jobtree.report.plain import clock_time
from jobtree.report.progress import Progress, watching
from jobtree.report.snapshot import read_status
from tests.unit.master.runs import NOW, add_issue, fail, later, living, ours, paint
from tests.unit.slurm.fake import FakeSlurm, quick, use


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return use(monkeypatch, tmp_path / "slurm")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunState]:
    with living(tmp_path) as made:
        yield made


def status(run: RunState) -> dict[str, Any]:
    said = read_status(run.directory)
    assert said is not None
    return said


# ---- the status file ---------------------------------------------------------------------


def test_the_status_file_has_its_versioned_form(run: RunState):
    run.measured["Sort"] = Measured(1.5, 4)
    add_issue(run, State.RUNNING)
    paint(run, Colour.GREY)
    Progress(run, True, ours).turn(run)
    said = status(run)
    assert said["format"] == 1
    assert (said["state"], said["epoch"], said["started"]) == ("running", 3, NOW)
    assert (said["done"], said["remaining"], said["issued"], said["running"]) == (0, 1, 1, 1)
    assert said["colours"] == {"white": 0, "grey": 1, "blue": 0, "black": 0, "red": 0}
    assert said["classes"] == {"Sort": {"done": 4, "mean_s": 1.5}}
    assert said["failures"] == []


def test_it_says_since_when_a_batch_system_gave_no_complete_answer(run: RunState, slurm: FakeSlurm):
    """And what else holds jobs up: a real adapter over a scheduler that prints half a line."""
    slurm.fault("squeue", "truncate", times=-1, bytes=30)
    with closing(quick()) as system:
        system.issueJob(sh("exit 0"))
        run.systems["slurm"] = system
        progress = Progress(run, True, ours)
        wait_for(system.troubles, "a trouble")
        progress.turn(run)
        (told,) = status(run)["troubles"]
    assert told["batch_system"] == "slurm"
    assert "squeue's answer is not whole" in told["what"]
    line = next(each for each in render.status(status(run)).splitlines() if ", since " in each)
    at = clock_time(told["since"])
    assert line.startswith(f"  slurm, since {at}: no complete answer (")


def test_a_time_is_told_as_a_clock_shows_it_with_the_date_if_it_is_not_today_s():
    now = time.time()
    assert clock_time(now - 3 * 86400) == time.strftime(
        "%Y-%m-%d %H:%M", time.localtime(now - 3 * 86400)
    )
    assert len(clock_time(now)) == 5


def test_it_is_written_at_most_once_a_second_and_when_it_says_something_new(
    run: RunState, mocker: Any
):
    written = mocker.spy(sys.modules["jobtree.report.snapshot"], "write_file")
    progress = Progress(run, True, ours)
    for _ in range(5):
        progress.turn(run)
    assert written.call_count == 1
    later(run, 1.5)
    progress.turn(run)
    assert written.call_count == 1  # nothing new
    run.measured["Sort"] = Measured(1.0, 1)
    progress.turn(run)
    assert written.call_count == 1  # nothing due
    later(run, 1.5)
    progress.turn(run)
    assert written.call_count == 2
    later(run, 11)
    progress.turn(run)
    assert written.call_count == 3  # a sign of life


def test_it_is_another_masters_once_that_has_the_tree(run: RunState, tmp_path: Path):
    """Also for one that slept while it wrote."""
    taken = False
    with watching(run, True, lambda: not taken) as progress:
        progress.turn(run)
        taken = True
        (tmp_path / "status.json").write_text('{"format": 1, "epoch": 4}')
        fail(run)
        later(run, 2)
        progress.turn(run)
    assert status(run) == {"format": 1, "epoch": 4}
    assert not list(tmp_path.glob("status.json~*"))


def test_failures_are_told_with_their_reason(run: RunState):
    progress = Progress(run, True, ours)
    progress.turn(run)
    fail(run)
    later(run, 2)
    progress.turn(run)
    assert status(run)["failures"] == [
        {"job": 1, "class": "Sort", "attempt": 0, "why": "exit status 1"}
    ]


def test_a_status_file_that_cannot_be_written_does_not_end_the_run(
    run: RunState, caplog: pytest.LogCaptureFixture, mocker: Any
):
    mocker.patch("jobtree.report.snapshot.write_file", side_effect=OSError(28, "No space"))
    progress = Progress(run, True, ours)
    for _ in range(3):
        progress.turn(run)
        later(run, 2)
    assert [r.message for r in caplog.records if "No space" in r.message] != []
    assert sum("No space" in r.message for r in caplog.records) == 1


def test_a_damaged_status_file_is_as_none(tmp_path: Path):
    assert read_status(str(tmp_path)) is None
    for text in ("{", "[]", '{"format": 2}'):
        (tmp_path / "status.json").write_text(text)
        assert read_status(str(tmp_path)) is None


def test_json_of_the_status_is_one_line(run: RunState):
    Progress(run, True, ours).turn(run)
    text = Path(run.directory, "status.json").read_text()
    assert text.count("\n") == 1
    json.loads(text)


# ---- cost --------------------------------------------------------------------------------


def test_a_turn_costs_next_to_nothing_while_nothing_is_due(run: RunState):
    progress = Progress(run, True, ours)
    progress.turn(run)
    costs_s = min(timeit.repeat(lambda: progress.turn(run), number=1000, repeat=5)) / 1000
    assert costs_s < 20e-6  # about 0.3 us; a machine that is busy gets some room


def test_dear_looks_are_rarer(run: RunState, mocker: Any):
    progress = Progress(run, True, ours)
    take = mocker.patch.object(progress._publisher, "take", side_effect=lambda *_: later(run, 1.0))
    mocker.patch.object(progress, "_publish")
    progress.turn(run)
    later(run, 15)
    progress.turn(run)
    assert take.call_count == 1
    later(run, 10)
    progress.turn(run)
    assert take.call_count == 2


# ---- lines -------------------------------------------------------------------------------


def test_progress_lines_are_spaced_more_widely_as_the_run_ages(
    run: RunState, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "jobtree")
    progress = Progress(run, True, ours)
    started = run.clock.now()
    told = []
    for _ in range(40_000):
        later(run, 2)
        caplog.clear()
        progress.turn(run)
        if any(r.message.startswith("progress ") for r in caplog.records):
            told.append(run.clock.now() - started)
    gaps = [b - a for a, b in pairwise(told)]
    assert told[0] >= 60
    assert min(gaps) >= 60
    assert gaps[-1] > 1000
    assert len(told) < 80


def test_a_progress_line_is_keys_and_values(run: RunState, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "jobtree")
    progress = Progress(run, True, ours)
    later(run, 61)
    progress.turn(run)
    (line,) = [r.message for r in caplog.records if r.message.startswith("progress")]
    assert line == "progress done=0 running=0 queued=0 ready=1 blocked=0 failed=0 elapsed_s=61"


# ---- last words --------------------------------------------------------------------------


def ended(run: RunState, caplog: pytest.LogCaptureFixture) -> str:
    caplog.set_level(logging.INFO, "jobtree")
    with watching(run, True, ours) as progress:
        progress.turn(run)
    return caplog.records[-1].message


def test_all_done(run: RunState, caplog: pytest.LogCaptureFixture):
    paint(run, Colour.DEAD)
    assert ended(run, caplog).startswith("all done: 1 job in ")
    assert status(run)["state"] == "done"


def test_failed_jobs_are_named_with_what_to_do_now(run: RunState, caplog: pytest.LogCaptureFixture):
    fail(run, "exit status 3\nsecond line")
    words = ended(run, caplog)
    assert words.startswith("1 job of 1 not done: 1 failed for good")
    assert "job 1 Sort: exit status 3 second line" in words
    assert f"jobtree logs 1 {run.directory}" in words
    assert f"jobtree restart {run.directory}" in words
    assert status(run)["state"] == "failed"


def test_leaving_tells_how_to_go_on(run: RunState, caplog: pytest.LogCaptureFixture):
    add_issue(run, State.RUNNING)
    words = ended(run, caplog)
    assert "1 batch job may still run" in words
    assert f"jobtree restart {run.directory}" in words
    assert status(run)["state"] == "interrupted"


def test_an_error_leaves_word_that_the_run_was_interrupted(run: RunState):
    with pytest.raises(RuntimeError), watching(run, True, ours):
        raise RuntimeError
    assert status(run)["state"] == "interrupted"


def test_stats_are_printed_if_wanted(run: RunState, capsys: pytest.CaptureFixture[str]):
    run.settings = run.settings._replace(stats=True)
    paint(run, Colour.DEAD)
    with watching(run, True, ours):
        pass
    assert "memory max" in capsys.readouterr().err
