"""How files on a shared file system are written, read and removed safely.

Owns the rules NFS and its kin impose; knows nothing of what the files say.
Read next: orders.py. Rules: a name appears complete or not at all (write, fsync, rename);
errors of close and fsync are errors; a stale handle is opened again by path; "not there"
counts only after the directory was listed afresh.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable

from jobtree.errors import StoreError
from jobtree.mailbox.keepalive import KeepAlive, nothing

STALE_RETRIES = 5
STALE_WAIT_S = 0.2


def random_name(length: int) -> str:
    """Return `length` random bytes in hexadecimal; the secrets module is slower to import."""
    return os.urandom(length).hex()


def write_file(
    path: str, content: bytes, sync: bool = True, only_if: Callable[[], bool] | None = None
) -> None:
    """Put `content` at `path` whole: readers see the old file, or all of the new one.

    only_if: asked last, as this process may have slept while it wrote; the old file stays if it
    says no. Raises OSError, also for what close or fsync report (a full disk, a quota).
    """
    draft = f"{path}~{os.getpid()}-{random_name(4)}"  # numbers repeat on hosts and in namespaces
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            write_all(fd, content)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        if only_if is not None and not only_if():
            remove_file(draft)
            return
        os.rename(draft, path)
    except OSError:
        remove_file(draft)
        raise
    if sync:
        sync_directory(os.path.dirname(path))


def write_all(fd: int, content: bytes) -> None:
    """Write every byte, as os.write may stop short."""
    written = os.write(fd, content)
    while written < len(content):
        written += os.write(fd, memoryview(content)[written:])


def sync_directory(path: str) -> None:
    """Make new names in a directory durable; file systems that cannot are let be."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


def read_file(path: str, offset: int = 0, limit: int = -1, own: bool = False) -> bytes:
    """Return up to `limit` bytes from `offset`; opened afresh, so that NFS shows the newest.

    own: only from a file that nobody but this user can have written. Raises StoreError (JT330)
    if it is not, OSError if it cannot be read.
    """
    for tries_left in reversed(range(STALE_RETRIES)):
        try:
            fd = open_own(path) if own else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return _read_range(fd, offset, limit)
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno != errno.ESTALE or not tries_left:
                raise
        time.sleep(STALE_WAIT_S)
    raise AssertionError("unreachable")


def _read_range(fd: int, offset: int, limit: int) -> bytes:
    there = max(0, os.fstat(fd).st_size - offset)
    left = there if limit < 0 else min(limit, there)
    parts = []
    while left and (part := os.pread(fd, left, offset)):
        parts.append(part)
        offset, left = offset + len(part), left - len(part)
    return b"".join(parts)


def exists_after_listing(path: str) -> bool:
    """Tell whether `path` exists, looking again after listing its directory if it seems not."""
    if os.path.lexists(path):
        return True
    try:
        return os.path.basename(path) in os.listdir(os.path.dirname(path))
    except FileNotFoundError:
        return False


def sync_file(path: str) -> None:
    """Make durable what anyone has written to a file; one that is not there is let be."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_file(path: str) -> None:
    """Remove a file that may be gone already."""
    try:
        os.unlink(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESTALE):
            raise


def remove_tree(path: str, keep_alive: KeepAlive = nothing) -> None:
    """Remove a directory and all in it, following no symlink; it may be gone already.

    Directories a job left without write permission are opened up first. What cannot be
    removed is left for `clean`; NFS's own `.nfs*` files go when their last user does.
    keep_alive: called before each file; what it raises ends the removal.
    """
    folder, name = os.path.split(path.rstrip("/"))
    try:
        parent = os.open(folder or ".", _FOLDER)
    except OSError:
        return
    try:
        _remove(name, parent, parent, 0, keep_alive)
    finally:
        os.close(parent)


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
DEEPEST = 100
"""A directory so deep in what is removed is moved up first: descriptors and calls are few."""


def _remove(name: str, fd: int, top: int, depth: int, keep_alive: KeepAlive) -> bool:
    """Remove an entry of the directory `fd`, and what is below it; tell whether it is gone."""
    keep_alive()
    try:
        if not stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
            return _removed(os.unlink, name, fd, depth)
        if depth > DEEPEST:
            aside = f"{random_name(8)}~removing"
            os.rename(name, aside, src_dir_fd=fd, dst_dir_fd=top)
            return True
        own = _enter(name, fd)
    except OSError:
        return False
    try:
        _empty(own, own if depth == 0 else top, depth, keep_alive)
    finally:
        os.close(own)
    return _removed(os.rmdir, name, fd, depth)


def _empty(fd: int, top: int, depth: int, keep_alive: KeepAlive) -> None:
    """Remove what is in a directory, listing it until no more can be removed."""
    gone = True
    while gone:
        gone = False
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    gone = _remove(entry.name, fd, top, depth + 1, keep_alive) or gone
        except OSError:
            return


def _enter(name: str, fd: int) -> int:
    """Open a directory, opening it up if it has to be."""
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=fd)
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)


def _removed(remove: Callable[..., None], name: str, fd: int, depth: int) -> bool:
    """Remove one entry, opening its directory up if it has to be; tell whether it is gone."""
    try:
        try:
            remove(name, dir_fd=fd)
        except PermissionError:
            if depth == 0:  # its directory is none of what is removed
                return False
            os.fchmod(fd, 0o700)
            remove(name, dir_fd=fd)
    except OSError:
        return False
    return True


def read_private_range(path: str, offset: int, length: int) -> bytes:
    """Return a range of a file that only this user can have written.

    Raises StoreError (JT330) if others can have, OSError if it cannot be read.
    """
    return read_file(path, offset, length, own=True)


def open_own(path: str) -> int:
    """Open for reading what only this user can have written; checked on the descriptor.

    Not through a symlink. Raises StoreError (JT330) if others can have written it, OSError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise refuse_link(path) from None
        raise
    try:
        check_private(os.fstat(fd), path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def refuse_link(path: str) -> StoreError:
    """Return the refusal of a symbolic link."""
    return StoreError(
        f"{path} is a symbolic link",
        code="JT330",
        why="what it leads to may be another user's",
        fix="put the real thing there",
    )


def check_private(found: os.stat_result, path: str) -> None:
    """Refuse what another user owns or may write. Raises StoreError (JT330)."""
    if found.st_uid != os.geteuid():
        raise StoreError(
            f"{path} belongs to another user (uid {found.st_uid})",
            code="JT330",
            why="what it holds is executed: only files of your own are trusted",
            fix="use a job tree of your own",
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreError(
            f"{path} can be written by other users (mode {stat.S_IMODE(found.st_mode):04o})",
            code="JT330",
            why="what it holds is executed: others could make you run anything",
            fix=f"chmod -R go-w {path}   (after making sure nobody has altered it)",
        )
