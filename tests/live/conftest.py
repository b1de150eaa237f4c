"""What live tests of every scheduler share: users to submit as, and a place all can write to.

Must not start a scheduler: each has its own conftest.py, one folder down.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchsystems.conformance import Watcher, end_all
from batchsystems.interface import BatchSystem
from tests.live.engines import CONTRIB, open_directory


@pytest.fixture(autouse=True, scope="session")
def _files_for_everyone() -> Iterator[None]:
    """Let other users read what is made for them, whatever the umask of whoever runs the tests."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def _user(*names: str) -> pwd.struct_passwd:
    """Return the first of these users that exists; none of them is root."""
    for name in names:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip(f"none of the users {', '.join(names)} exists here")


@pytest.fixture(scope="session")
def ordinary_user() -> pwd.struct_passwd:
    """Return a user without rights who is on every Linux machine."""
    return _user("nobody")


@pytest.fixture(scope="session")
def another_user() -> pwd.struct_passwd:
    """Return a second user without rights."""
    return _user("daemon", "bin", "games")


@pytest.fixture
def open_tmp_path() -> Iterator[Path]:
    """Return a new directory that every user may enter and write to, as /tmp is.

    pytest's own tmp_path is closed to everyone but the user who runs the tests.
    """
    with open_directory() as path:
        yield path


@pytest.fixture
def own_place(ordinary_user: pwd.struct_passwd) -> Iterator[Path]:
    """Return a directory with a home/ of the ordinary user's, and a copy of contrib/."""
    path = Path(tempfile.mkdtemp(prefix="jobtree-own-"))
    path.chmod(0o755)
    shutil.copytree(CONTRIB, path / "contrib", symlinks=True)
    (path / "home").mkdir()
    shutil.chown(path / "home", ordinary_user.pw_uid, ordinary_user.pw_gid)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def watcher(make: Callable[..., BatchSystem]) -> Iterator[Watcher]:
    """Return who hears the news of an adapter, made by the `make` of the test's module."""
    batch = make()
    yield Watcher(batch)
    end_all(batch)
