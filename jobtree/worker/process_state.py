"""The state of the worker's process that Targets may change, restored after each one.

Owns directory, umask, environment, import path, signals and standard streams; must not run
anything. Read next: interpreter_state.py for the rest; steps.py. What cannot be restored is
reported, and the worker then runs no further Target.
"""

from __future__ import annotations

import _thread
import builtins
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, TextIO

from jobtree.payload.environment import Environment, step_environ
from jobtree.worker.interpreter_state import InterpreterState, fingerprint, reseed

if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # the same calls, without an enum made of each answer

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class ProcessState:
    """The state in which every step of this worker begins."""

    def __init__(self, saved: Environment) -> None:
        """Put this process into the saved environment; the node's own variables win.

        Raises OSError if this node does not have the directory.
        """
        self.saved = saved
        self._directory, self._umask = saved.directory, saved.umask
        self.environ = step_environ(saved.environ, os.environ)
        self._environ_object = os.environ
        own = [entry for entry in sys.path if entry not in saved.sys_path]
        self._path = [*saved.sys_path, *own]
        self._argv = [saved.main_path or sys.argv[0]]
        self._site_code = saved.site_code
        self._site_to_do = saved.site_code != []
        if saved.prefix and saved.python == sys.executable:
            sys.prefix = sys.exec_prefix = saved.prefix  # -S leaves a venv's to be the base's
        sys.flags = _Flags()  # type: ignore[assignment]
        self._threads = _thread._count()
        self._modules = 0
        self._unfit = ""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._masks: tuple[bytes, ...] | None = None
        self._fingerprint = b""
        self._out, self._err = _text(1), _text(2)
        # what `site` would have added, and scripts do use
        vars(builtins)["exit"] = vars(builtins)["quit"] = sys.exit
        os.chdir(self._directory)
        self._set_environ()
        self._set_interpreter()
        os.umask(self._umask)
        self._state = InterpreterState()

    def record(self, status: Callable[[], bytes]) -> None:
        """Record the present state as the one to restore, if modules were imported since.

        What a module or the script sets when it is imported stays; what run() sets does not.
        """
        if len(sys.modules) == self._modules:
            return
        now = status()
        self._modules = len(sys.modules)
        self._threads = max(self._threads, _thread._count())
        self._state.record(now)
        self.record_signals(now)

    def wait_for_leftovers(self) -> None:
        """Wait for threads and processes that a Target left, as Python does when it ends."""
        if _thread._count() > self._threads or "multiprocessing.process" in sys.modules:
            from jobtree.worker.leftover_threads import wait_for_leftovers

            self._unfit = wait_for_leftovers(self._threads, self.tell)

    def tell(self, words: str) -> None:
        """Print a message of our own into the log, as part of a step's output."""
        with suppress(OSError, ValueError):  # the Target may have closed it
            print(f"jobTree: {words}", file=self._err)

    def restore_settings(self) -> None:
        """Undo what could hinder this worker itself: limits, another root directory, a locale."""
        left = self._state.restore()
        self._unfit = self._unfit or (left and f"what it changed cannot be undone here: {left}")

    def restore(self, status: bytes) -> str:
        """Undo what a Target did; return why no Target may follow it, "" if one may.

        status: /proc/self/status as it is now.
        """
        foreign = ""
        for timer in _TIMERS:
            signal.setitimer(timer, 0)
        if not status or fingerprint(status) != self._fingerprint:
            foreign = self._state.identity_change(status)
            self._restore_signals(status)
        os.umask(self._umask)
        if os.environ is not self._environ_object or _raw_environ() != self._raw_environ:
            os.environ = self._environ_object  # noqa: B003 - the very object that was there
            self._set_environ()
        self._set_interpreter()
        reseed()
        unfit, self._unfit = self._unfit or foreign, ""
        threads = _thread._count() - self._threads
        if threads > 0:
            unfit = unfit or f"threads of it are still at work: {threads}"
        try:
            os.chdir(self._directory)
        except OSError:
            unfit = unfit or "the working directory is gone"
        return unfit

    def run_site(self, status: Callable[[], bytes]) -> None:
        """Run, once, what Python's `site` ran in the master: workers start without it.

        status: reads /proc/self/status.
        """
        if not self._site_to_do:
            return
        self._site_to_do = False
        from jobtree.payload.python_startup import run_site_code

        run_site_code(self._site_code)
        vars(builtins)["exit"] = vars(builtins)["quit"] = sys.exit
        self._set_interpreter()
        self._threads = _thread._count()
        self._state.record(b"")
        self.record_signals(status())

    def record_signals(self, status: bytes) -> None:
        """Record the signals as they are now as those to restore."""
        self._masks, self._fingerprint = _signal_masks(status), fingerprint(status)

    def flush(self) -> None:
        """Write what was printed into the log, and restore the standard streams."""
        out, err = self._out, self._err
        in_place = sys.stdout is sys.__stdout__ is out and sys.stderr is sys.__stderr__ is err
        if in_place and _flush(out, err):
            return
        for stream in (sys.stdout, sys.stderr):
            if stream is not out and stream is not err:
                _flush(stream)
        if not _flush(out):
            self._out = _text(1)
        if not _flush(err):
            self._err = _text(2)
        sys.stdout = sys.__stdout__ = self._out  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self._err  # type: ignore[misc]

    def run_exit_functions(self) -> None:
        """Run what libraries registered for the end of a process."""
        atexit = sys.modules.get("atexit")
        if atexit is not None and atexit._ncallbacks():
            atexit._run_exitfuncs()

    def _set_environ(self) -> None:
        os.environ.clear()
        os.environ.update(self.environ)
        self._raw_environ = dict(_raw_environ())

    def _set_interpreter(self) -> None:
        if sys.path != self._path:
            sys.path[:] = self._path
        if sys.argv != self._argv:
            sys.argv[:] = self._argv
        if sys.gettrace() is not None or sys.getprofile() is not None:
            sys.settrace(None)
            sys.setprofile(None)

    def _restore_signals(self, status: bytes) -> None:
        """Reset the signals that differ from the beginning, when some may have been ignored."""
        masks = _signal_masks(status)
        if masks == self._masks and masks:
            return
        blocked, ignored, caught = masks or (b"0", b"0", b"f" * 16)
        _, ignored_before, caught_before = self._masks or (b"0", b"0", b"0")
        if self._masks is None or blocked != self._masks[0]:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)
        should_ignore = int(ignored_before, 16)
        changed = int(ignored, 16) ^ should_ignore | int(caught, 16) ^ int(caught_before, 16)
        for number in range(1, signal.NSIG):
            if changed >> (number - 1) & 1:
                ignore = should_ignore >> (number - 1) & 1
                with suppress(OSError, ValueError):  # SIGKILL, SIGSTOP, those the C library keeps
                    signal.signal(number, signal.SIG_IGN if ignore else signal.SIG_DFL)


