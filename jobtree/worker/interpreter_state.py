"""Settings of the interpreter and the process that a Target may change for those after it.

Owns their list, and how they are recorded and restored; must not know what a Target is.
Read next: process_state.py, which restores them after each Target.

Each is read in less than a microsecond, and set only if it has changed. One that cannot be
restored, such as a limit that only root may raise, makes the process unfit for another Target.
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


class _Setting(NamedTuple):
    """A setting of the interpreter or the process."""

    name: str
    get: Callable[[], Any]
    set: Callable[[Any], object]
    quick_get: Callable[[], Any] | None = None
    """Read after each step in place of `get`, where that is slow."""


def _set_filters(filters: list[Any]) -> None:
    warnings.filters[:] = filters  # type: ignore[index]
    getattr(warnings, "_filters_mutated", int)()


def _hooks() -> tuple[object, ...]:
    return sys.excepthook, sys.displayhook, sys.unraisablehook


def _set_hooks(hooks: tuple[Any, ...]) -> None:
    sys.excepthook, sys.displayhook, sys.unraisablehook = hooks


_SETTINGS = (
    _Setting("garbage collection", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    _Setting("garbage collection", gc.get_threshold, lambda each: gc.set_threshold(*each)),
    _Setting("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    _Setting("switch interval", sys.getswitchinterval, sys.setswitchinterval),
    _Setting("hooks", _hooks, _set_hooks),
    _Setting("warning filters", lambda: list(warnings.filters), _set_filters),
    _Setting("socket time-out", _socket.getdefaulttimeout, _socket.setdefaulttimeout),
    _Setting(
        "locale",
        partial(_locale.setlocale, _locale.LC_ALL, None),
        partial(_locale.setlocale, _locale.LC_ALL),
        partial(_locale.setlocale, _locale.LC_NUMERIC, None),
    ),
    _Setting(
        "nice value",
        partial(os.getpriority, os.PRIO_PROCESS, 0),
        partial(os.setpriority, os.PRIO_PROCESS, 0),
    ),
    _Setting(
        "scheduling policy",
        partial(os.sched_getscheduler, 0),
        lambda policy: os.sched_setscheduler(0, policy, os.sched_param(0)),
    ),
)


_QUICK_GETS = [setting.quick_get or setting.get for setting in _SETTINGS]


class _CallWatch:
    """Whether a limit or the locale was set: reading all of them takes longer than a step."""

    noticed = False

    @classmethod
    def watch(cls, module: ModuleType, name: str) -> None:
        """Notice calls of a function from now on."""
        real: Callable[..., Any] = vars(module)[name]

        def noticed(*arguments: Any) -> Any:
            cls.noticed = True
            return real(*arguments)

        vars(module)[name] = noticed


class InterpreterState:
    """The settings of this process when they were last recorded."""

    def __init__(self) -> None:
        self._identity: bytes | None = None
        self._root = _root()
        _CallWatch.watch(resource, "setrlimit")
        _CallWatch.watch(resource, "prlimit")
        _CallWatch.watch(_locale, "setlocale")
        self.record(b"")

    def record(self, status: bytes) -> None:
        """Record all settings as they are now. status: /proc/self/status, b"" if not known."""
        self._values = [setting.get() for setting in _SETTINGS]
        self._quick_values = [get() for get in _QUICK_GETS]
        self._limits = [(name, limit, resource.getrlimit(limit)) for name, limit in _LIMITS]
        self._cpus = _line(status, b"\nCpus_allowed:")
        self._affinity, self._group = os.sched_getaffinity(0), os.getpgrp()
        if status:
            self._identity = _identity(status)

    def restore(self) -> str:
        """Undo what was changed since; return what could not be undone, "" if nothing."""
        left = []
        root, inode = self._root
        if root >= 0 and os.stat("/")[1:3] != inode and not _did(_enter, root):
            left.append("root directory")
        if _CallWatch.noticed or [get() for get in _QUICK_GETS] != self._quick_values:
            left += self._restore_limits() + self._restore_settings()
            _CallWatch.noticed = bool(left)
        return ", ".join(left)

    def _restore_settings(self) -> list[str]:
        """Undo changes of settings; return which could not be undone."""
        return [
            setting.name
            for setting, value in zip(_SETTINGS, self._values, strict=True)
            if setting.get() != value and not (_did(setting.set, value) and setting.get() == value)
        ]

    def _restore_limits(self) -> list[str]:
        """Undo changes of limits; return which could not be undone."""
        changed = [each for each in self._limits if resource.getrlimit(each[1]) != each[2]]
        return [f"limit {name}" for name, *it in changed if not _did(resource.setrlimit, *it)]

    def identity_change(self, status: bytes) -> str:
        """Return what of the process's identity was changed for good, "" if nothing.

        Undoes changes of its affinity and process group. status: /proc/self/status as it is now,
        b"" if not known.
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


def reseed() -> None:
    """Seed the shared generators of random numbers anew, as a new process would.

    After a Target that seeds them, or a fork, the next Target must not draw the same numbers.
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
    """Return a descriptor of the root directory (-1 unless root runs this), and its inode."""
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
    """Return the part of a /proc/PID/status that has all that is looked at here.

    If it is unchanged, so is all of that: one comparison is faster than many.
    """
    users = status.find(b"\nUid:")
    memory = status.find(b"\nVmPeak:", users)
    signals = status.find(b"\nSigBlk:", memory)
    return status[users:memory] + status[signals : status.find(b"\nMems_allowed:", signals)]


def _identity(status: bytes) -> bytes:
    """Return the lines of a /proc/PID/status on user, groups, session and capabilities."""
    users = status.find(b"\nUid:")
    groups = status.find(b"\nGroups:", users)
    may = status.find(b"\nCapInh:", groups)
    return (
        status[users : status.find(b"\nFDSize:", users)]
        + status[groups : status.find(b"\nVmPeak:", groups)]
        + status[may : status.find(b"\nSpeculation_Store_Bypass:", may)]
    )
