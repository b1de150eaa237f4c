"""A tree's directory: whether it is one, is safe to use, and how a new one is made whole.

Owns the marker, who may write where, and the drafts of trees being made; knows nothing of what is
in a tree. Read next: mailbox/layout.py, for its files; workflow.py.
"""

from __future__ import annotations

import os
import stat
from _blake2 import blake2b  # hashlib is slower to import
from collections.abc import Iterator
from contextlib import contextmanager

from jobtree.errors import StoreError
from jobtree.mailbox import layout
from jobtree.mailbox.files import check_private, refuse_link, sync_directory
from jobtree.store.holder import here, own_start, process_start


def is_tree(directory: str) -> bool:
    """Tell whether a directory is a job tree, by its marker."""
    return os.path.isfile(f"{directory}/{layout.MARKER}")


def require_tree(directory: str) -> None:
    """Refuse what is no job tree, or may have been altered by others. Raises StoreError."""
    if not is_tree(directory):
        raise StoreError(
            f"{directory} is not a job tree",
            code="JT305",
            where=f"it has no {layout.MARKER}",
            fix="give the directory that --jobTree named",
        )
    check_tree(directory)


def check_tree(directory: str) -> None:
    """Refuse a tree that, in whole or in part, is a symlink, another user's, or open to others.

    Raises StoreError JT330, JT312.
    """
    check_parent(directory)
    found = os.lstat(directory)
    if stat.S_ISLNK(found.st_mode):
        raise StoreError(f"{directory} is a symbolic link", code="JT330", fix="give the directory")
    check_private(found, directory)
    for name in os.listdir(directory):
        if name in layout.TRUSTED or name.partition(".")[0] == "tree":
            found = os.lstat(f"{directory}/{name}")
            if stat.S_ISLNK(found.st_mode):
                raise refuse_link(f"{directory}/{name}")
            check_private(found, f"{directory}/{name}")
    if not os.access(directory, os.W_OK):
        raise StoreError(
            f"job tree {directory} cannot be written",
            code="JT312",
            why="all that was committed is safe",
            fix="make the directory writable by you, then restart the tree",
        )


def check_parent(directory: str) -> None:
    """Refuse a place where anybody may put another directory under the tree's name.

    A group that may write there is trusted: shared project directories are so. JT330.
    """
    parent = os.path.dirname(directory)
    mode = os.stat(parent).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise StoreError(
            f"every user may write in {parent} (mode {stat.S_IMODE(mode):04o})",
            code="JT330",
            why="others could put a tree of theirs in the place of yours, and it would be run",
            fix=f"use a directory of your own, or:  chmod o-w {parent}",
        )


LONGEST_NAME = len("~") + 64 + len(".00000000.4194304-99999999999999/tree.1000000.db~new")
"""Bytes of what may follow a tree's path: a draft is named after host, place and process."""


@contextmanager
def new_tree(directory: str) -> Iterator[str]:
    """Yield a directory to fill, which then becomes the tree's: all of it or nothing.

    Raises StoreError JT306 if something else is there, JT307 if it cannot be made, JT309 if
    its path is too long.
    """
    from jobtree.store.database import LONGEST_PATH, path_too_long

    if len(os.fsencode(directory)) + LONGEST_NAME > LONGEST_PATH:
        raise path_too_long(directory)
    if os.path.lexists(directory) and (not os.path.isdir(directory) or os.listdir(directory)):
        raise StoreError(
            f"{directory} exists and is not a job tree",
            code="JT306",
            fix="give a new directory with --jobTree, or an empty one",
        )
    draft = draft_of(directory)
    try:
        os.makedirs(os.path.dirname(directory), exist_ok=True)
        check_parent(directory)
        drop_abandoned(directory)
        for name in ("", *layout.SUBDIRECTORIES):
            os.mkdir(f"{draft}/{name}", 0o700)
        yield draft
        if os.path.isdir(directory):
            os.rmdir(directory)
        os.rename(draft, directory)
        sync_directory(os.path.dirname(directory))
    except OSError as error:
        drop(draft)
        raise StoreError(
            f"job tree {directory} cannot be made: {error.strerror}",
            code="JT307",
            where=str(error.filename or directory),
            fix="give a directory you can write, with space left, with --jobTree",
        ) from error
    except BaseException:
        drop(draft)
        raise


def draft_of(directory: str) -> str:
    """Return where this process makes the tree that is to be at `directory`."""
    return f"{_drafts(directory)}{os.getpid()}-{own_start()}"


def _drafts(directory: str) -> str:
    """Return how the names of drafts begin whose makers can be looked at from here."""
    place = blake2b("\n".join(here()).encode(), digest_size=4).hexdigest()
    return f"{directory}~{os.uname().nodename}.{place}."


def drop_abandoned(directory: str) -> None:
    """Remove what masters left that died while they made the tree, as far as that can be seen."""
    beginning = _drafts(directory)
    for name in os.listdir(os.path.dirname(directory)):
        path = os.path.join(os.path.dirname(directory), name)
        pid, _, started = path.removeprefix(beginning).partition("-")
        if not (path.startswith(beginning) and pid.isdecimal() and started.isdecimal()):
            continue
        if process_start(int(pid)) not in (int(started), None) and os.access(path, os.W_OK):
            drop(path)


def drop(draft: str) -> None:
    """Remove a draft, as far as that is possible."""
    import shutil

    shutil.rmtree(draft, ignore_errors=True)
