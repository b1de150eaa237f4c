"""Progress: the status file, the lines of a log, the block on a terminal, the last words."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import timeit
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobtree import options
from jobtree.attempts import State
from jobtree.errors import UsageError
from jobtree.job import Colour, Command, Kind, Requirements
from jobtree.live import Issue, Live
from jobtree.mailbox.results import Start
from jobtree.packing import Measured
from jobtree.report import block, console
from jobtree.report.plain import indented, one_line, printable
from jobtree.report.progress import Progress, logging_to, watching
from jobtree.report.snapshot import Slowest, read_status
from jobtree.rows import Record
from jobtree.store import Store
from jobtree.tree import Budgets, first_job

NOW = 1_763_802_842.0
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (debug|info|warning|error) ")


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def epoch(self) -> float:
        return NOW + self.time


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    command = Command(Kind.SHELL, "Sort", "sort", Requirements())
    root = first_job(1, 0, command, Budgets(0, 0))
    store = Store.create(f"{tmp_path}/tree.db", root, {"started": NOW, "options": "{}"})
    settings, _ = options.settle({})
    mailbox: Any = SimpleNamespace(running=lambda _: Start(1, 1, 0, 2.0))
    yield Live(str(tmp_path), store, mailbox, settings, 3, Clock(), {})
    store.close()


def paint(live: Live, colour: Colour) -> None:
    job = live.store.get(1)
    assert job is not None
    live.store.put(job, job._replace(colour=colour))
    live.store.commit()


def fail(live: Live, why: str = "exit status 1") -> None:
    live.store.record(Record(NOW, 1, 0, 1, "Sort", "failed", why=why))
    paint(live, Colour.RED)


def later(live: Live, seconds: float) -> None:
    clock = live.clock
    assert isinstance(clock, Clock)
    clock.time += seconds


def add_issue(live: Live, state: State) -> Issue:
    issue = Issue("s1", 0, "singleMachine", Requirements(), [(1, 1, 0)], NOW, live.clock.now())
    issue.state, issue.node, issue.started_at = state, "node007", live.clock.now()
    live.add_issue(issue)
    return issue


def status(live: Live) -> dict[str, Any]:
    said = read_status(live.directory)
    assert said is not None
    return said


# ---- the status file ---------------------------------------------------------------------


def test_the_status_file_has_its_versioned_form(live: Live):
    live.measured["Sort"] = Measured(1.5, 4)
    add_issue(live, State.RUNNING)
    paint(live, Colour.GREY)
    Progress(live, True).turn(live)
    said = status(live)
    assert said["format"] == 1
    assert (said["state"], said["epoch"], said["started"]) == ("running", 3, NOW)
    assert (said["done"], said["remaining"], said["issued"], said["running"]) == (0, 1, 1, 1)
    assert said["colours"] == {"white": 0, "grey": 1, "blue": 0, "black": 0, "red": 0}
    assert said["classes"] == {"Sort": {"done": 4, "mean_s": 1.5}}
    assert said["failures"] == []


def test_it_is_written_at_most_once_a_second_and_when_it_says_something_new(
    live: Live, mocker: Any
):
    written = mocker.spy(sys.modules["jobtree.report.snapshot"], "write_file")
    progress = Progress(live, True)
    for _ in range(5):
        progress.turn(live)
    assert written.call_count == 1
    later(live, 1.5)
    progress.turn(live)
    assert written.call_count == 1  # nothing new
    live.measured["Sort"] = Measured(1.0, 1)
    progress.turn(live)
    assert written.call_count == 1  # nothing due
    later(live, 1.5)
    progress.turn(live)
    assert written.call_count == 2
    later(live, 11)
    progress.turn(live)
    assert written.call_count == 3  # a sign of life


def test_failures_are_told_with_their_reason(live: Live):
    progress = Progress(live, True)
    progress.turn(live)
    fail(live)
    later(live, 2)
    progress.turn(live)
    assert status(live)["failures"] == [
        {"job": 1, "class": "Sort", "attempt": 0, "why": "exit status 1"}
    ]


def test_a_status_file_that_cannot_be_written_does_not_end_the_run(
    live: Live, caplog: pytest.LogCaptureFixture, mocker: Any
):
    mocker.patch("jobtree.report.snapshot.write_file", side_effect=OSError(28, "No space"))
    progress = Progress(live, True)
    for _ in range(3):
        progress.turn(live)
        later(live, 2)
    assert [r.message for r in caplog.records if "No space" in r.message] != []
    assert sum("No space" in r.message for r in caplog.records) == 1


def test_a_damaged_status_file_is_as_none(tmp_path: Path):
    assert read_status(str(tmp_path)) is None
    for text in ("{", "[]", '{"format": 2}'):
        (tmp_path / "status.json").write_text(text)
        assert read_status(str(tmp_path)) is None


# ---- cost --------------------------------------------------------------------------------


def test_a_turn_costs_next_to_nothing_while_nothing_is_due(live: Live):
    progress = Progress(live, True)
    progress.turn(live)
    costs_s = min(timeit.repeat(lambda: progress.turn(live), number=1000, repeat=5)) / 1000
    assert costs_s < 20e-6  # about 0.3 us; a machine that is busy gets some room


def test_dear_looks_are_rarer(live: Live, mocker: Any):
    progress = Progress(live, True)
    take = mocker.patch.object(progress._publisher, "take", side_effect=lambda *_: later(live, 1.0))
    mocker.patch.object(progress, "_publish")
    progress.turn(live)
    later(live, 15)
    progress.turn(live)
    assert take.call_count == 1
    later(live, 10)
    progress.turn(live)
    assert take.call_count == 2


# ---- lines -------------------------------------------------------------------------------


def test_progress_lines_are_spaced_more_widely_as_the_run_ages(
    live: Live, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "jobtree")
    progress = Progress(live, True)
    started = live.clock.now()
    told = []
    for _ in range(40_000):
        later(live, 2)
        caplog.clear()
        progress.turn(live)
        if any(r.message.startswith("progress ") for r in caplog.records):
            told.append(live.clock.now() - started)
    gaps = [b - a for a, b in pairwise(told)]
    assert told[0] >= 60
    assert min(gaps) >= 60
    assert gaps[-1] > 1000
    assert len(told) < 80


def test_a_progress_line_is_keys_and_values(live: Live, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "jobtree")
    progress = Progress(live, True)
    later(live, 61)
    progress.turn(live)
    (line,) = [r.message for r in caplog.records if r.message.startswith("progress")]
    assert line == "progress done=0 running=0 queued=0 ready=1 blocked=0 failed=0 elapsed_s=61"


def test_a_log_in_a_pipe_has_iso_times_and_no_colours(capsys: pytest.CaptureFixture[str]):
    with logging_to("INFO", ""):
        logging.getLogger("jobtree").error("failed job=%d: %s", 7, "\x1b[31mred\r\nforged line")
        logging.getLogger("jobtree").debug("not shown")
    first, second = capsys.readouterr().err.splitlines()
    assert LINE.match(first)
    assert first.endswith(r"error failed job=7: \x1b[31mred\r")
    assert second == "    forged line"


def test_the_log_file_gets_the_same_and_is_appended_to(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    path = tmp_path / "log"
    for _ in range(2):
        with logging_to("INFO", str(path)):
            logging.getLogger("jobtree").info("hello")
    assert path.read_text() == capsys.readouterr().err
    assert path.read_text().count(" info hello\n") == 2


def test_a_log_file_that_cannot_be_written_is_a_usage_error(tmp_path: Path):
    with pytest.raises(UsageError, match="logFile"), logging_to("INFO", f"{tmp_path}/no/log"):
        pass
    assert logging.getLogger("jobtree").handlers == []


def test_a_broken_log_ends_nothing(monkeypatch: pytest.MonkeyPatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with logging_to("INFO", ""):
        stream.close()
        logging.getLogger("jobtree").info("nobody hears this")


def test_logging_is_as_before_afterwards():
    log = logging.getLogger("jobtree")
    before = (log.level, log.propagate, list(log.handlers))
    with logging_to("DEBUG", ""):
        pass
    assert (log.level, log.propagate, list(log.handlers)) == before


# ---- last words --------------------------------------------------------------------------


def ended(live: Live, caplog: pytest.LogCaptureFixture) -> str:
    caplog.set_level(logging.INFO, "jobtree")
    with watching(live, True) as progress:
        progress.turn(live)
    return caplog.records[-1].message


def test_all_done(live: Live, caplog: pytest.LogCaptureFixture):
    paint(live, Colour.DEAD)
    assert ended(live, caplog).startswith("all done: 1 job in ")
    assert status(live)["state"] == "done"


def test_failed_jobs_are_named_with_what_to_do_now(live: Live, caplog: pytest.LogCaptureFixture):
    fail(live, "exit status 3\nsecond line")
    words = ended(live, caplog)
    assert words.startswith("1 job of 1 not done: 1 failed for good")
    assert "job 1 Sort: exit status 3 second line" in words
    assert f"jobtree logs 1 {live.directory}" in words
    assert f"jobtree restart {live.directory}" in words
    assert status(live)["state"] == "failed"


def test_leaving_tells_how_to_go_on(live: Live, caplog: pytest.LogCaptureFixture):
    add_issue(live, State.RUNNING)
    words = ended(live, caplog)
    assert "1 batch job may still run" in words
    assert f"jobtree restart {live.directory}" in words
    assert status(live)["state"] == "interrupted"


def test_an_error_leaves_word_that_the_run_was_interrupted(live: Live):
    with pytest.raises(RuntimeError), watching(live, True):
        raise RuntimeError
    assert status(live)["state"] == "interrupted"


def test_stats_are_printed_if_wanted(live: Live, capsys: pytest.CaptureFixture[str]):
    live.settings = live.settings._replace(stats=True)
    paint(live, Colour.DEAD)
    with watching(live, True):
        pass
    assert "memory max" in capsys.readouterr().err


# ---- the terminal ------------------------------------------------------------------------


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Tty:
    """Make stderr a terminal; inside a test, as pytest puts its own there before each phase."""
    stream = Tty()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


def test_a_terminal_gets_a_block_with_lines_above_it(live: Live, monkeypatch: pytest.MonkeyPatch):
    screen = terminal(monkeypatch)
    paint(live, Colour.GREY)
    add_issue(live, State.RUNNING)
    with logging_to("INFO", ""), watching(live, True) as progress:
        later(live, 5)
        progress.turn(live)
        logging.getLogger("jobtree").error("failed job=1: why [bold]not[/bold]")
    text = screen.getvalue()
    assert "running 1  queued 0" in text
    assert "job 1  node007  3.0s" in text
    assert "why [bold]not[/bold]" in text
    assert "go on:" in text


def test_progress_lines_are_not_repeated_on_a_terminal(
    live: Live, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    screen = terminal(monkeypatch)
    path = tmp_path / "log"
    with logging_to("INFO", str(path)), watching(live, True) as progress:
        later(live, 61)
        progress.turn(live)
    assert "progress done=" not in screen.getvalue()
    assert "progress done=" in path.read_text()
    assert "\x1b" not in path.read_text()


@pytest.mark.parametrize("wanted", [True, False])
def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch, wanted: bool):
    screen = terminal(monkeypatch)
    if not wanted:
        monkeypatch.setenv("NO_COLOR", "1")
    with logging_to("INFO", ""):
        logging.getLogger("jobtree").error("plain")
    assert ("31mplain" in screen.getvalue()) == wanted


def test_a_dumb_terminal_is_none(monkeypatch: pytest.MonkeyPatch):
    terminal(monkeypatch)
    assert console.is_terminal()
    monkeypatch.setenv("TERM", "dumb")
    assert not console.is_terminal()


def test_the_block_fits_its_rows_and_says_known(live: Live):
    snapshot = {
        "tree": "/x/align.jt",
        "batch_system": "slurm",
        "done": 312,
        "remaining": 417,
        "running": 64,
        "colours": {"white": 4, "grey": 182, "blue": 230, "black": 0, "red": 1},
        "classes": {f"Class{n}": {"done": n, "mean_s": 1.0} for n in range(100)},
    }
    text = block.render(snapshot, 6130.0, {"Class3": Slowest(17, "node031", 1320.0)}, 6).plain
    lines = text.splitlines()
    assert lines[0] == "align.jt  slurm   elapsed 1h42m"
    assert "done 312  running 64  queued 118  ready 4  blocked 230  failed 1" in lines[1]
    assert "312 of 729 jobs known" in lines[2]
    assert len(lines) == 3 + 6
    assert "job 17  node031  22m00s" in text


# ---- harmless text -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("über", "über"),
        ("\u202eevil", r"\u202eevil"),
        ("a\rb", r"a\rb"),
        ("\x9b31m", r"\x9b31m"),
    ],
)
def test_text_that_a_terminal_would_act_upon_is_escaped(text: str, shown: str):
    assert printable(text) == shown


def test_no_text_can_pass_for_a_line_of_the_log():
    forged = indented("x\n2026-01-01T00:00:00Z info all done")
    assert [bool(LINE.match(line)) for line in forged.splitlines()] == [False, False]
    assert one_line("a\nb" * 200, 20) == "a ba ba ba ba ba ..."


def test_json_of_the_status_is_one_line(live: Live):
    Progress(live, True).turn(live)
    text = Path(live.directory, "status.json").read_text()
    assert text.count("\n") == 1
    json.loads(text)
