"""The holder of a tree: who that is, where it runs, and whether it can be seen to live.

Owns what tells one machine, one boot and one PID namespace from another; opens no tree.
Read next: lease.py; docs/decisions/0010-who-a-holder-is.md.

A process is looked at only from where its number means the same process: in its PID namespace, on
the same boot of the same machine. From anywhere else it is neither alive nor dead, but unknown.
"""

import json
import os
import socket
from _blake2 import blake2b  # hashlib is slower to import
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple

MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")


class Place(NamedTuple):
    """Where a process runs: what must agree before its number may be looked up."""

    host: str
    machine: str  # a digest of the id that its installation gave the machine; "": it has none
    boot: str  # of its kernel; "": it cannot be told, and agrees with nothing
    namespace: str  # of its process numbers and their times; "": as for boot

    def is_same(self, other: "Place") -> bool:
        """Tell whether a process there can be looked at from here."""
        return self == other and bool(self.boot and self.namespace)


class Holder(NamedTuple):
    """Who holds an epoch."""

    epoch: int
    host: str
    pid: int
    started: int  # as process_start() tells it
    boot: str
    nonce: str
    database: str  # the file the tree is in
    renewed: int  # how often
    released: bool  # it let go
    looks: bool  # it is no master, but a command that answers a question and lets go again
    copying: bool = False  # a lost master may still write that file: copy it before opening it
    machine: str = ""  # see Place; leases of earlier versions have neither
    namespace: str = ""

    @property
    def place(self) -> Place:
        """Where it runs."""
        return Place(self.host, self.machine, self.boot, self.namespace)

    @property
    def is_known(self) -> bool:
        """Whether its lease could be read."""
        return self.pid > 0

    def described(self) -> str:
        """Return who this is, for people."""
        if not self.is_known:
            return f"unknown: the lease of epoch {self.epoch} cannot be read"
        return f"process {self.pid} on {self.host}"


def here() -> Place:
    """Return where this process runs."""
    return Place(socket.gethostname(), _machine_id(), _boot_id(), _namespace())


def is_alive(
    holder: Holder, place: Place | None = None, look: Callable[[int], int | None] | None = None
) -> bool | None:
    """Tell whether the holder lives; None if that cannot be seen from `place`, which is here.

    look: what process_start() is here.
    """
    if holder.released:
        return False
    if not holder.started or not holder.place.is_same(place or here()):
        return None
    started = (look or process_start)(holder.pid)
    return None if started is None else started == holder.started


def own_start() -> int:
    """Return when this process started, as process_start() does; 0 if it cannot be told."""
    try:
        return _start_of("self")
    except (OSError, IndexError, ValueError):
        return 0


def process_start(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; 0 if it is gone, None if unknown.

    A zombie is gone: in a container whose first process reaps nothing it stays for ever. One
    that /proc does not show is gone only if it cannot be sent a signal either: /proc may hide it.
    """
    try:
        return _start_of(str(pid))
    except (FileNotFoundError, ProcessLookupError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return 0
        except OSError:
            return None
        return None
    except (OSError, IndexError, ValueError):
        return None


def _start_of(name: str) -> int:
    with open(f"/proc/{name}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def _machine_id() -> str:
    """Return a digest of this machine's id: machine-id(5) asks not to show the id itself."""
    for path in MACHINE_IDS:
        with suppress(OSError), open(path, "rb") as file:
            if said := file.read(256).strip():
                return _sha256(b"jobtree holder\n" + said)[:32]
    return ""


def _sha256(content: bytes) -> str:
    """Return a digest that masters of all versions agree in; hashlib itself is slower to import."""
    for name in ("_sha2", "_sha256"):  # since Python 3.12, and before; some are built without
        with suppress(ImportError):
            found: str = import_module(name).sha256(content).hexdigest()
            return found
    return import_module("hashlib").sha256(content).hexdigest()  # type: ignore[no-any-return]


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def _namespace() -> str:
    """Return what tells this process's PID and time namespace; "" if /proc shows another's."""
    try:
        with open("/proc/self/status", "rb") as file:
            numbers = file.read().partition(b"\nNSpid:")[2].partition(b"\n")[0].split()
        if len(numbers) > 1 or int(os.readlink("/proc/self")) != os.getpid():
            return ""
        found = os.readlink("/proc/self/ns/pid")
    except (OSError, ValueError):
        return ""
    with suppress(OSError):  # kernels before 5.6 have but one time
        found += f" {os.readlink('/proc/self/ns/time')}"
    return found


def encode(holder: Holder) -> bytes:
    """Return what a lease file says."""
    return json.dumps(holder._asdict()).encode() + b"\n"


def decode(epoch: int, content: bytes) -> Holder:
    """Return who a lease file names: a holder unknown if it is empty, torn, or makes no sense.

    What another version has added to it is left out.
    """
    try:
        said: dict[str, Any] = json.loads(content)
        found = Holder(**{name: said[name] for name in Holder._fields if name in said})
        ints = (found.epoch, found.pid, found.started, found.renewed)
        words = (found.host, found.boot, found.nonce, found.machine, found.namespace)
        fits = all(type(n) is int for n in ints) and all(type(w) is str for w in words)
        if fits and found.epoch == epoch and found.pid > 0 and is_database(found.database):
            return found
    except (ValueError, TypeError, AttributeError, KeyError):
        pass
    seen = blake2b(content, digest_size=8).hexdigest()
    return Holder(epoch, "", 0, 0, "", seen, "", 0, False, False, True)


def is_database(name: object) -> bool:
    """Tell whether a lease may name this file as the tree's."""
    return isinstance(name, str) and name.startswith("tree.") and "/" not in name
