"""Signals: what a process finds set up for its signals by whoever started it.

Owns which of that is undone; imports next to nothing, for workers must start fast. Read next:
transport/local.py, which needs the exit status of every command.

exec hands on which signals are ignored and which are blocked. Where SIGCHLD is ignored the kernel
collects children itself, and no exit status is ever to be had; where SIGTERM is blocked nothing
that is started here can be asked to end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # the same calls, without an enum made of each answer

KEPT = frozenset(
    (
        *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT),
        *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
        *(signal.SIGPIPE, signal.SIGXFSZ),
    )
)
"""What nohup and shells ignore for whom they start, and they are right; what Python ignores."""

_LOOKED_AT = sorted(signal.valid_signals() - KEPT - {signal.SIGKILL, signal.SIGSTOP})


def reset() -> None:
    """Have signals do what they do in a process that nobody has prepared; for good.

    What this process handles stays handled. In a thread other than the main one only the
    thread's mask can be set.
    """
    _undo()


@contextmanager
def expected() -> Iterator[None]:
    """Have it so for a while: for what is called as a library."""
    ignored, blocked = _undo()
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def hear_of_children() -> None:
    """Have the ends of children told to this process, if nobody asked for anything else."""
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        with suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _undo() -> tuple[list[int], set[int]]:
    """Undo what was handed on; return what was ignored, and what was blocked."""
    ignored = [n for n in _LOOKED_AT if signal.getsignal(n) == signal.SIG_IGN]
    for at, number in enumerate(ignored):
        try:
            signal.signal(number, signal.SIG_DFL)
        except ValueError:  # not the main thread
            ignored = ignored[:at]
            break
    blocked = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return [*ignored], {*blocked}
