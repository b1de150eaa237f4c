"""Terminals and locales that lack letters: every verb tells its answer, with escapes.

cron has the C locale, old terminals ISO-8859-1; classes, errors and paths have any letters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.shells import LONGEST_S

pytestmark = pytest.mark.usefixtures("no_stray_processes")

SCRIPT = """
import argparse, sys
from jobtree import Stack, Target

class Été(Target):
    def run(self):
        print("où", sys.stdout.encoding)
        if self.number == 1:
            raise ValueError("œuf\\nλ")

class Root(Target):
    def run(self):
        for number in range(2):
            child = Été()
            child.number = number
            self.addChildTarget(child)
        self.addChildCommand("printf 'çà ł\\n'")

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    Stack.addJobTreeOptions(parser)
    sys.exit(Stack(Root()).startJobTree(parser.parse_args()) != 0)
"""

ASCII = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "NAME": "J\u00f6rg"}
LATIN = {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "iso-8859-1"}
UTF8 = {"LC_ALL": "C.UTF-8"}
ENCODINGS = {"ascii": ASCII, "latin-1": LATIN, "utf-8": UTF8}


class Terminal:
    """Runs commands in one encoding, in a directory of another."""

    def __init__(self, home: Path, master: str, asker: str) -> None:
        self.home = home / "d\u00e9p\u00f4t \u0142"
        self.home.mkdir()
        (self.home / "\u00e9tude.py").write_text(SCRIPT, encoding="utf-8")
        self._master, self._asker = ENCODINGS[master], ENCODINGS[asker]

    def master(self) -> subprocess.CompletedProcess[bytes]:
        argv = [
            sys.executable,
            "\u00e9tude.py",
            "--jobTree",
            "\u00e9t\u00e9.jt",
            "--retryCount",
            "0",
        ]
        return self._run(argv, self._master)

    def ask(self, *argv: str) -> subprocess.CompletedProcess[bytes]:
        ran = self._run([sys.executable, "-m", "jobtree", *argv], self._asker)
        for said in (ran.stdout, ran.stderr):
            assert b"JT000" not in said, said.decode(errors="replace")
        return ran

    def _run(self, argv: list[str], given: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHON"))}
        return subprocess.run(
            argv,
            cwd=self.home,
            env=kept | given,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LONGEST_S,
            check=False,
        )


@pytest.mark.parametrize(
    ("master", "asker"),
    [("utf-8", "ascii"), ("utf-8", "latin-1"), ("ascii", "utf-8"), ("ascii", "ascii")],
)
def test_every_verb_tells_its_answer(tmp_path: Path, master: str, asker: str) -> None:
    terminal = Terminal(tmp_path, master, asker)
    ran = terminal.master()
    assert ran.returncode == 1, ran.stderr.decode(errors="replace")
    assert (rb"\u0153uf" if master == "ascii" else "œuf λ".encode()) in ran.stderr
    status = terminal.ask("status")
    assert status.returncode == 0
    assert status.stdout.count(b": ValueError: ") == 1
    failed = json.loads(terminal.ask("status", "--json").stdout)["failures"]
    assert [entry["why"] for entry in failed] == ["ValueError: \u0153uf \u03bb"]
    logs = terminal.ask("logs", str(failed[0]["job"]))
    assert b"utf-8" in logs.stdout, "what the step printed is found"
    assert logs.stdout.count(b"Traceback") == 1
    for verb in (["stats"], ["nodes"], ["kill"]):
        assert terminal.ask(*verb).returncode == 0
    assert terminal.ask("logs", "99").returncode == 2
    assert terminal.ask("clean", "--yes").returncode == 0
    assert not (terminal.home / "\u00e9t\u00e9.jt").exists()


def test_a_path_too_long_for_the_database_is_said(tmp_path: Path) -> None:
    deep = tmp_path
    while len(str(deep)) < 500:
        deep = deep / ("d" * 50)
    argv = ["run", "--command", "true # JOB_FILE", "--jobTree", f"{deep}/tree"]
    ran = subprocess.run(
        [sys.executable, "-m", "jobtree", *argv],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert ran.returncode == 5, ran.stderr
    assert "error[JT309]" in ran.stderr
    assert "too long" in ran.stderr
    assert not deep.exists()


def test_a_path_as_long_as_may_be_works(tmp_path: Path) -> None:
    deep = tmp_path
    while len(str(deep)) < 350:
        deep = deep / ("d" * 20)
    argv = ["run", "--command", "true # JOB_FILE", "--jobTree", f"{deep}/tree"]
    subprocess.run([sys.executable, "-m", "jobtree", *argv], timeout=LONGEST_S, check=True)
    moved = f"{deep}/{'t' * 60}"
    os.rename(f"{deep}/tree", moved)
    ran = subprocess.run(
        [sys.executable, "-m", "jobtree", "status", moved],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=True,
    )
    assert "done 1" in ran.stdout
