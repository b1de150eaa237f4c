"""Targets that change their process, or leave something at work in it, for workers under test.

Owns the misdeeds; must not check anything. Read next: test_process.py.
"""

from __future__ import annotations

import _locale
import decimal
import gc
import locale
import multiprocessing
import os
import random
import resource
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path

from jobtree import Target
from jobtree.payload.context import ThisProcess
from tests.component.worker.worker_targets import Call

if (
    ThisProcess.in_worker
):  # what a module sets when it is imported stands, as long as the process does
    sys.setrecursionlimit(2345)
    warnings.simplefilter("error", FutureWarning)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    decimal.getcontext().prec = 11

variable: ContextVar[str] = ContextVar("variable", default="as it was")
kept: list[object] = []


class Do(Target):
    """Calls a function of this module by name."""

    def __init__(self, name: str, *args: object) -> None:
        super().__init__()
        self.name, self.args = name, args

    def run(self) -> None:
        function: Callable[..., None] = globals()[self.name]
        function(self, *self.args)


def change(target: Target) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, resource.getrlimit(7)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    gc.disable()
    gc.set_threshold(1, 2, 3)
    warnings.simplefilter("error")
    decimal.getcontext().prec = 3
    decimal.getcontext().traps[decimal.Inexact] = True
    socket.setdefaulttimeout(0.001)
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    sys.setrecursionlimit(1111)
    sys.setswitchinterval(1)
    sys.excepthook = print
    variable.set("changed")
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    random.seed(1)
    os.setpgid(0, 0)


def change_one_locale(target: Target) -> None:
    locale.setlocale(locale.LC_TIME, "C.UTF-8")


def look(target: Target) -> None:
    print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE))
    print(resource.getrlimit(resource.RLIMIT_STACK))
    print(sorted(os.sched_getaffinity(0)), gc.isenabled(), gc.get_threshold())
    print(warnings.filters, decimal.getcontext(), socket.getdefaulttimeout())
    print(_locale.setlocale(_locale.LC_ALL), sys.getrecursionlimit(), sys.getswitchinterval())
    print(sys.excepthook, variable.get(), os.getpriority(os.PRIO_PROCESS, 0), os.getpgrp())


def seed(target: Target) -> None:
    random.seed(1)


def draw(target: Target) -> None:
    print(random.getrandbits(64))


def be_nice(target: Target) -> None:
    os.nice(3)


def lower_hard_limit(target: Target) -> None:
    resource.setrlimit(resource.RLIMIT_STACK, (4_000_000, 4_000_000))


def leave_session(target: Target) -> None:
    os.setsid()


def change_root(target: Target) -> None:
    os.chroot("/usr")


def change_user(target: Target) -> None:
    os.setresuid(65534, 65534, 0)


def after_change(target: Target) -> None:
    print("after")


# ---- left at work ------------------------------------------------------------------------


def write_late(path: str) -> None:
    time.sleep(0.5)
    with open(path, "a") as file:
        file.write("x")


def leave_thread(target: Target, path: str, daemon: bool = False) -> None:
    threading.Thread(target=write_late, args=(path,), daemon=daemon, name="late").start()


def leave_thread_and_fail(target: Target, path: str) -> None:
    leave_thread(target, path)
    raise ValueError("no good")


def leave_child_adder(target: Target) -> None:
    def add() -> None:
        time.sleep(0.3)
        target.addChildTarget(Call("nothing"))
        target.addChildTarget(Call("nothing"))

    threading.Thread(target=add).start()


def leave_chain_of_threads(target: Target, path: str, length: int = 3) -> None:
    def work(left: int) -> None:
        time.sleep(0.05)
        if left:
            threading.Thread(target=work, args=(left - 1,)).start()
        else:
            Path(path).write_text("x")

    threading.Thread(target=work, args=(length,)).start()


def leave_executor(target: Target, kind: str, path: str, hold: bool) -> None:
    """Submit and return, as if submitting were doing; hold: as a module does that keeps a pool."""
    executor: Executor
    if kind == "threads":
        executor = ThreadPoolExecutor(2)
    else:
        executor = ProcessPoolExecutor(2, multiprocessing.get_context("fork"))
    for _ in range(4):
        executor.submit(write_late, path)
    if hold:
        kept.append(executor)


def leave_process(target: Target, path: str) -> None:
    multiprocessing.get_context("fork").Process(target=write_late, args=(path,)).start()


def read(target: Target, path: str) -> None:
    print("read", Path(path).read_text())
