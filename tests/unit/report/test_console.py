"""The console: the log in a pipe and in a file, the block on a terminal, text made harmless.

Owns how things are shown; must not know when they are told. Read next: test_progress.py.
"""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobtree.core.issue_states import State
from jobtree.core.job import Colour
from jobtree.errors import UsageError
from jobtree.master.run_state import RunState
from jobtree.report import block, console
from jobtree.report.plain import indented, one_line, printable
from jobtree.report.progress import logging_to, watching
from jobtree.report.snapshot import Slowest
from tests.unit.master.runs import add_issue, later, living, ours, paint

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (debug|info|warning|error) ")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunState]:
    with living(tmp_path) as made:
        yield made


# ---- the log -----------------------------------------------------------------------------


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


def test_a_terminal_gets_a_block_with_lines_above_it(
    run: RunState, monkeypatch: pytest.MonkeyPatch
):
    screen = terminal(monkeypatch)
    paint(run, Colour.GREY)
    add_issue(run, State.RUNNING)
    with logging_to("INFO", ""), watching(run, True, ours) as progress:
        later(run, 5)
        progress.turn(run)
        logging.getLogger("jobtree").error("failed job=1: why [bold]not[/bold]")
    text = screen.getvalue()
    assert "running 1  queued 0" in text
    assert "job 1  node007  3.0s" in text
    assert "why [bold]not[/bold]" in text
    assert "go on:" in text


def test_progress_lines_are_not_repeated_on_a_terminal(
    run: RunState, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    screen = terminal(monkeypatch)
    path = tmp_path / "log"
    with logging_to("INFO", str(path)), watching(run, True, ours) as progress:
        later(run, 61)
        progress.turn(run)
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


def test_the_block_fits_its_rows_and_says_known(run: RunState):
    snapshot = {
        "tree": "/x/align.jt",
        "batch_system": "slurm",
        "state": "running",
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
