"""The database file of a tree: opening it, copying it, and saying what is wrong with it.

Owns how SQLite is told to behave on a shared file system; knows no tables but the version.
Read next: store.py.

Only the holder of the lease opens it, so no file lock is relied on (their working differs
between NFS, Lustre and GPFS): the unix-none VFS takes none, and exclusive mode keeps the
write-ahead log's index in memory.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from jobtree.errors import StoreError
from jobtree.mailbox.files import remove_file, sync_directory, write_all
from jobtree.store import schema

LONGEST_PATH = 504
"""Bytes: SQLite takes paths of 512, and appends up to eight characters for its log."""

CHECKED_UP_TO_BYTES = 64 * 2**20
COPY_TRIES = 5
COPY_BYTES = 8 * 2**20
DRAFT = "~copy"


def connect(path: str) -> sqlite3.Connection:
    """Open or make a database for this process alone, durable at every commit.

    Raises StoreError JT309 if its path is too long, sqlite3.Error.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise path_too_long(os.path.dirname(path))
    if not os.access(os.path.dirname(path), os.W_OK):
        raise sqlite3.OperationalError("attempt to write a readonly database")
    umask = os.umask(0o077)
    try:
        db = sqlite3.connect(
            f"file:{_quoted(path)}?vfs=unix-none", uri=True, isolation_level=None, timeout=0
        )
        db.execute("pragma locking_mode = exclusive")
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = full")
        db.execute("pragma cache_size = -65536")
        db.execute("pragma wal_autocheckpoint = 4000")
    finally:
        os.umask(umask)
    return db


def path_too_long(directory: str) -> StoreError:
    """Return the refusal of a tree in a directory whose path SQLite cannot take."""
    return StoreError(
        f"the path of the job tree is too long: {len(os.fsencode(directory))} bytes",
        code="JT309",
        where=directory,
        why="SQLite, which keeps the tree, opens files by paths of at most 512 bytes",
        fix="give a shorter path with --jobTree",
    )


def _quoted(path: str) -> str:
    """Return a path as SQLite's URIs want it; urllib is slower to import."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def check(db: sqlite3.Connection, path: str) -> None:
    """Refuse a database that is damaged, not a tree's, or of a newer version."""
    (mark,) = db.execute("pragma application_id").fetchone()
    (version,) = db.execute("pragma user_version").fetchone()
    if mark != schema.APPLICATION_ID:
        raise _damaged(path, "it is not a job tree's database")
    if version > schema.VERSION:
        raise StoreError(
            f"{path} was written by a newer jobTree",
            code="JT311",
            where=f"its version is {version}, this jobTree knows up to {schema.VERSION}",
            fix="use the newer jobTree, or run the tree afresh in another directory",
        )
    _check_length(db, path)
    if os.path.getsize(path) <= CHECKED_UP_TO_BYTES:
        verdict = db.execute("pragma quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise _damaged(path, verdict)


def _check_length(db: sqlite3.Connection, path: str) -> None:
    """Refuse a file that ends in the middle of a page, unless its log has that page still."""
    (page_bytes,) = db.execute("pragma page_size").fetchone()
    with suppress(FileNotFoundError):
        if os.path.getsize(f"{path}-wal"):
            return
    if os.path.getsize(path) % page_bytes:
        raise _damaged(path, "it is cut short")


def copy_database(old: str, new: str, keep_alive: Callable[[], object] = lambda: None) -> None:
    """Copy a database that a lost master may still have open, without opening it; check it.

    The copy gets its name only when it is whole, so that what is called so can be relied on.
    keep_alive: called between pieces of the work. Raises StoreError JT315 if it keeps changing,
    JT310 if the copy is damaged.
    """
    draft = f"{new}{DRAFT}"
    try:
        for _ in range(COPY_TRIES):
            before = _fingerprint(old)
            for suffix in ("", "-wal"):
                _copy(old + suffix, draft + suffix, keep_alive)
            if _fingerprint(old) == before:
                _finish_copy(draft, new)
                return
    except BaseException:
        _remove_draft(draft)
        raise
    _remove_draft(draft)
    raise StoreError(
        f"{old} keeps changing: another master is writing it",
        code="JT315",
        fix="stop the other master, then restart the tree",
    )


def _copy(old: str, new: str, keep_alive: Callable[[], object]) -> None:
    """Copy one file, durably; one that is not there leaves none."""
    remove_file(new)
    try:
        source = os.open(old, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if not old.endswith("-wal"):
            raise
        return
    target = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while piece := os.read(source, COPY_BYTES):
            write_all(target, piece)
            os.fsync(target)
            keep_alive()
    finally:
        os.close(source)
        os.close(target)


def _finish_copy(draft: str, new: str) -> None:
    """Check a copy, take its write-ahead log into it, and give it its name."""
    with translated_errors(draft):
        db = connect(draft)
        try:
            check(db, draft)
            db.execute("pragma wal_checkpoint(truncate)")
        finally:
            db.close()
    _remove_log(draft)
    _remove_log(new)
    os.rename(draft, new)
    sync_directory(os.path.dirname(new))


def _remove_log(path: str) -> None:
    """Remove the emptied log of a closed database; one with something in it must not be there."""
    with suppress(FileNotFoundError):
        assert os.path.getsize(f"{path}-wal") == 0, f"{path} was copied without its log"
        remove_file(f"{path}-wal")


def _remove_draft(draft: str) -> None:
    for suffix in ("", "-wal"):
        with suppress(OSError):
            remove_file(draft + suffix)


def drop_drafts(folder: str) -> None:
    """Remove what masters left that died while they copied a database."""
    for name in os.listdir(folder):
        if name.startswith("tree.") and name.removesuffix("-wal").endswith(DRAFT):
            remove_file(f"{folder}/{name}")


def _fingerprint(path: str) -> list[tuple[int, int] | None]:
    found: list[tuple[int, int] | None] = []
    for suffix in ("", "-wal"):
        try:
            status = os.stat(path + suffix)
            found.append((status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found


def _damaged(path: str, verdict: str) -> StoreError:
    return StoreError(
        f"the tree's database {path} is damaged",
        code="JT310",
        where=verdict,
        why="nothing was changed: going on could lose or repeat finished work",
        fix="restore it from a backup, or run the tree afresh in another directory",
    )


@contextmanager
def translated_errors(path: str) -> Iterator[None]:
    """Turn SQLite's errors into ones that say what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        said = str(error)
        if "full" in said:
            code, fix = "JT313", "free some space (or quota), then restart the tree"
        elif "readonly" in said or "unable to open" in said:
            code, fix = "JT312", "make the directory writable by you, then restart the tree"
        elif "malformed" in said or "not a database" in said:
            raise _damaged(path, said) from error
        else:
            code, fix = "JT314", "see that the file system works, then restart the tree"
        raise StoreError(
            f"the tree's database cannot be used: {said}",
            code=code,
            where=path,
            why="all that was committed is safe",
            fix=fix,
        ) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error
