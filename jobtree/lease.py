"""The lease: which master holds a tree. Of any two that try, one wins.

Owns `leases/`; knows no jobs. Read next: store.py, which the holder alone opens.

Each holder has an epoch, a file of its own called by it, made by hard link: so no two masters
share an epoch. On one host a holder is dead when its process is; from another host when its
lease has not changed for STALE_S of one's own monotonic clock.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from jobtree.errors import StoreError
from jobtree.mailbox.files import (
    random_name,
    read_file,
    remove_file,
    sync_directory,
    write_all,
    write_file,
)
from jobtree.mailbox.layout import DATABASE, LEASES

RENEW_S = 10.0
STALE_S = 60.0
POLL_S = 1.0
LOOKED_S = 10.0
LOOK_POLL_S = 0.05


class Holder(NamedTuple):
    """Who holds an epoch. released: it let go. database: the file the tree is in.

    looks: it is no master, but a command that answers a question and lets go again. copying:
    that file may still be written by a lost master, and must be copied before it is opened.
    """

    epoch: int
    host: str
    pid: int
    started: int
    boot: str
    nonce: str
    database: str
    renewed: int
    released: bool
    looks: bool
    copying: bool = False


def process_start(pid: int) -> int:
    """Return when a process of this host started, in clock ticks since boot; 0 if it is gone.

    A zombie is gone: in a container whose first process reaps nothing it stays for ever.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0


