"""Workflows in a zip application, and in a folder with a __main__: workers find their classes."""

from __future__ import annotations

import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

from tests.integration.shells import LONGEST_S

pytestmark = pytest.mark.usefixtures("no_stray_processes")

MAIN = """
import argparse, sys
import words
from jobtree import Stack, Target

class Say(Target):
    def run(self):
        print(words.HELLO, __name__)

class Root(Target):
    def run(self):
        for _ in range(2):
            self.addChildTarget(Say())

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    Stack.addJobTreeOptions(parser)
    sys.exit(Stack(Root()).startJobTree(parser.parse_args()) != 0)
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return the folder of an application."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "words.py").write_text("HELLO = 'hello'\n")
    (folder / "__main__.py").write_text(MAIN)
    return folder


def run(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *argv],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_its_classes_are_found(tmp_path: Path, app: Path, zipped: bool) -> None:
    name = "app"
    if zipped:
        name = "app.pyz"
        zipapp.create_archive(app, tmp_path / name)
        app.rename(tmp_path / "elsewhere")
    ran = run(name, "--jobTree", "tree", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "\nhello __main__\n" in run("-m", "jobtree", "logs", "2", "tree", cwd=tmp_path).stdout


def test_one_that_is_gone_is_told(tmp_path: Path, app: Path) -> None:
    main = app / "__main__.py"
    gone = 'import os; os.rename("app.pyz", "moved.pyz")\n        for _ in'
    main.write_text(MAIN.replace("for _ in", gone))
    zipapp.create_archive(app, tmp_path / "app.pyz")
    ran = run("app.pyz", "--jobTree", "tree", "--retryCount", "0", "--jobTime", "0", cwd=tmp_path)
    assert ran.returncode == 1
    assert "JT410" in ran.stderr
