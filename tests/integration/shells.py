"""A user's shell: what tests of the command line type into, and what they wait for.

Owns the processes it starts, and ends them; must not know what a command should print.
Read next: test_cli_run.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 180.0


class Shell:
    """A user's shell in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        return self.python("-m", "jobtree", *arguments, **more)

    def python(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": -1, "stderr": -1} | more
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"},
            text=True,
            start_new_session=True,
            **pipes,
        )
        self._started.append(process)
        return process

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=LONGEST_S)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def status(self, tree: str) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self("status", tree, "--json").stdout)
        return said

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


def until(happened: Callable[[], object], what: str) -> None:
    end = time.monotonic() + LONGEST_S
    while not happened():
        assert time.monotonic() < end, f"it never came to this: {what}"
        time.sleep(0.02)


def start_long_run(jobtree: Shell, **more: Any) -> subprocess.Popen[str]:
    """Start a run whose one job sleeps until it is killed, and wait until it does."""
    command = "touch begun; exec sleep 1000 # JOB_FILE"
    process = jobtree.start("run", "--command", command, "--jobTree", "x.jt", **more)
    until((jobtree.directory / "begun").exists, "the job runs")
    return process
