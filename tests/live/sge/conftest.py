"""A real Grid Engine for the tests of this folder: one for the session, clean for each test.

Owns its beginning and end. Read next: lab.py, what a test can do with it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.engines import place
from tests.live.sge.lab import Lab, local_cell

BINARIES = "/usr/lib/gridengine"


@contextmanager
def temporary_cell(*options: str) -> Iterator[Lab]:
    """Bring a cell up, and down at the end, even if the tests are killed."""
    if shutil.which("sge_qmaster", path=BINARIES) is None:
        pytest.skip("Grid Engine is not installed: contrib/sge/local-cell install")
    top = Path(tempfile.mkdtemp(prefix="jobtree-sge-", dir=place()))
    up = local_cell("up", "--dir", str(top), "--while-pid", str(os.getpid()), *options)
    if up.returncode != 0:
        pytest.fail(f"local-cell up:\n{up.stdout}{up.stderr}")
    yield Lab(top)
    down = local_cell("down", "--dir", str(top))
    assert down.returncode == 0, down.stderr
    assert not top.exists()


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