def boot_id() -> str:
    """Return what tells this boot of this host from any other."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


def latest(tree: str) -> Holder | None:
    """Return the holder of the highest epoch, living or not; None in a tree never held."""
    folder = f"{tree}/{LEASES}"
    epochs = [int(name) for name in os.listdir(folder) if name.isdigit()]
    return _read(f"{folder}/{max(epochs)}") if epochs else None


def is_here(holder: Holder) -> bool:
    """Tell whether the holder ran on this host since its last boot."""
    return holder.host == socket.gethostname() and holder.boot == boot_id()


def is_alive(holder: Holder) -> bool | None:
    """Tell whether the holder lives; None if that cannot be seen from this host."""
    if holder.released:
        return False
    if holder.host != socket.gethostname():
        return None
    return holder.boot == boot_id() and process_start(holder.pid) == holder.started


class Lease:
    """A tree held by this process, from take() to release()."""

    def __init__(self, tree: str, holder: Holder) -> None:
        self.holder = holder
        self._tree = tree
        self._path = f"{tree}/{LEASES}/{holder.epoch}"
        self._renewed_at, self._renewed_epoch = time.monotonic(), time.time()

    @property
    def epoch(self) -> int:
        """The number of this hold, higher than of any before it."""
        return self.holder.epoch

    def renew(self, now: float) -> bool:
        """Rewrite the lease every RENEW_S; False if another master has taken the tree.

        By either clock: the monotonic one stands still while a machine sleeps.
        """
        epoch = time.time()
        if now - self._renewed_at < RENEW_S and abs(epoch - self._renewed_epoch) < RENEW_S:
            return True
        self._renewed_at, self._renewed_epoch = now, epoch
        if not self.is_ours():
            return False
        self.holder = self.holder._replace(renewed=self.holder.renewed + 1)
        with suppress(OSError):  # a full disk: whoever takes the tree for left is seen next time
            write_file(self._path, _encode(self.holder), sync=False)
        return True

    def is_ours(self) -> bool:
        """Look whether any later epoch has begun."""
        found = latest(self._tree)
        return found is not None and found.epoch == self.epoch and found.nonce == self.holder.nonce

    def record_database(self, name: str) -> None:
        """Say which file the tree is in from now on. Durable."""
        self.holder = self.holder._replace(database=name, copying=False)
        write_file(self._path, _encode(self.holder))

    def release(self) -> None:
        """Let go, so that the next master need not wait; where that fails, it has to."""
        with suppress(OSError):
            if self.is_ours():
                self.holder = self.holder._replace(released=True)
                write_file(self._path, _encode(self.holder))


def take(
    tree: str,
    looks: bool = False,
    wait: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    notice: Callable[[str], None] = lambda _: None,
) -> tuple[Lease, Holder | None]:
    """Take the tree; return the lease and who held it before.

    Raises StoreError JT302 when a live master holds it. A holder on another host is watched for
    STALE_S before it is taken for dead; one that only looks is waited for.
    """
    before = latest(tree)
    if before is not None and before.looks:
        end = clock() + LOOKED_S
        while before is not None and before.looks and is_alive(before) and clock() < end:
            wait(LOOK_POLL_S)
            before = latest(tree)
    if before is not None:
        alive = is_alive(before)
        if alive is None:
            alive = _changes(tree, before, wait, clock, notice)
        if alive:
            raise _held(tree, before)
    epoch = 1 if before is None else before.epoch + 1
    holder = Holder(
        epoch,
        socket.gethostname(),
        os.getpid(),
        process_start(os.getpid()),
        boot_id(),
        random_name(8),
        DATABASE if before is None else before.database,
        0,
        False,
        looks,
        before is not None and _may_be_open(before),
    )
    if not _link(tree, holder):
        raise _held(tree, latest(tree) or holder)
    _sweep(f"{tree}/{LEASES}", epoch)
    return Lease(tree, holder), before


def _may_be_open(before: Holder) -> bool:
    """Tell whether a master that cannot be seen to be dead may have the database open.

    A holder that was itself still copying, or gave that up, leaves the matter as it was.
    """
    return before.copying or not (before.released or is_here(before))


def _sweep(folder: str, epoch: int) -> None:
    """Remove the leases of long ago, and what masters left that died while they tried."""
    for name in os.listdir(folder):
        number, draft, _ = name.partition("~")
        if number.isdigit() and int(number) < (epoch + 1 if draft else epoch - 1):
            remove_file(f"{folder}/{name}")


def _changes(
    tree: str,
    before: Holder,
    wait: Callable[[float], None],
    clock: Callable[[], float],
    notice: Callable[[str], None],
) -> bool:
    notice(
        f"held by process {before.pid} on {before.host}, which cannot be asked from here; "
        f"watching its lease for {STALE_S:.0f} s"
    )
    end = clock() + STALE_S
    while clock() < end:
        wait(POLL_S)
        now = latest(tree)
        if now != before:
            return now is None or not now.released
    return False


def _link(tree: str, holder: Holder) -> bool:
    """Make the epoch's file; True if it is ours, False if another master made it first."""
    folder = f"{tree}/{LEASES}"
    own = f"{folder}/{holder.epoch}~{holder.nonce}"
    fd = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        write_all(fd, _encode(holder))
        os.fsync(fd)
        try:
            os.link(own, f"{folder}/{holder.epoch}")
        except (FileExistsError, FileNotFoundError):  # the winner may have swept ours away
            pass
        except OSError as error:
            if os.fstat(fd).st_nlink != 2:
                raise StoreError(
                    f"cannot take the job tree: {error.strerror}", code="JT303", where=own
                ) from error
        won = os.fstat(fd).st_nlink == 2
    finally:
        os.close(fd)
        remove_file(own)
    sync_directory(folder)
    return won


def _held(tree: str, holder: Holder) -> StoreError:
    return StoreError(
        f"job tree {tree} is held by another master",
        code="JT302",
        where=f"process {holder.pid} on {holder.host}",
        why="two masters on one tree would undo each other's work",
        fix=f"wait for it, watch it:  jobtree status {tree}\n"
        f"or stop it on {holder.host}:  kill {holder.pid}   then:  jobtree restart {tree}",
    )


def _encode(holder: Holder) -> bytes:
    return json.dumps(holder._asdict()).encode() + b"\n"


def _read(path: str) -> Holder:
    said: dict[str, Any] = json.loads(read_file(path))
    return Holder(**said)
