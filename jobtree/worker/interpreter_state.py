"""What a process has besides memory and files, and a Target may change for those after it.

Owns the list of it, its noting and its putting back; must not know what a Target is.
Read next: process_state.py, which asks for it after each one.

Each thing is looked at for less than a microsecond. What is the same is let be; what cannot be
put back, as a limit that only root may raise, makes the process unfit for another Target.
"""

import _locale
import _socket
import gc
import os
import resource
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

from jobtree.mailbox.descriptors import move_high

_LIMITS = [
    (name, getattr(resource, name))
    for name in (
        *("RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE"),
        *("RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_STACK"),
    )
]


class _Thing(NamedTuple):
    """Something of the interpreter's or the process's, that can be read and set."""

    name: str
    get: Callable[[], Any]
    set: Callable[[Any], object]
    glance: Callable[[], Any] | None = None
    """what is looked at after each step, where `get` takes long"""


def _set_filters(filters: list[Any]) -> None:
    warnings.filters[:] = filters  # type: ignore[index]
    getattr(warnings, "_filters_mutated", int)()


def _hooks() -> tuple[object, ...]:
    return sys.excepthook, sys.displayhook, sys.unraisablehook


def _set_hooks(hooks: tuple[Any, ...]) -> None:
    sys.excepthook, sys.displayhook, sys.unraisablehook = hooks


