"""Small workflows written by a test, and run as a user would run them.

Owns the script's frame, the processes, and a flow that fails until it is mended; must not know
what a test looks for.
Read next: test_faults.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 300.0

HEAD = """
import argparse, os, sys, time
from jobtree import Stack, Target
def note(path, text):
    with open(path, "a") as file:
        file.write(text + "\\n")
"""

TAIL = """
if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    Stack.addJobTreeOptions(parser)
    sys.exit(min(1, Stack(Root()).startJobTree(parser.parse_args())))
"""

FAILS_UNLESS = """
class Root(Target):
    def run(self):
        self.addChildTarget(Good())
        self.addChildTarget(Bad())
class Good(Target):
    def run(self):
        note("good", "x")
class Bad(Target):
    def run(self):
        note("bad", "x")
        if not os.path.exists("mended"):
            raise ValueError("the reason")
"""


class Workflow:
    """A script in a directory of its own, run as a user would run it."""

    def __init__(self, home: Path) -> None:
        self.home, self.script, self.tree = home, home / "flow.py", home / "tree"

    def write(self, body: str, tail: str = TAIL) -> None:
        self.script.write_text(HEAD + body + tail)

    def run(self, *options: str, code: int | None = 0, **kwargs: object) -> str:
        command = [sys.executable, str(self.script), "--jobTree", str(self.tree), *options]
        return self._run(command, code, **kwargs)

    def restart(self, *options: str, code: int | None = 0) -> str:
        return self.command("restart", str(self.tree), *options, code=code)

    def command(self, *words: str, code: int | None = 0, **kwargs: object) -> str:
        return self._run([sys.executable, "-m", "jobtree", *words], code, **kwargs)

    def _run(self, command: list[str], code: int | None, **kwargs: object) -> str:
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command,
            cwd=self.home,
            env=env,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
            **kwargs,  # type: ignore[call-overload]
        )
        said: str = done.stdout + done.stderr
        if code is not None:
            assert done.returncode == code, said
        return said

    def lines(self, name: str) -> list[str]:
        path = self.home / name
        return path.read_text().split() if path.exists() else []


def no_traceback(said: str) -> bool:
    return "Traceback (most recent call last)" not in said
