"""Commands of places from which a tree's master cannot be looked at, though host names agree.

Owns how such a place is made, by namespaces and mounts of Linux; knows no tree. Run by
test_namespaces.py.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.live.everyone import ROOT, copy_jobtree, python_for

CONTAINER = "a PID namespace of this host"
UNPRIVILEGED = "a PID and a user namespace of an ordinary user"
CLONE = "another machine with this one's name and id"
TWIN = "another machine with this one's name"
KINDS = (CONTAINER, UNPRIVILEGED, CLONE, TWIN)

BOOT = "/proc/sys/kernel/random/boot_id"
MACHINE = "/etc/machine-id"
MOUNT = (
    'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 99; shift 2; done; shift; exec "$@"'
)

BENT = """
import sys
from jobtree.store import lease
from jobtree.cli import client as asking, ending
lease.STALE_S, lease.POLL_S, asking.ANSWER_S = 3.0, 0.1, 1.0
from jobtree.cli import main, reading
reading.STALE_S = 0.0
sys.exit(main.main(sys.argv[1:]))
"""
"""jobtree, in less of a hurry to wait than it is."""


class Place:
    """A place to run commands in. user: whose they are, None if one's own; python: run by it."""

    def __init__(self, kind: str, home: Path) -> None:
        self.kind, self._files = kind, home
        (home / "boot").write_text("11111111-2222-3333-4444-555555555555\n")
        (home / "machine").write_text("0123456789abcdef0123456789abcdef\n")
        self.user: int | None = None
        self.python: str | None = sys.executable
        self.path = ROOT
        if kind == UNPRIVILEGED and os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self.user, self.python = nobody.pw_uid, python_for(nobody)
            (home / "jobtree").mkdir()
            self.path = copy_jobtree(home / "jobtree")

    def argv(self, argv: Sequence[str]) -> list[str]:
        """Return what runs a command there."""
        if self.kind == CONTAINER:
            return ["unshare", "-p", "-f", "--kill-child", "--mount-proc", *argv]
        if self.kind == UNPRIVILEGED:
            return ["unshare", "-U", "-r", "-p", "-f", "--kill-child", "--mount-proc", *argv]
        mounts = [str(self._files / "boot"), BOOT]
        if self.kind == TWIN:
            mounts += [str(self._files / "machine"), MACHINE]
        return ["unshare", "-m", "sh", "-c", MOUNT, "sh", *mounts, "--", *argv]

    def why_not(self) -> str:
        """Return why this place cannot be had here; "" if it can."""
        if os.geteuid() != 0:
            return "namespaces, mounts and another user need root"
        if self.kind == TWIN and not os.path.exists(MACHINE):
            return f"this machine has no {MACHINE}"
        if self.python is None:
            return "an ordinary user may run no Python of this version"
        done = self.run([self.python, "-c", "import jobtree"], Path("/"))
        return f"{self.kind} is not to be had: {done.stdout!r}" if done.returncode else ""

    def run(self, argv: Sequence[str], where: Path) -> subprocess.CompletedProcess[bytes]:
        """Run a command there to its end."""
        return subprocess.run(
            self.argv(argv),
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            check=False,
            **self.terms(where),
        )

    def terms(self, where: Path) -> dict[str, Any]:
        """Return how whatever is tried is to be run, there and here."""
        here = {"PYTHONPATH": str(self.path), "HOME": str(self._files)}
        return {
            "stdin": subprocess.DEVNULL,
            "cwd": where,
            "env": os.environ | here | {"PYTHONDONTWRITEBYTECODE": "1"},
            "user": self.user,
            "group": self.user,
            "extra_groups": None if self.user is None else [],
        }


def bent(*arguments: str | Path) -> list[str]:
    """Return the argv of a jobtree command that waits for less long."""
    return [sys.executable, "-c", BENT, *map(str, arguments)]