class _Flags:
    """sys.flags of a Python started without -I and -S.

    multiprocessing starts interpreters with these flags: they are the user's, and need what a
    worker leaves out to start quickly.
    """

    isolated = ignore_environment = no_user_site = no_site = 0
    safe_path = False

    def __init__(self, flags: object = sys.flags) -> None:
        self._flags = flags

    def __getattr__(self, name: str) -> object:
        return getattr(self._flags, name)


def _raw_environ() -> dict[Any, Any]:
    """Return the undecoded content of os.environ: decoding takes longer than a small step."""
    held: dict[Any, Any] = vars(os.environ)["_data"]
    return held


def _signal_masks(status: bytes) -> tuple[bytes, ...]:
    """Return the blocked, ignored and caught signals of a /proc/PID/status, () if unknown."""
    at = status.find(b"\nSigBlk:")
    if at < 0:
        return ()
    fields = status[at:].split(None, 6)
    return fields[1], fields[3], fields[5]


def _text(fd: int) -> TextIOWrapper:
    """Return a text stream on a descriptor that takes any text, and writes line by line."""
    return open(fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _flush(*streams: TextIO | None) -> bool:
    """Flush streams up to one that cannot be used any more; tell whether all can."""
    try:
        for stream in streams:
            if stream is None:
                return False
            stream.flush()
            if getattr(stream, "closed", True):
                return False
    except Exception:  # noqa: BLE001 - a Target's own stream may raise anything
        return False
    return True
