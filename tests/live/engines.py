"""What the labs of all schedulers share: a program of contrib/, commands, and what is left.

Owns how a command is run against a batch system; must not know any of them.
Read next: lab.py in the folder of the scheduler concerned.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from tests.live.waiting import LIMIT_S

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib"

WHERE_DAEMONS_ARE = ("/usr/sbin", "/usr/lib/gridengine")

SHARED_MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 1 << 30


def place() -> Path:
    """Return where to put a cluster: in memory where that is possible, for its database's sake.

    Job scripts are run from the cluster's own directory, so a place without execution will not do.
    """
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:
        return Path("/tmp")
    roomy = found.f_bavail * found.f_frsize > ENOUGH_BYTES
    return SHARED_MEMORY if roomy and not found.f_flag & os.ST_NOEXEC else Path("/tmp")


@contextmanager
def open_directory() -> Iterator[Path]:
    """Make a directory that every user may enter and write to, as /tmp is; remove it at the end."""
    path = Path(tempfile.mkdtemp(prefix="jobtree-live-"))
    path.chmod(0o1777)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def contributed(
    program: Path, *words: str, limit_s: float = 400
) -> subprocess.CompletedProcess[str]:
    """Run a program of contrib/ with this Python, bare of packages, whatever it returns."""
    return subprocess.run(
        [sys.executable, "-IS", str(program), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )


class Engine:
    """A running batch system of contrib/.

    program: what brings it up, where its daemon is found. top: its directory. env: the environment
    that leads its clients, and jobTree, to it.
    """

    program: Path
    daemon: str
    env: Mapping[str, str]

    def __init__(self, top: Path) -> None:
        self.top = top

    def run(
        self,
        *argv: str,
        user: str | None = None,
        check: bool = True,
        limit_s: float = LIMIT_S,
        cwd: Path | str = "/",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command against it, as another user if told; check its success."""
        done = subprocess.run(
            argv,
            env={**self.env, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
        )
        if check:
            assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Call its program for it, whatever that returns."""
        verb, *rest = words
        return contributed(self.program, verb, "--dir", str(self.top), *rest)

    def fault(self, verb: str, target: str = "") -> None:
        """Do one of the verbs of `fault`; it returns once that has taken effect."""
        done = self.call("fault", verb, *([target] if target else []))
        assert done.returncode == 0, f"fault {verb} {target}: {done.stderr}"

    def refusal(self, *argv: str) -> str:
        """Return the complaint of a command that must fail."""
        done = self.run(*argv, check=False)
        assert done.returncode != 0, f"{argv}: {done.stdout}"
        return done.stderr

    def python_of(self, user: str) -> str:
        """Return a Python of 3.11 or later that a user can run: root's own may be closed to him."""
        check = "import sys; sys.exit(sys.version_info < (3, 11))"
        for path in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
            with suppress(OSError):
                if self.run(path, "-c", check, user=user, check=False).returncode == 0:
                    return path
        pytest.skip(f"no Python 3.11 that {user} can run")


Up = TypeVar("Up", bound=Engine)


@contextmanager
def temporary(kind: type[Up], *options: str) -> Iterator[Up]:
    """Bring a batch system up, and down at the end, even if the tests are killed."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *WHERE_DAEMONS_ARE))
    if shutil.which(kind.daemon, path=path) is None:
        pytest.skip(f"{kind.daemon} is not installed: {kind.program.relative_to(ROOT)} install")
    top = Path(tempfile.mkdtemp(prefix=f"jobtree-{kind.program.parent.name}-", dir=place()))
    words = ("--dir", str(top), "--while-pid", str(os.getpid()), *options)
    up = contributed(kind.program, "up", *words)
    if up.returncode != 0:
        pytest.fail(f"{kind.program.name} up:\n{up.stdout}{up.stderr}")
    try:
        yield kind(top)
    finally:
        down = contributed(kind.program, "down", "--dir", str(top))
    assert down.returncode == 0, down.stderr
    assert not top.exists()


def processes_of(top: Path, *, open_files: bool = True) -> dict[int, str]:
    """Return pid -> command line of everything that names a directory: in its environment or
    command line, or by its open files if those count."""
    found, needle = {}, os.fsencode(top)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            cmdline = (entry / "cmdline").read_bytes()
            told = [cmdline, (entry / "environ").read_bytes()]
            if open_files:
                told += [os.fsencode(os.readlink(link)) for link in (entry / "fd").iterdir()]
        except OSError:
            continue
        if any(needle in text for text in told):
            found[int(entry.name)] = cmdline.replace(b"\0", b" ").decode(errors="replace")
    return found
