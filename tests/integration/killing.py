"""Masters and workers under fire: starts a tree as a user would, kills, restarts, looks again.

Owns processes and moments; must not know what a workflow does. Read next: test_examples.py.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
WORKFLOWS = Path(__file__).resolve().parent / "workflows"
ROUNDS = int(os.environ.get("JOBTREE_KILL_ROUNDS", "3"))
LONGEST_S = 300.0

MASTER, GROUP, WORKER = "master", "group", "worker"
"""What is killed: the master alone; all there is, as when a machine fails; one of the others."""


class Ended(NamedTuple):
    """How a master ended, and what it printed."""

    status: int
    said: str


class Survived(NamedTuple):
    """What a tree went through. killed: workers that died while they may have run a step."""

    kills: int
    killed: int
    story: str


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which this checkout's jobtree is the one that is found."""
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    return os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | more


def jobtree(*arguments: str | Path) -> list[str]:
    """Return the argv of a jobtree command."""
    return [sys.executable, "-m", "jobtree", *map(str, arguments)]


def python(script: Path, *arguments: str | Path) -> list[str]:
    """Return the argv that runs a script."""
    return [sys.executable, str(script), *map(str, arguments)]


def start(argv: Sequence[str], log: Path, **more: str) -> subprocess.Popen[bytes]:
    """Start a master in a session of its own; all it prints goes to the end of `log`."""
    with log.open("ab") as out:
        out.write(os.fsencode(f"$ {' '.join(argv)}\n"))
        out.flush()
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env=environment(**more),
            start_new_session=True,
        )


def run(argv: Sequence[str], log: Path, **more: str) -> Ended:
    """Run a command to its end."""
    before = log.stat().st_size if log.exists() else 0
    process = start(argv, log, **more)
    try:
        status = process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"no end within {LONGEST_S:g} s:\n{text_of(log)}") from None
    return Ended(status, log.read_bytes()[before:].decode(errors="replace"))


def status(tree: Path) -> dict[str, Any]:
    """Return what `jobtree status --json` says of a tree."""
    argv = jobtree("status", tree, "--json")
    told = subprocess.run(argv, env=environment(), capture_output=True, check=False)
    assert told.returncode == 0, told.stderr.decode()
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def assert_complete(tree: Path, ended: Ended) -> dict[str, Any]:
    """Fail unless the run ended well and the tree says that all of it is done."""
    assert ended.status == 0, ended.said
    found = status(tree)
    assert (found["state"], found["remaining"]) == ("done", 0), found
    return found


def processes_of(tree: Path) -> dict[int, str]:
    """Return pid -> command line of the launchers and workers of a tree."""
    needle, found = f"{tree}/".encode(), {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                line = (entry / "cmdline").read_bytes()
                if needle in line and b"-I\0-S\0" in line:
                    found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace")
    return found


def kill(pid: int) -> bool:
    """Kill a process; tell whether it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def workers_among(tree: Path, found: dict[int, str]) -> set[str]:
    """Return which issues these processes run: launcher, worker and sidecar name the same."""
    return {line.rpartition(f"{tree}/orders/")[2] for line in found.values()} - {""}


def kill_all(tree: Path, master: subprocess.Popen[bytes]) -> int:
    """Kill the master and all that belongs to its tree; return how many workers were among it."""
    with suppress(ProcessLookupError):
        os.killpg(master.pid, signal.SIGKILL)
    workers: set[str] = set()
    deadline = time.monotonic() + 30
    while found := processes_of(tree):
        assert time.monotonic() < deadline, f"not to be killed: {found}"
        workers |= workers_among(tree, found)
        for pid in found:
            kill(pid)
    return len(workers)


def kill_one(tree: Path, rng: random.Random) -> int:
    """Kill one of a tree's launchers, workers and their companions; return how many died."""
    found = sorted(processes_of(tree))
    return int(bool(found) and kill(rng.choice(found)))


def wait(master: subprocess.Popen[bytes], moment_s: float) -> bool:
    """Wait so long for a master's end; tell whether it is still there."""
    with suppress(subprocess.TimeoutExpired):
        master.wait(moment_s)
    return master.poll() is None


def kill_and_restart(
    first: Sequence[str],
    tree: Path,
    log: Path,
    what: str,
    rng: random.Random,
    whole_run_s: float,
    most_kills: int = 3,
) -> Survived:
    """Run a tree, killing at random moments; take it up again each time; return at its end.

    The last run is left alone, and must end well.
    """
    kills = killed = 0
    argv = list(first)
    moments = [rng.uniform(0.0, whole_run_s) for _ in range(rng.randint(1, most_kills))]
    story = f"{what} killed after {', '.join(f'{moment:.3f}' for moment in moments)} s"
    master = start(argv, log)
    try:
        for moment in moments:
            if not wait(master, moment):
                break
            kills += 1
            if what == WORKER:
                killed += kill_one(tree, rng)
                continue
            killed += kill_all(tree, master) if what == GROUP else 0
            kill(master.pid)
            master.wait()
            if is_tree(tree):
                argv = jobtree("restart", tree)
                if "-m" not in first and rng.random() < 0.5:  # a script goes on by itself
                    argv = list(first)
            master = start(argv, log)
        assert not wait(master, LONGEST_S), f"{story}: no end\n{text_of(log)}"
    finally:
        if master.poll() is None:
            kill_all(tree, master)
            master.wait()
    story += f"\n{text_of(log)}"
    assert master.returncode == 0, story
    found = status(tree)
    assert (found["state"], found["remaining"]) == ("done", 0), story
    return Survived(kills, killed, story)


def is_tree(tree: Path) -> bool:
    """Tell whether a tree is there yet."""
    return (tree / "jobtree.json").exists()


def text_of(log: Path) -> str:
    """Return what was printed so far."""
    return log.read_text(errors="replace")
