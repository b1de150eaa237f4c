"""The programs a local cluster runs, and the Debian packages that bring them.

Owns what is installed; must not start anything. Read next: cluster.py, which starts it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localcluster.failure import Failure

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin:/usr/bin:/bin"
"""Where programs are looked for: Debian's daemons are not on an ordinary user's PATH."""

PACKAGES = (
    "slurmctld",
    "slurmd",
    "slurm-client",
    "slurmdbd",
    "slurm-wlm-basic-plugins",
    "slurm-wlm-mysql-plugin",
    "munge",
    "mariadb-server",
)
CORE = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "scontrol")
ACCOUNTING = ("slurmdbd", "sacct", "sacctmgr", "mariadbd", "mariadb", "mariadb-install-db")

POLICY = Path("/usr/sbin/policy-rc.d")
"""Debian asks this script whether an installation may start a daemon; 101 means no."""


def program(name: str) -> str:
    """Return the path of a program; Failure if it is not installed."""
    found = shutil.which(name, path=PATH)
    if found is None:
        raise Failure(f"{name} is not installed. On Debian, as root: local-cluster install")
    return found


def missing(names: tuple[str, ...]) -> list[str]:
    """Return those programs that are not installed."""
    return [name for name in names if shutil.which(name, path=PATH) is None]


def has_accounting() -> bool:
    """Tell whether slurmdbd and a database for it are installed."""
    plugins = Path("/usr").glob("lib*/**/slurm*/accounting_storage_mysql.so")
    return not missing(ACCOUNTING) and any(plugins)


def install() -> bool:
    """Install what is missing with apt-get; return whether anything was.

    No daemon is started by it. Failure where that cannot be done.
    """
    if not missing(CORE) and has_accounting():
        return False
    if os.geteuid() != 0:
        raise Failure("Slurm is not installed, and installing it needs root")
    if shutil.which("apt-get", path=PATH) is None:
        raise Failure(
            "there is no apt-get here: install Slurm's controller, slurmd, slurmdbd and clients, "
            "munge and MariaDB in your system's way"
        )
    with _nothing_started():
        if _apt_get("install", *PACKAGES) is not None:  # perhaps for want of package lists
            problem = _apt_get("update") or _apt_get("install", *PACKAGES)
            if problem is not None:
                raise Failure(f"apt-get could not install Slurm:\n{problem}")
    return True


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
