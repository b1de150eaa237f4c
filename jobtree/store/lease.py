"""The lease: which master holds a tree. Of any two that try, one wins.

Owns `leases/`; knows no jobs. Read next: holder.py, who may be seen to be dead; store.py, which
the holder alone opens.

Each holder has an epoch, a file of its own called by it, made by hard link: so no two masters
share an epoch. A holder that can be looked at is dead when its process is. Any other is watched,
and dead when its lease has not changed for STALE_S of one's own monotonic clock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

from jobtree.errors import LostTree, StoreError
from jobtree.mailbox.files import (
    random_name,
    read_file,
    remove_file,
    sync_directory,
    write_all,
    write_file,
)
from jobtree.mailbox.layout import DATABASE, LEASES
from jobtree.store.holder import (
    Holder,
    Place,
    decode,
    encode,
    here,
    is_alive,
    is_database,
    own_start,
)

RENEW_S = 10.0
STALE_S = 60.0
POLL_S = 1.0
LOOKED_S = 10.0
LOOK_POLL_S = 0.05
LOOKS = 5

TimeSource = Callable[[], float]


class Leases:
    """The leases of one tree, and the place from which they are looked at.

    look, own_start: how processes are seen there.
    """

    look: Callable[[int], int | None] | None = None

    def __init__(self, tree: str, place: Place | None = None) -> None:
        self.tree, self._folder = tree, f"{tree}/{LEASES}"
        self.place = place or here()

    def latest(self) -> Holder | None:
        """Return the holder of the highest epoch, living or not; None in a tree never held.

        One whose lease is empty or torn is a holder unknown. Raises OSError.
        """
        for tries_left in reversed(range(LOOKS)):
            epochs = [int(name) for name in os.listdir(self._folder) if name.isdigit()]
            if not epochs:
                return None
            try:
                return decode(max(epochs), read_file(f"{self._folder}/{max(epochs)}"))
            except FileNotFoundError:  # swept since it was listed: there are later ones
                if not tries_left:
                    raise
        raise AssertionError("unreachable")

    def is_alive(self, holder: Holder) -> bool | None:
        """Tell whether a holder lives; None if that cannot be seen from here."""
        return is_alive(holder, self.place, self.look)

    def new_holder(self, epoch: int, database: str, looks: bool, copying: bool) -> Holder:
        """Return this process as the holder of an epoch it has yet to make."""
        place = self.place
        return Holder(
            epoch=epoch,
            host=place.host,
            pid=os.getpid(),
            started=own_start(),
            boot=place.boot,
            nonce=random_name(8),
            database=database,
            renewed=0,
            released=False,
            looks=looks,
            copying=copying,
            machine=place.machine,
            namespace=place.namespace,
        )

    def make(self, holder: Holder) -> bool:
        """Make the epoch's file; True if it is ours, False if another master made it first."""
        own = f"{self._folder}/{holder.epoch}~{holder.nonce}"
        fd = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            write_all(fd, encode(holder))
            os.fsync(fd)
            try:
                os.link(own, f"{self._folder}/{holder.epoch}")
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
        sync_directory(self._folder)
        return won

    def write(self, holder: Holder) -> None:
        """Rewrite the file of an epoch that is ours, durably: a torn lease tells nobody anything.

        Raises OSError.
        """
        write_file(f"{self._folder}/{holder.epoch}", encode(holder))

    def sweep(self, epoch: int) -> None:
        """Remove the leases of long ago, and what masters left that died while they tried."""
        for name in os.listdir(self._folder):
            number, draft, _ = name.partition("~")
            if number.isdigit() and int(number) < (epoch + 1 if draft else epoch - 1):
                remove_file(f"{self._folder}/{name}")

    def newest_database(self) -> str:
        """Return which file the tree is in, where no lease says: the last complete copy, if any."""
        copies = []
        for name in os.listdir(self.tree):
            number = name.removeprefix("tree.").removesuffix(".db")
            if number.isdigit() and is_database(name):
                copies.append(int(number))
        return f"tree.{max(copies)}.db" if copies else DATABASE


def latest(tree: str) -> Holder | None:
    """Return the holder of the highest epoch, living or not; None in a tree never held."""
    return Leases(tree).latest()


class Watch:
    """Who holds a tree, and for how long a holder that cannot be looked at has left no trace."""

    def __init__(self, leases: Leases, clock: TimeSource = time.monotonic) -> None:
        self._leases, self._clock = leases, clock
        self.holder = leases.latest()
        self.since = clock()
        self.changed = False

    def lives(self) -> bool | None:
        """Look again; return whether the tree is held, None as long as that is open.

        False as well if the lease has not changed for STALE_S, True as well if it has changed.
        """
        now, before = self._leases.latest(), self.holder
        if now != before:
            self.holder, self.since, self.changed = now, self._clock(), True
        if now is None:
            return False
        alive = self._leases.is_alive(now)
        if alive is None and (now != before or self.changed):
            return True
        if alive is None and self._clock() - self.since >= STALE_S:
            return False
        return alive


