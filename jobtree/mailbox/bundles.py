"""Bundles: the pickled Targets that one worker made, appended to one file.

Owns where pickles lie and whether they may be loaded; never loads one itself. Read next:
doorbell.py. Loading a pickle executes it: so it must lie in a file that only this user can write,
and have the digest that the tree recorded.
"""

from __future__ import annotations

import os
from _blake2 import blake2b  # hashlib is slower to import

from jobtree.core.job import Pickle
from jobtree.errors import StoreError
from jobtree.mailbox.descriptors import identity, leads_to, move_high
from jobtree.mailbox.files import read_private_range, write_all
from jobtree.mailbox.layout import bundle_path

READ_AHEAD_BYTES = 32 * 1024
"""So much is read at once by who is about to want the pickles that follow."""


def digest(pickled: bytes) -> str:
    """Return the digest by which a pickle is recognised."""
    return blake2b(pickled, digest_size=16).hexdigest()


class BundleWriter:
    """Appends pickles to the bundle called `name`; the file is made at the first one.

    latest: what was added last, unless it is large: it may be what runs next.
    """

    def __init__(self, tree: str, name: str) -> None:
        self._path, self._name = bundle_path(tree, name), name
        self._fd = -1
        self._identity = (0, 0)
        self._size = 0
        self.latest: tuple[Pickle, bytes] | None = None

    def add(self, pickled: bytes) -> Pickle:
        """Append one pickle; return where it lies. On disk only after sync()."""
        if self._fd < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = move_high(os.open(self._path, flags, 0o600))
            self._identity = identity(self._fd)
            self._size = os.fstat(self._fd).st_size
        where = Pickle(self._name, self._size, len(pickled), digest(pickled))
        write_all(self._fd, pickled)
        self._size += len(pickled)
        if len(pickled) <= READ_AHEAD_BYTES:
            self.latest = where, pickled
        return where

    def look_again(self) -> None:
        """Have the next pickle go behind what another process may have appended."""
        if self.repair() and self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def repair(self) -> bool:
        """Forget a descriptor that a step has closed or replaced; tell whether it was intact."""
        if self._fd < 0 or leads_to(self._fd, self._identity):
            return True
        self._fd = -1
        return False

    def sync(self) -> None:
        """Make all pickles so far durable. Raises OSError if that cannot be."""
        if self._fd >= 0:
            os.fsync(self._fd)

    def close(self) -> None:
        """Close the file, reporting what only close reports."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class BundleReader:
    """Reads the pickles of a pack: they lie side by side, so what follows one is read with it.

    own: what this process writes need not be read to be had.
    """

    def __init__(self, tree: str, own: BundleWriter) -> None:
        self._tree, self._own, self._bundle = tree, own, ""
        self._held, self._start = b"", 0

    def read(self, where: Pickle) -> bytes:
        """Return what read_pickle() does; raises what it raises."""
        if self._own.latest is not None and self._own.latest[0] == where:
            return self._own.latest[1]
        if where.length > READ_AHEAD_BYTES:
            return read_pickle(self._tree, where)
        at = where.offset - self._start
        if where.bundle == self._bundle and 0 <= at <= len(self._held) - where.length:
            pickled = self._held[at : at + where.length]
            if digest(pickled) == where.digest:  # else it may not all have been there yet
                return pickled
        path = bundle_path(self._tree, where.bundle)
        self._held = read_private_range(path, where.offset, READ_AHEAD_BYTES)
        self._bundle, self._start = where.bundle, where.offset
        return _checked(self._held[: where.length], where, path)


def read_pickle(tree: str, where: Pickle) -> bytes:
    """Return the pickled bytes, checked: the owner, the mode, the digest.

    Raises StoreError JT330 (not private), JT331 (not what was recorded), OSError (unreadable).
    """
    path = bundle_path(tree, where.bundle)
    return _checked(read_private_range(path, where.offset, where.length), where, path)


def _checked(pickled: bytes, where: Pickle, path: str) -> bytes:
    """Return what was read, if it is what the tree recorded."""
    if len(pickled) != where.length or digest(pickled) != where.digest:
        raise StoreError(
            f"a pickled Target in {path} is not what was written (byte {where.offset})",
            code="JT331",
            why="its digest differs from the one the tree recorded; it was not loaded",
            fix="restore the file from a backup, or run the tree afresh",
        )
    return pickled
