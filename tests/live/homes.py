"""A home of one's own: the files of defaults that schedulers look for there, and nobody else sees.

They ask the passwd file where that is, so a command is run where that file says so. Owns the
mount namespace; must not know any scheduler. Read next: slurm/test_defaults.py.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def require_namespaces() -> None:
    """Skip a test where no mount namespace can be made."""
    done = subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True)
    if done.returncode != 0:
        pytest.skip("no mount namespace can be made here")


def run_at_home(home: Path, script: str, env: Mapping[str, str], limit_s: float = 300) -> str:
    """Run a Python script as a user whose home this is; return what it printed."""
    own = pwd.getpwuid(os.getuid())
    lines = Path("/etc/passwd").read_text().splitlines()
    cells = [line.split(":") for line in lines]
    for row in cells:
        if row[0] == own.pw_name:
            row[5] = str(home)
    passwd = home / "passwd"
    passwd.write_text("\n".join(":".join(row) for row in cells) + "\n")
    passwd.chmod(0o644)
    inside = 'mount --bind "$1" /etc/passwd && exec "$2" -c "$3"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", inside, "sh", str(passwd), sys.executable, script],
        env={**env, "PYTHONPATH": str(ROOT)},
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
