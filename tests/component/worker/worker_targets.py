"""Targets of every kind of behaviour, for workers under test to run.

Owns the misdeeds; must not check anything. Read next: workers.py.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from jobtree import Target


class Call(Target):
    """Runs a function of its class's module by name, with arguments: fn(target, *args)."""

    def __init__(self, name: str, *args: Any, **wants: Any) -> None:
        super().__init__(**wants)
        self.name, self.args = name, args

    def run(self) -> None:
        function: Callable[..., None] = getattr(sys.modules[type(self).__module__], self.name)
        return function(self, *self.args)


def nothing(target: Target) -> None:
    """Do nothing."""


def say(target: Target, words: str) -> None:
    print(words)


def fail(target: Target, words: str = "no good") -> None:
    raise ValueError(words)


def execute(target: Target, source: str) -> None:
    exec(source, {})


def leave(target: Target, code: str | int | None) -> None:
    sys.exit(code)


def children(target: Target, count: int) -> None:
    for number in range(count):
        target.addChildTarget(Call("say", f"child {number}"))


def chain(target: Target, length: int) -> None:
    print("link", length)
    if length:
        target.addChildTarget(Call("chain", length - 1))


def child_and_follow_on(target: Target) -> None:
    target.addChildTarget(Call("say", "child"))
    target.setFollowOnTarget(Call("say", "follow-on"))


def hungry_follow_on(target: Target, wants: dict[str, Any]) -> None:
    target.setFollowOnTarget(Call("say", "follow-on", **wants))


def children_then_fail(target: Target) -> None:
    target.addChildTarget(Call("nothing"))
    target.logToMaster("before the end")
    raise RuntimeError("after the children")


def segfault(target: Target) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def exit_process(target: Target, status: int) -> None:
    print("bye")
    os._exit(status)


def leave_thread(target: Target) -> None:
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


def use_thread(target: Target) -> None:
    thread = threading.Thread(target=print, args=("from a thread",))
    thread.start()
    thread.join()


def flood(target: Target, piece: int, pieces: int) -> None:
    """Print much, and wait after each piece until it takes no more space than its ends."""
    print("head", flush=True)
    log = os.dup(1)
    for _ in range(pieces):
        os.write(1, b"x" * piece)
        end = time.monotonic() + 60.0
        while os.fstat(log).st_blocks * 512 > piece // 4:
            if time.monotonic() > end:
                raise TimeoutError(f"{os.fstat(log).st_blocks * 512} bytes still")
            time.sleep(0.05)
    os.close(log)
    print("tail")


def start_session(target: Target, path: str) -> None:
    """Start a process in a session of its own, and wait for ever."""
    subprocess.Popen(["sleep", "3600"], start_new_session=True)
    Path(path).touch()
    time.sleep(3600)


def remove(target: Target, path: str) -> None:
    """Remove all that lies in a directory."""
    for entry in os.scandir(path):
        shutil.rmtree(entry.path)


def pollute(target: Target) -> None:
    os.chdir("/")
    os.umask(0o777)
    os.environ["POLLUTED"] = "yes"
    os.environ.pop("HOME", None)
    os.environ = {}  # type: ignore[assignment]  # noqa: B003
    sys.path.clear()
    sys.argv.append("polluted")
    sys.setrecursionlimit(77)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    signal.alarm(1)
    sys.stdout.close()
    sys.stdout = None
    os.close(2)


def look_around(target: Target) -> None:
    umask = os.umask(0)
    os.umask(umask)
    print(os.getcwd(), oct(umask), os.environ.get("POLLUTED"), "HOME" in os.environ)
    print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, sys.argv[1:], len(sys.path) > 1)
    print(signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL)
    print(signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.alarm(0), sys.getrecursionlimit())
    print("on stderr", file=sys.stderr)


def close_everything(target: Target) -> None:
    os.closerange(3, 4096)
    for _ in range(40):  # the numbers are taken again
        os.open("/dev/null", os.O_RDWR)
    print("all closed")


def close_range(target: Target, low: int, high: int) -> None:
    """Close as those do who think that all descriptors are theirs, and go on working."""
    os.closerange(low, high)
    target.addChildTarget(Call("nothing"))
    target.addChildTarget(Call("nothing"))
    target.logToMaster("closed")


def remove_and_close(target: Target, path: str) -> None:
    os.unlink(path)
    os.closerange(0, 4096)


def take_numbers(target: Target, path: str) -> None:
    """Have a file of one's own under every number that was open, and keep it."""
    mine = os.open(path, os.O_RDWR | os.O_CREAT)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != mine:
            os.dup2(mine, int(name))
    os.write(mine, b"mine")
    target.addChildTarget(Call("nothing"))
    target.addChildTarget(Call("nothing"))