class Lease:
    """A tree held by this process, from acquire() to release()."""

    def __init__(
        self,
        leases: Leases,
        holder: Holder,
        clock: TimeSource = time.monotonic,
        epoch_clock: TimeSource = time.time,
    ) -> None:
        self.holder = holder
        self._leases, self._clock, self._epoch_clock = leases, clock, epoch_clock
        self._renewed_at, self._renewed_epoch = clock(), epoch_clock()

    @property
    def epoch(self) -> int:
        """The number of this hold, higher than of any before it."""
        return self.holder.epoch

    def renew(self) -> bool:
        """Rewrite the lease every RENEW_S; False if another master has taken the tree.

        By either clock: the monotonic one stands still while a machine sleeps.
        """
        now, epoch = self._clock(), self._epoch_clock()
        if now - self._renewed_at < RENEW_S and abs(epoch - self._renewed_epoch) < RENEW_S:
            return True
        self._renewed_at, self._renewed_epoch = now, epoch
        if not self.is_ours():
            return False
        self.holder = self.holder._replace(renewed=self.holder.renewed + 1)
        with suppress(OSError):  # a full disk: whoever takes the tree for left is seen next time
            self._leases.write(self.holder)
        return True

    def keep(self) -> None:
        """Renew the lease if it is time to: between the pieces of all that may take long.

        Raises LostTree if another master has taken the tree.
        """
        if not self.renew():
            raise LostTree(
                "another master has taken this tree; this one changes nothing more",
                where=self._leases.tree,
                fix=f"watch it:  jobtree status {self._leases.tree}",
            )

    def is_ours(self) -> bool:
        """Look whether any later epoch has begun. Our own cannot be another's, though torn."""
        found = self._leases.latest()
        if found is None or found.epoch != self.epoch:
            return False
        return found.nonce == self.holder.nonce or not found.is_known

    def record_database(self, name: str) -> None:
        """Say which file the tree is in from now on. Durable."""
        self.holder = self.holder._replace(database=name, copying=False)
        self._leases.write(self.holder)

    def release(self) -> None:
        """Let go, so that the next master need not wait; where that fails, it has to."""
        with suppress(OSError):
            if self.is_ours():
                self.holder = self.holder._replace(released=True)
                self._leases.write(self.holder)


def acquire(
    tree: str | Leases,
    looks: bool = False,
    wait: Callable[[float], None] = time.sleep,
    clock: TimeSource = time.monotonic,
    notice: Callable[[str], None] = lambda _: None,
    watch: Watch | None = None,
) -> tuple[Lease, Holder | None]:
    """Take the tree; return the lease and who held it before.

    Raises StoreError JT302 when a live master holds it. A holder that cannot be seen from here is
    watched for STALE_S before it is taken for dead, less what `watch` has watched of it; a
    command that only looks is waited for, and never takes what it would have to watch.
    """
    leases = Leases(tree) if isinstance(tree, str) else tree
    _await_lookers(leases, wait, clock)
    watch = watch or Watch(leases, clock)
    alive = watch.lives() if looks else decide(watch, wait, notice)
    before = watch.holder
    if before is not None and alive is not False:
        raise held(leases.tree, before)
    unseen = before is not None and leases.is_alive(before) is None
    holder = leases.new_holder(
        1 if before is None else before.epoch + 1,
        DATABASE if before is None else before.database or leases.newest_database(),
        looks,
        before is not None and (before.copying or unseen),
    )
    if not leases.make(holder):
        raise held(leases.tree, leases.latest() or holder)
    leases.sweep(holder.epoch)
    return Lease(leases, holder, clock), before


def _await_lookers(leases: Leases, wait: Callable[[float], None], clock: TimeSource) -> None:
    """Wait for commands that only look: they let go in a moment."""
    found = leases.latest()
    end = clock() + LOOKED_S
    while found is not None and found.looks and leases.is_alive(found) and clock() < end:
        wait(LOOK_POLL_S)
        found = leases.latest()


def decide(
    watch: Watch,
    wait: Callable[[float], None] = time.sleep,
    notice: Callable[[str], None] = lambda _: None,
) -> bool:
    """Return whether a tree is held; watch a holder that cannot be looked at until it is known."""
    alive = watch.lives()
    if alive is not None or watch.holder is None:
        return bool(alive)
    notice(
        f"held by {watch.holder.described()}, which cannot be looked at from here; "
        f"watching its lease for {STALE_S:.0f} s"
    )
    while alive is None:
        wait(POLL_S)
        alive = watch.lives()
    return alive


def held(tree: str, holder: Holder) -> StoreError:
    """Return the refusal of a tree that another master holds."""
    stop = f"jobtree kill {tree}"
    if is_alive(holder):  # else its number may be another process here
        stop = f"kill {holder.pid}"
    return StoreError(
        f"job tree {tree} is held by another master",
        code="JT302",
        where=holder.described(),
        why="two masters on one tree would undo each other's work",
        fix=f"wait for it, watch it:  jobtree status {tree}\n"
        f"or stop it:  {stop}   then:  jobtree restart {tree}",
    )
