"""Runs a command and accounts for every process it started, also those that left it.

What is counted: user and system time of the command and of all its descendants, as the kernel
adds it up when a process is waited for. This process is a subreaper, so that descendants whose
parents ended come to it and are waited for too. Not counted: a descendant whose living parent
ignores its end (SIGCHLD ignored), and what the kernel does for nobody in particular (writeback).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

LINGER_S = 30.0
"""How long descendants may outlive the command: what they still do is part of the price."""

_PR_SET_CHILD_SUBREAPER = 36


class Cost(NamedTuple):
    """What a run took. status: of the command itself, None if it was stopped at its limit."""

    wall_s: float
    cpu_s: float
    status: int | None


def run(argv: Sequence[str], cwd: str, env: Mapping[str, str], limit_s: float = 600.0) -> Cost:
    """Run a command to the end of its last descendant; what it prints goes to files in `cwd`."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(f"{cwd}/stdout", "wb") as out, open(f"{cwd}/stderr", "wb") as err:
        began = time.perf_counter()
        command = subprocess.Popen(
            argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        status: int | None
        try:
            status = command.wait(limit_s)
        except subprocess.TimeoutExpired:
            status = None
        wall_s = time.perf_counter() - began
    _end_all(0.0 if status is None else LINGER_S)
    command.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall_s, cpu_s, status)


def _end_all(patience_s: float) -> None:
    """Wait for all our descendants, and end those that take too long."""
    end = time.monotonic() + patience_s
    while _reap():
        if time.monotonic() > end:
            for pid in _children(os.getpid()):
                _end_tree(pid)
        time.sleep(0.01)


def _reap() -> bool:
    """Collect what has ended; tell whether anything is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _end_tree(pid: int) -> None:
    for child in _children(pid):
        _end_tree(child)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _children(parent: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found.append(int(entry))
    return found
