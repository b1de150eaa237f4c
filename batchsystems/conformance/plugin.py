"""What pytest loads where this package is installed: for the conformance suite, and nothing more.

Owns the rewriting of the suite's assertions, and the fixture that no process outlives a test. Must
not load the suite, nor any adapter: pytest reads this at every start. Read next: suite.py.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

pytest.register_assert_rewrite(
    "batchsystems.conformance.suite", "batchsystems.conformance.watching"
)

GRACE_S = 20.0


def _ancestors() -> set[int]:
    """Return this process and those it descends from."""
    family, pid = set(), os.getpid()
    while pid > 0:
        family.add(pid)
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        pid = int(stat.rpartition(")")[2].split()[1])
    return family


def mentioning(path: Path) -> dict[int, str]:
    """Return pid -> command line of each process whose arguments, environment or cwd name path."""
    needle, found = os.fsencode(path), {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):  # it ended meanwhile, or is not ours to look at
            cmdline = (entry / "cmdline").read_bytes()
            cwd = os.fsencode((entry / "cwd").readlink())
            if needle in cmdline + b"\0" + (entry / "environ").read_bytes() + b"\0" + cwd:
                found[int(entry.name)] = cmdline.replace(b"\0", b" ").decode(errors="replace")
    return found


@pytest.fixture
def no_stray_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test if a process that mentions its tmp_path outlives it, and end that process.

    A variable of the environment makes each process mention it that inherits the test's own.
    """
    monkeypatch.setenv("JOBTREE_TEST_TMP_PATH", str(tmp_path))
    ours = _ancestors()
    yield
    deadline = time.monotonic() + GRACE_S
    while True:
        stray = {pid: line for pid, line in mentioning(tmp_path).items() if pid not in ours}
        if not stray or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for pid in stray:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    lines = "".join(f"\n  {pid}: {line}" for pid, line in stray.items())
    assert not stray, f"processes outlived the test by {GRACE_S:g} s (killed now):{lines}"
