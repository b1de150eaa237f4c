"""A real Slurm for the tests of this folder: one for the whole session, clean for each test.

Owns its beginning and end. Read next: lab.py, what a test can do with it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.engines import place
from tests.live.slurm.lab import Lab, local_cluster


@pytest.fixture(scope="session")
def slurm_session() -> Iterator[Lab]:
    """Bring a cluster up for the session; it goes down with it, even if that is killed.

    JOBTREE_SLURM_UP holds further options of `local-cluster up`, such as --cgroup=0.
    """
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    if shutil.which("slurmctld", path=path) is None:
        pytest.skip("Slurm is not installed: contrib/slurm/local-cluster install")
    top = Path(tempfile.mkdtemp(prefix="jobtree-slurm-", dir=place()))
    more = os.environ.get("JOBTREE_SLURM_UP", "").split()
    up = local_cluster("up", "--dir", str(top), "--while-pid", str(os.getpid()), *more)
    if up.returncode != 0:
        pytest.fail(f"local-cluster up:\n{up.stdout}{up.stderr}")
    yield Lab(top)
    down = local_cluster("down", "--dir", str(top))
    assert down.returncode == 0, down.stderr
    assert not top.exists()


@pytest.fixture
def slurm(slurm_session: Lab) -> Iterator[Lab]:
    """Give a test the session's cluster with idle nodes and no jobs, and clean up after it."""
    if not slurm_session.is_calm():
        slurm_session.calm()
    yield slurm_session
    slurm_session.calm()
