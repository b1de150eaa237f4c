"""One run that is hit at one point, taken up again until it is complete, and judged.

Owns the order of things; must not judge. Read next: judge.py, points.py.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from batchsystems.conformance.plugin import mentioning
from tests.crash import judge
from tests.crash.tracing import Point, fired, strace_argv
from tests.integration.killing import environment, kill, kill_all

HERE = Path(__file__).resolve().parent
FLOW = HERE / "flow.py"
OPTIONS = ("--jobTree", "tree", "--retryCount", "4", "--maxCpus", "3")
LONGEST_S = 300.0
MOST_STARTS = 6
GRACE_S = 20.0

MASTER, GROUP = "master", "group"
STARTED = ("worker", "sidecar", "launcher")
VICTIMS = (MASTER, GROUP, *STARTED)
"""What dies: the master alone; the master and everything else of the tree, as with the machine;
or a process of the n-th batch job."""


class Trial(NamedTuple):
    """How it went. hit: the point was reached. wrong: what is not as it should be."""

    point: Point
    hit: bool
    wrong: list[str]
    story: str


def scratch() -> Path:
    """Return where trials run: memory if there is room, for no power fails here."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 2**30 else Path("/tmp")


def command(point: Point | str | None, log: Path) -> list[str]:
    """Return the argv of a master that is hit, or watched where `point` is VICTIM:PROCESS."""
    script = [sys.executable, str(FLOW), *OPTIONS]
    if point is None:
        return script
    victim = point.victim if isinstance(point, Point) else point.partition(":")[0]
    hit = point if isinstance(point, Point) else None
    if victim in (MASTER, GROUP):
        return [*strace_argv(log, hit), *script]
    return [sys.executable, str(HERE / "start.py"), str(point), str(log), *script[1:]]


def run(home: Path, argv: list[str]) -> subprocess.Popen[bytes]:
    """Start a master in a session of its own."""
    (home / "tmp").mkdir(exist_ok=True)
    with (home / "said").open("ab") as said:
        more = {"TMPDIR": f"{home}/tmp", "JOBTREE_TEST_TMP_PATH": str(home)}
        return subprocess.Popen(
            argv,
            cwd=home,
            env=environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def undisturbed(watched: str, home: Path) -> Path:
    """Run the workflow once, watching a process; return the log of its calls."""
    log = home / "strace"
    master = run(home, command(watched, log))
    assert master.wait(LONGEST_S) == 0, (home / "said").read_text()
    await_silence(home)
    wrong = judge.verdict(home, [], 0)
    assert not wrong, (wrong, (home / "said").read_text())
    return log


def hit(point: Point, keep: Path | None = None) -> Trial:
    """Hit a run at a point, and take it up again until it ends."""
    home = Path(tempfile.mkdtemp(prefix="crash-", dir=scratch())).resolve()
    try:
        trial = _hit(point, home)
        if trial.wrong and keep is not None:
            shutil.copytree(home, keep / str(point).replace(":", "-"), dirs_exist_ok=True)
        return trial
    finally:
        for pid in mentioning(home):
            kill(pid)
        shutil.rmtree(home, ignore_errors=True)


def _hit(point: Point, home: Path) -> Trial:
    log, moments, killed = home / "strace", list[judge.Seen](), 0
    argv = command(point, log)
    for _ in range(MOST_STARTS):
        master = run(home, argv)
        try:
            master.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            wrong = [f"no end within {LONGEST_S:g} s", *mentioning(home).values()]
            kill_all(home / "tree", master)
            master.wait()
            return Trial(point, fired(log, point), wrong, story(home))
        if point.victim == GROUP and master.returncode != 0:
            killed += _kill_rest(home, master)
        if master.returncode == 0:
            break
        wrong = _unexplained(point, master.returncode, home)
        if wrong:
            return Trial(point, fired(log, point), wrong, story(home))
        moments.append(judge.look(home))
        argv = command(None, log)
    was_hit = fired(log, point)
    await_silence(home)
    killed += was_hit and point.victim in STARTED
    killed += 2 if point.error else 0  # workers may have noticed the failing disk, too
    wrong = judge.verdict(home, moments, killed)
    if was_hit and not moments and point.victim in (MASTER, GROUP) and not point.error:
        wrong.append("the master was hit and yet ended well")
    return Trial(point, was_hit, wrong, story(home))


def _unexplained(point: Point, status: int, home: Path) -> list[str]:
    """Return what is wrong with how a master ended: killed as planned, or with a clear error."""
    if not point.error:
        as_planned = status in (-signal.SIGKILL, 128 + signal.SIGKILL)
        return [] if as_planned else [f"the master ended with {status}"]
    said = (home / "said").read_text(errors="replace")
    clear = "error[JT" in said and not re.search("^Traceback", said, re.M)
    return [] if clear else [f"the master ended with {status} and no clear error"]


def _kill_rest(home: Path, master: subprocess.Popen[bytes]) -> int:
    """Kill what is left of a tree whose master has just died."""
    workers = kill_all(home / "tree", master)
    while rest := mentioning(home):  # commands that outlived their worker
        for pid in rest:
            kill(pid)
    return workers


def await_silence(home: Path) -> None:
    """Wait until no process of a trial is left, for a while: the judge counts what remains."""
    deadline = time.monotonic() + GRACE_S
    while mentioning(home) and time.monotonic() < deadline:
        with suppress(OSError):
            time.sleep(0.01)


def story(home: Path) -> str:
    """Return what the masters said, and the end of the log of calls."""
    said = (home / "said").read_text(errors="replace")
    log = home / "strace"
    calls = log.read_text(errors="replace").splitlines()[-4:] if log.exists() else []
    return f"{said[-6000:]}\nlast calls: {calls}"
