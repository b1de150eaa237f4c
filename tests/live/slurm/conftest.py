"""A real Slurm for the tests of this folder: one for the whole session, clean for each test.

Owns its beginning and end. Read next: lab.py, what a test can do with it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live.engines import place
from tests.live.slurm.lab import Lab, local_cluster
from tests.live.slurm.trees import Tree


@contextmanager
def temporary_cluster(*options: str) -> Iterator[Lab]:
    """Bring a cluster up, and down at the end, even if the tests are killed."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    if shutil.which("slurmctld", path=path) is None:
        pytest.skip("Slurm is not installed: contrib/slurm/local-cluster install")
    top = Path(tempfile.mkdtemp(prefix="jobtree-slurm-", dir=place()))
    up = local_cluster("up", "--dir", str(top), "--while-pid", str(os.getpid()), *options)
    if up.returncode != 0:
        pytest.fail(f"local-cluster up:\n{up.stdout}{up.stderr}")
    yield Lab(top)
    down = local_cluster("down", "--dir", str(top))
    assert down.returncode == 0, down.stderr
    assert not top.exists()


@pytest.fixture(scope="session")
def slurm_session() -> Iterator[Lab]:
    """Bring a cluster up for the session.

    JOBTREE_SLURM_UP holds further options of `local-cluster up`, such as --cgroup=0.
    """
    with temporary_cluster(*os.environ.get("JOBTREE_SLURM_UP", "").split()) as lab:
        yield lab


@pytest.fixture
def slurm(slurm_session: Lab) -> Iterator[Lab]:
    """Give a test the session's cluster with idle nodes and no jobs, and clean up after it."""
    if not slurm_session.is_calm():
        slurm_session.calm()
    yield slurm_session
    slurm_session.calm()


@pytest.fixture
def plant(slurm: Lab, open_tmp_path: Path) -> Iterator[Callable[..., Tree]]:
    """Return what makes trees on the test's cluster; no master of theirs outlives the test."""
    planted: list[Tree] = []

    def made(user: str | None = None, brisk: bool = True, **settings: Mapping[str, Any]) -> Tree:
        home = open_tmp_path / f"home{len(planted)}"
        home.mkdir()
        if user is not None:
            shutil.chown(home, user)
        planted.append(Tree(slurm, home, user, brisk, **settings))
        return planted[-1]

    yield made
    for tree in planted:
        tree.close()
