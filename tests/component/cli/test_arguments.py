"""The command line: its verbs, its mistakes, and how fast its help is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobtree import __version__
from jobtree.cli.arguments import VERBS, verb_parser
from jobtree.cli.main import main
from jobtree.options import OPTIONS

ROOT = Path(__file__).parents[3]


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_version(capsys: pytest.CaptureFixture[str]):
    assert said(capsys, "--version") == (0, f"jobtree {__version__}\n", "")


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]):
    status, out, _ = said(capsys, "--help")
    assert status == 0
    assert all(f"\n  {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(capsys: pytest.CaptureFixture[str], verb: str):
    status, out, _ = said(capsys, verb, "--help")
    assert status == 0
    assert f"jobtree {verb}" in out


def test_run_and_restart_take_every_option():
    for verb in ("run", "restart"):
        text = verb_parser(verb).format_help()
        assert all(f"--{option.name}" in text for option in OPTIONS)


def test_explain(capsys: pytest.CaptureFixture[str]):
    status, out, _ = said(capsys, "--explain", "JT301")
    assert status == 0
    assert "jobtree restart" in out


@pytest.mark.parametrize(
    ("line", "status", "expected"),
    [
        ([], 2, "usage: jobtree VERB"),
        (["stauts"], 2, "did you mean stats or status?"),
        (["flow.py", "--jobTree", "x"], 2, "python flow.py --jobTree DIR"),
        (["run", "--jobTree", "x"], 2, "--command"),
        (["run", "--command", "x JOB_FILE"], 2, "--jobTree DIR"),
        (["run", "--command", "echo hi", "--jobTree", "x"], 2, "'echo hi  # JOB_FILE'"),
        (
            ["run", "--command", "x", "--jobTree", "x", "--retrycount", "3"],
            2,
            "did you mean --retryCount?",
        ),
        (
            ["run", "--command", "JOB_FILE", "--jobTree", "x", "--retryCount", "many"],
            2,
            "it must be a whole number",
        ),
        (["run", "--command", "JOB_FILE", "--jobTree", "x", "--defaultMemory", "2X"], 2, "512M"),
        (["run", "--command", "x", "--jobTree", "x", "--retry", "3"], 2, "no option --retry"),
        (["run", "--command", "x", "--jobTree", "x", "y"], 2, "one argument too many"),
        (["run", "--command", "JOB_FILE", "--jobTree", "x", "--batchSystem", "slrum"], 4, "JT201"),
        (["restart", "nosuch"], 5, "not a job tree"),
        (["status"], 2, "-J DIR"),
        (["status", "a", "-J", "b"], 2, "two different trees"),
        (["logs", "first"], 2, "jobs are numbers"),
        (["logs"], 2, "JOB"),
        (["logs", "1", "--attempt", "x"], 2, "--attempt"),
        (["clean", "nosuch", "--yes"], 5, "not a job tree"),
        (["kill", "."], 5, "not a job tree"),
        (["--explain", "JT999"], 2, "no error code"),
    ],
)
def test_a_mistake_is_explained_without_a_traceback(
    capsys: pytest.CaptureFixture[str], line: list[str], status: int, expected: str
):
    got, out, err = said(capsys, *line)
    assert (got, out) == (status, "")
    assert expected in err
    assert "Traceback" not in err
    assert err.startswith("usage:" if not line else "error[JT")


def test_a_directory_in_the_place_of_a_verb(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "x.jt").mkdir()
    assert "jobtree status x.jt" in said(capsys, "x.jt")[2]


def test_clean_refuses_a_directory_that_is_no_tree(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1").touch()
    status, _, err = said(capsys, "clean", "thesis", "--yes")
    assert status == 5
    assert "JT305" in err
    assert (tmp_path / "thesis" / "chapter1").exists()


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]):
    _, _, err = said(capsys, "status", "nosuch", "--logLevel", "DEBUG")
    assert "Traceback" in err


def test_what_the_file_system_refuses_is_a_store_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    (tmp_path / "jobtree.json").touch()  # a marker, and nothing else of a tree
    status, _, err = said(capsys, "status")
    assert status == 5
    assert "error[JT318]" in err


def test_a_fault_of_its_own_is_not_taken_for_a_failed_job(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("jobtree.cli.reading.tree_of", lambda _: 1 // 0)
    status, _, err = said(capsys, "status")
    assert status == 70
    assert "ZeroDivisionError" in err


def test_help_loads_nothing_heavy():
    """The budget is 150 ms; what costs time is importing, so that is what is watched."""
    heavy = ["sqlite3", "rich", "psutil", "asyncio", "logging", "subprocess", "socket", "tempfile"]
    code = (
        "import sys; from jobtree.cli.main import main; main(['--help']); "
        f"print('heavy:', *(name for name in {heavy} if name in sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = ran.stdout.rpartition("heavy:")[2].split()
    assert loaded == []