def print_bytes(target: Target, size: int) -> None:
    print("head")
    line = b"x" * 1_000_000
    for _ in range(size // len(line)):
        os.write(1, line)
    print("tail")


def print_odd(target: Target) -> None:
    os.write(1, b"\xff\xfe raw\n")
    print("\udcff surrogate ünï")


def wait_for_any_child(target: Target) -> None:
    try:
        found = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        found = None
    print("children:", found)


def hold_the_gil(target: Target, sign: str) -> None:
    Path(sign).touch()
    ctypes.PyDLL(None).sleep(3600)


def fork_and_return(target: Target) -> None:
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        print("parent")


def local_dir(target: Target) -> None:
    directory = Path(target.getLocalTempDir())
    print(directory, sorted(os.listdir(directory)), oct(directory.stat().st_mode & 0o777))
    (directory / ".dot").touch()
    (directory / "locked").mkdir()
    (directory / "locked" / "file").touch()
    (directory / "locked").chmod(0o500)


def remove_local_dir(target: Target) -> None:
    directory = Path(target.getLocalTempDir())
    directory.rmdir()
    directory.parent.rmdir()


def global_dir(target: Target, name: str, children: int = 0) -> None:
    directory = Path(target.getGlobalTempDir())
    print(directory.name, sorted(os.listdir(directory)))
    (directory / name).touch()
    if children:
        target.addChildTarget(Call("global_dir", f"{name}c"))
        target.setFollowOnTarget(Call("global_dir", f"{name}f"))


def publish_odd(target: Target, kind: str) -> None:
    """Publish what is no text, or no path at all."""
    made = Path(target.getAttemptDir()) / "made"
    made.touch()
    odd: Any = {"path": made, "bytes": os.fsencode(made), "number": 3, "nul": f"{made}\0"}[kind]
    target.publish(odd, f"{made}.there")


def odd_child(target: Target) -> None:
    """Hand on what no line of results can hold."""
    odd: Any = object()
    target.addChildTarget(Call("nothing"))
    node: Any = target._jobtree
    child = node.children[0]._jobtree
    child.requirements = child.requirements._replace(cpus=odd)


def publish(target: Target, destination: str) -> None:
    made = Path(target.getAttemptDir()) / "result"
    made.write_text("42")
    target.publish(str(made), destination)
    target.setFollowOnTarget(Call("nothing"))


def allocate(target: Target, size: int) -> None:
    assert random.randbytes(1) * size


def ask(target: Target) -> None:
    print(target.getAvailableMemory(), target.getAvailableCpu(), target.getAttempt())
    print(target.getMemory(), target.getCpu(), target.getRunTime())


def wait_for_file(target: Target, began: str, until: str) -> None:
    Path(began).touch()
    while not Path(until).exists():
        time.sleep(0.01)


class Hostile(Exception):
    """Its attributes cannot be looked at."""

    @property
    def returncode(self) -> int:
        raise OSError("no")


def raise_hostile(target: Target) -> None:
    raise Hostile("words")


def raise_group(target: Target) -> None:
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise ExceptionGroup("several", [ValueError("one"), OSError("two")]) from error


# ---- what does nothing when called -------------------------------------------------------


def generate(target: Target) -> Iterator[int]:
    print("a line ran")
    yield 1


async def wait(target: Target) -> None:
    print("a line ran")


async def wait_often(target: Target) -> AsyncIterator[int]:
    print("a line ran")
    yield 1


def return_unrun(target: Target, name: str) -> object:
    """Return what another function of this module makes of a call: nothing done yet."""
    if name == "future":
        import asyncio

        return asyncio.new_event_loop().create_future()
    made: object = globals()[name](target)
    return made


def run_coroutine(target: Target) -> None:
    import asyncio

    asyncio.run(wait(target))


def hidden(target: Target, name: str) -> object:
    return return_unrun(target, name)


# ---- what a process keeps ----------------------------------------------------------------


def trap(target: Target, sign: str, got: str) -> None:
    def leave(number: int, _frame: object) -> None:
        Path(got).touch()
        os._exit(1)

    signal.signal(signal.SIGTERM, leave)
    Path(sign).touch()
    while True:
        signal.pause()


def where(target: Target) -> None:
    directory = Path(target.getLocalTempDir())
    print(os.getcwd(), os.environ.get("POLLUTED"), len(os.listdir(directory)))
    (directory / "left").touch()
    Path(target.getGlobalTempDir())
    target.logToMaster(f"{target.getAttempt()} {target.getAvailableMemory()}")
    children(target, 2)


class WithoutInit(Target):
    """Forgets Target.__init__."""

    def __init__(self) -> None:
        pass
