"""A real Slurm for the tests of this folder: one for the whole session, clean for each test.

Owns its beginning and end. Read next: lab.py, what a test can do with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.live.engines import temporary
from tests.live.slurm.lab import Lab
from tests.live.slurm.trees import Tree
from tests.live.trees import planting


def temporary_cluster(*options: str) -> AbstractContextManager[Lab]:
    """Bring a cluster up, and down at the end, even if the tests are killed."""
    return temporary(Lab, *options)


def usual_cluster() -> AbstractContextManager[Lab]:
    """Bring up a cluster as tests usually have one, and down at the end.

    JOBTREE_SLURM_UP holds further options of `local-cluster up`, such as --cgroup=0.
    """
    return temporary_cluster(*os.environ.get("JOBTREE_SLURM_UP", "").split())


@pytest.fixture(scope="session")
def slurm_session() -> Iterator[Lab]:
    """Bring a cluster up for the session."""
    with usual_cluster() as lab:
        yield lab


@pytest.fixture
def slurm(slurm_session: Lab) -> Iterator[Lab]:
    """Give a test the session's cluster with idle nodes and no jobs, and clean up after it."""
    slurm_session.calm()
    yield slurm_session
    slurm_session.calm()


@pytest.fixture
def plant(slurm: Lab, open_tmp_path: Path) -> Iterator[Callable[..., Tree]]:
    """Return what makes trees on the test's cluster; no master of theirs outlives the test."""
    with planting(Tree, slurm, open_tmp_path) as made:
        yield made