_THINGS = (
    _Thing("garbage collection", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    _Thing("garbage collection", gc.get_threshold, lambda each: gc.set_threshold(*each)),
    _Thing("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    _Thing("switch interval", sys.getswitchinterval, sys.setswitchinterval),
    _Thing("hooks", _hooks, _set_hooks),
    _Thing("warning filters", lambda: list(warnings.filters), _set_filters),
    _Thing("socket time-out", _socket.getdefaulttimeout, _socket.setdefaulttimeout),
    _Thing(
        "locale",
        partial(_locale.setlocale, _locale.LC_ALL, None),
        partial(_locale.setlocale, _locale.LC_ALL),
        partial(_locale.setlocale, _locale.LC_NUMERIC, None),
    ),
    _Thing(
        "nice value",
        partial(os.getpriority, os.PRIO_PROCESS, 0),
        partial(os.setpriority, os.PRIO_PROCESS, 0),
    ),
    _Thing(
        "scheduling policy",
        partial(os.sched_getscheduler, 0),
        lambda policy: os.sched_setscheduler(0, policy, os.sched_param(0)),
    ),
)


_GLANCES = [thing.glance or thing.get for thing in _THINGS]


class _Calls:
    """Whether a limit or the locale was set: to ask for all of them takes longer than a step."""

    noticed = False

    @classmethod
    def watch(cls, module: ModuleType, name: str) -> None:
        """Notice calls of a function."""
        real: Callable[..., Any] = vars(module)[name]

        def noticed(*arguments: Any) -> Any:
            cls.noticed = True
            return real(*arguments)

        vars(module)[name] = noticed


class InterpreterState:
    """What this process was like when it was last noted."""

    def __init__(self) -> None:
        self._identity: bytes | None = None
        self._root = _root()
        _Calls.watch(resource, "setrlimit")
        _Calls.watch(resource, "prlimit")
        _Calls.watch(_locale, "setlocale")
        self.note(b"")

    def note(self, status: bytes) -> None:
        """Take everything as it is now. status: /proc/self/status, b"" if not known."""
        self._values = [thing.get() for thing in _THINGS]
        self._glances = [glance() for glance in _GLANCES]
        self._limits = [(name, limit, resource.getrlimit(limit)) for name, limit in _LIMITS]
        self._cpus = _line(status, b"\nCpus_allowed:")
        self._affinity, self._group = os.sched_getaffinity(0), os.getpgrp()
        if status:
            self._identity = _identity(status)

    def put_back(self) -> str:
        """Undo what was changed since; return what could not be, "" if all is as it was."""
        left = []
        root, inode = self._root
        if root >= 0 and os.stat("/")[1:3] != inode and not _did(_enter, root):
            left.append("root directory")
        if _Calls.noticed or [glance() for glance in _GLANCES] != self._glances:
            left += self._put_back_limits() + self._put_back_things()
            _Calls.noticed = bool(left)
        return ", ".join(left)

    def _put_back_things(self) -> list[str]:
        """Undo changes of the interpreter; return which could not be undone."""
        return [
            thing.name
            for thing, value in zip(_THINGS, self._values, strict=True)
            if thing.get() != value and not (_did(thing.set, value) and thing.get() == value)
        ]

    def _put_back_limits(self) -> list[str]:
        """Undo changes of limits; return which could not be undone."""
        changed = [each for each in self._limits if resource.getrlimit(each[1]) != each[2]]
        return [f"limit {name}" for name, *it in changed if not _did(resource.setrlimit, *it)]

    def is_another(self, status: bytes) -> str:
        """Say in what this is another process by now; "" if in nothing.

        Undoes changes of its affinity and process group.

        status: /proc/self/status as it is now, b"" if not known.
        """
        if not status or self._identity is None:
            return ""
        if self._cpus != _line(status, b"\nCpus_allowed:"):
            _did(os.sched_setaffinity, 0, self._affinity)  # not ours alone: cpusets may change too
        if _identity(status) == self._identity:
            return ""
        if os.getpgrp() != self._group and _did(os.setpgid, 0, self._group):
            with open("/proc/self/status", "rb") as file:
                if _identity(file.read()) == self._identity:
                    return ""
        return "its user, session, groups or capabilities are others now"


def draw_anew() -> None:
    """Seed the generators that all users of a module share, as a new process would.

    A Target that seeds them, or a fork, must not make others draw what is known.
    """
    random: Any = sys.modules.get("random")
    if random is not None:
        random.seed(int.from_bytes(os.urandom(32)))
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        with suppress(Exception):  # half imported, or of a kind that has no seed
            entropy = os.urandom(16)
            numpy_random.seed([int.from_bytes(entropy[at : at + 4]) for at in range(0, 16, 4)])


def _root() -> tuple[int, tuple[int, ...]]:
    """Return a descriptor of the root directory, for who may change it (else -1), and its inode."""
    fd = (
        -1 if os.geteuid() else move_high(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    )
    return fd, os.stat("/")[1:3]


def _enter(root: int) -> None:
    """Make the directory of a descriptor the root directory again."""
    os.fchdir(root)
    os.chroot(".")


def _did(change: Callable[..., object], *arguments: Any) -> bool:
    try:
        change(*arguments)
    except Exception:  # noqa: BLE001 - whatever keeps it from being done
        return False
    return True


def _line(status: bytes, name: bytes) -> bytes:
    """Return one line of a /proc/PID/status, b"" if there is none."""
    at = status.find(name)
    return b"" if at < 0 else status[at : status.find(b"\n", at + 1)]


def fingerprint(status: bytes) -> bytes:
    """Return all of a /proc/PID/status that is looked at here, and what stands between.

    Where it is the same nothing has changed: that is found quicker than each thing is.
    """
    users = status.find(b"\nUid:")
    memory = status.find(b"\nVmPeak:", users)
    signals = status.find(b"\nSigBlk:", memory)
    return status[users:memory] + status[signals : status.find(b"\nMems_allowed:", signals)]


def _identity(status: bytes) -> bytes:
    """Return what a /proc/PID/status tells of user, groups, session, and what it may do."""
    users = status.find(b"\nUid:")
    groups = status.find(b"\nGroups:", users)
    may = status.find(b"\nCapInh:", groups)
    return (
        status[users : status.find(b"\nFDSize:", users)]
        + status[groups : status.find(b"\nVmPeak:", groups)]
        + status[may : status.find(b"\nSpeculation_Store_Bypass:", may)]
    )
