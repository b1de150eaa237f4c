"""A real Grid Engine for the tests of this folder: one for the session, clean for each test.

Owns its beginning and end. Read next: lab.py, what a test can do with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.live.engines import temporary
from tests.live.sge.lab import Lab
from tests.live.sge.trees import Tree
from tests.live.trees import planting


def temporary_cell(*options: str) -> AbstractContextManager[Lab]:
    """Bring a cell up, and down at the end, even if the tests are killed."""
    return temporary(Lab, *options)


@pytest.fixture(scope="session")
def sge_session() -> Iterator[Lab]:
    """Bring a cell up for the session.

    JOBTREE_SGE_UP holds further options of `local-cell up`, such as --slots=16.
    """
    with temporary_cell(*os.environ.get("JOBTREE_SGE_UP", "").split()) as lab:
        yield lab


@pytest.fixture
def sge(sge_session: Lab) -> Iterator[Lab]:
    """Give a test the session's cell with idle hosts and no jobs, and clean up after it."""
    yield sge_session
    sge_session.fault("reset")


@pytest.fixture
def machines(sge: Lab) -> Lab:
    """Give a test the cell if its hosts are machines of their own; skip it otherwise."""
    if not sge.namespaces:
        pytest.skip("the hosts are not machines of their own here")
    return sge


@pytest.fixture(params=["sge", "drmaa"])
def system(request: pytest.FixtureRequest) -> str:
    """Return the batch system that whole trees are run by."""
    return str(request.param)


@pytest.fixture
def plant(sge: Lab, system: str, open_tmp_path: Path) -> Iterator[Callable[..., Tree]]:
    """Return what makes trees on the test's cell; no master of theirs outlives the test."""
    with planting(partial(Tree, system), sge, open_tmp_path) as made:
        yield made
