"""Programs that are installed or not, and Debian's packages that bring them.

Owns what is installed; must not start anything. Read next: daemons.py, which starts it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from localengines.failure import Failure

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin:/usr/bin:/bin"
"""Where programs are looked for: Debian's daemons are not on an ordinary user's PATH."""

POLICY = Path("/usr/sbin/policy-rc.d")
"""Debian asks this script whether an installation may start a daemon; 101 means no."""


def program(name: str, path: str = PATH) -> str:
    """Return the path of a program; Failure if it is not installed."""
    found = shutil.which(name, path=path)
    if found is None:
        raise Failure(f"{name} is not installed. {hint()}")
    return found


def missing(names: Iterable[str], path: str = PATH) -> list[str]:
    """Return those programs that are not installed."""
    return [name for name in names if shutil.which(name, path=path) is None]


def hint() -> str:
    """Return how to install what is missing."""
    return f"On Debian, as root: {Path(sys.argv[0]).name} install"


def install(engine: str, packages: Iterable[str], parts: str, answers: Iterable[str] = ()) -> None:
    """Install packages with apt-get; no daemon is started by it. Failure where it cannot be.

    parts: what to install instead where there is no apt-get. answers: to debconf's questions.
    """
    if os.geteuid() != 0:
        raise Failure(f"{engine} is not installed, and installing it needs root")
    if shutil.which("apt-get", path=PATH) is None:
        raise Failure(f"there is no apt-get here: install {parts} in your system's way")
    words = ("install", *packages)
    with _nothing_started():
        _answer(answers)
        if _apt_get(*words) is not None:  # perhaps for want of package lists
            problem = _apt_get("update") or _apt_get(*words)
            if problem is not None:
                raise Failure(f"apt-get could not install {engine}:\n{problem}")


def _answer(answers: Iterable[str]) -> None:
    """Answer debconf's questions beforehand; where that fails, its defaults have to do."""
    text = "".join(f"{line}\n" for line in answers)
    tool = shutil.which("debconf-set-selections", path=PATH)
    if text and tool is not None:
        subprocess.run([tool], input=text, capture_output=True, text=True, check=False)


def _apt_get(*words: str) -> str | None:
    """Run apt-get silently; return None, or the end of what it said if it failed."""
    argv = ["apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends"]
    done = subprocess.run(
        [*argv, *words],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return None if done.returncode == 0 else done.stdout[-2000:]


@contextmanager
def _nothing_started() -> Iterator[None]:
    """Keep the packages from starting their own daemons; leave this machine's policy as it was."""
    try:
        with POLICY.open("x", encoding="utf-8") as file:
            file.write("#!/bin/sh\nexit 101\n")
    except FileExistsError:
        yield
        return
    try:
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink()
