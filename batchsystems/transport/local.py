"""Transport: running a scheduler's commands and reading its files, here on this machine.

Owns child processes, their time-outs and the cap on their output; must not know any scheduler.
Read next: commandline/, which decides what is run and when.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, NamedTuple, Protocol

from batchsystems.signals import hear_of_children

OUTPUT_CAP_BYTES = 256 * 2**20
"""An answer longer than this is cut, and says so: it is then no complete answer."""

_READ_BYTES = 1 << 18


class Private(NamedTuple):
    """A file for its owner's eyes alone. otherwise: what stdin is if it cannot be written."""

    path: str
    content: str
    otherwise: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run.

    verb: what it is for (submit, queue, history, kill, discover), which chooses its time-out.
    env: the whole environment of the command; None for what a transport has by itself.
    private: a file that is to be there first.
    """

    verb: str
    argv: tuple[str, ...]
    stdin: str = ""
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    private: Private | None = None


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command did.

    status: its exit status, minus the signal that ended it, None if it was killed at its
    time-out or could not be started (then stderr says why). cut: its output was too long.
    started: False if it never ran, so that it has done nothing.
    """

    status: int | None
    stdout: str = ""
    stderr: str = ""
    timed_out: bool = False
    cut: bool = False
    started: bool = True

    @property
    def whole(self) -> bool:
        """Whether it ended by itself and all it said was kept."""
        return self.status is not None and not self.cut

    def words(self) -> str:
        """Return what it said of a failure, for people, on one line."""
        said = "; ".join(line.strip() for line in self.stderr.splitlines() if line.strip())
        if self.timed_out:
            return f"no answer in time{f' ({said})' if said else ''}"
        if self.cut:
            return "its answer was too long"
        return said[:500] or f"exit status {self.status}, and no word why"


class FileState(NamedTuple):
    """What there is to know of a file without reading it.

    inode: its number, which a file keeps under another name. changed: epoch seconds.
    """

    path: str
    size: int
    inode: int
    changed: float


class Transport(Protocol):
    """How commands reach the scheduler: here, or over SSH."""

    def run(self, command: Command, timeout_s: float) -> CommandResult:
        """Run a command to its end; kill it and its children at the time-out. Never raises."""

    def read(self, path: str, offset: int, limit: int) -> bytes:
        """Return up to `limit` bytes of a file from `offset`, from its end if negative.

        Raises OSError.
        """

    def state(self, path: str) -> FileState:
        """Return the state of a file. Raises OSError."""

    def beside(self, path: str) -> list[FileState]:
        """Return the files beside it whose names are its own and more. Raises OSError."""

    def put(self, path: str, content: str | None) -> None:
        """Write a file for its owner's eyes alone; None removes it. Raises OSError."""

    def missing(self, programs: Iterable[str]) -> list[str]:
        """Return those of these programs that are not there to be run."""

    def cancel(self) -> None:
        """End the command that runs now, from another thread."""


@dataclass
class Local:
    """Runs commands on this machine, found on the caller's own PATH."""

    cap_bytes: int = OUTPUT_CAP_BYTES
    _running: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """See to it that exit statuses are to be had."""
        hear_of_children()

    def run(self, command: Command, timeout_s: float) -> CommandResult:
        """Run a command in a process group of its own, which is killed whole at the time-out."""
        program = shutil.which(command.argv[0]) or command.argv[0]
        try:
            child = subprocess.Popen(
                [program, *command.argv[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=command.env,
                cwd=command.cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return CommandResult(None, stderr=f"{command.argv[0]}: {error}", started=False)
        self._running = child
        try:
            return _Conversation(child, command.stdin, self.cap_bytes).hold(timeout_s)
        finally:
            self._running = None
            _end_group(child)

    def read(self, path: str, offset: int, limit: int) -> bytes:
        """Return a part of a file; a negative offset counts from its end."""
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size + offset) if offset < 0 else offset)
            return file.read(limit)

    def state(self, path: str) -> FileState:
        """Return the state of a file: opened, as NFS then asks its server afresh."""
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
        return FileState(path, found.st_size, found.st_ino, found.st_mtime)

    def beside(self, path: str) -> list[FileState]:
        """Return the files that are called like it, and more, where it really lies."""
        folder, name = os.path.split(os.path.realpath(path))
        states = []
        for other in os.listdir(folder):
            if other.startswith(name) and other != name:
                with suppress(OSError):
                    states.append(self.state(os.path.join(folder, other)))
        return states

    def put(self, path: str, content: str | None) -> None:
        """Write a file, whole or not at all, or remove it."""
        if content is None:
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        draft = f"{path}~"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(fd, 0o600)
            file.write(content)
            file.flush()
            os.fsync(fd)
        os.rename(draft, path)

    def missing(self, programs: Iterable[str]) -> list[str]:
        """Return those of these programs that are not on PATH."""
        return [program for program in programs if shutil.which(program) is None]

    def cancel(self) -> None:
        """Kill the command that runs now."""
        child = self._running
        if child is not None:
            _kill_group(child.pid)


def _encoded(text: str) -> bytes:
    """Return text as programs here read it; UTF-8 where their locale lacks one of its letters.

    Site files are UTF-8, and cron's locale is ASCII.
    """
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


class _Conversation:
    """Feeds a child its input and collects its output, neither waiting for the other."""

    def __init__(self, child: subprocess.Popen[bytes], stdin: str, cap_bytes: int) -> None:
        self._child, self._left, self._cap = child, memoryview(_encoded(stdin)), cap_bytes
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        self._stdin: IO[bytes] = child.stdin
        self._output: dict[IO[bytes], list[bytes]] = {child.stdout: [], child.stderr: []}
        self._size = 0
        self._cut = False

    def hold(self, timeout_s: float) -> CommandResult:
        """Return what the child did, after its end or the time-out."""
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            for stream in self._output:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ)
            os.set_blocking(self._stdin.fileno(), False)
            selector.register(self._stdin, selectors.EVENT_WRITE)
            while selector.get_map() and not self._cut:
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready and time.monotonic() >= deadline:
                    break
                for key, _ in ready:
                    if key.fileobj is self._stdin:
                        self._feed(selector)
                    else:
                        self._collect(selector, key.fileobj)  # type: ignore[arg-type]
        return self._ended(deadline)

    def _feed(self, selector: selectors.BaseSelector) -> None:
        try:
            self._left = self._left[os.write(self._stdin.fileno(), self._left[:_READ_BYTES]) :]
        except BlockingIOError:
            return
        except OSError:  # it wants no more of it
            self._left = self._left[:0]
        if not self._left:
            selector.unregister(self._stdin)
            self._stdin.close()

    def _collect(self, selector: selectors.BaseSelector, stream: IO[bytes]) -> None:
        try:
            data = os.read(stream.fileno(), _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            selector.unregister(stream)
            return
        self._size += len(data)
        self._cut = self._size > self._cap
        self._output[stream].append(data)

    def _ended(self, deadline: float) -> CommandResult:
        try:
            by_itself = not self._cut and _exits(self._child.pid, deadline)
        except ChildProcessError:
            return self._collected_by_another()
        _end_group(self._child)
        status = self._child.returncode if by_itself else None
        out, err = (b"".join(parts).decode("utf-8", "replace") for parts in self._output.values())
        return CommandResult(status, out, err, not by_itself and not self._cut, self._cut)

    def _collected_by_another(self) -> CommandResult:
        """Return what is known of a child whose exit status another part of the program took."""
        self._child.returncode = 0  # it is nobody's number any more: nothing may be sent to it
        _end_group(self._child)
        out = b"".join(self._output[self._child.stdout or self._stdin]).decode("utf-8", "replace")
        return CommandResult(None, out, "its exit status was taken by another part of this process")


def _exits(pid: int, deadline: float) -> bool:
    """Wait for a child's exit without collecting it, so that its group's number stays taken."""
    pause_s = 0.0005
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.02)
    return True


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a command and its children, and collect it."""
    if child.returncode is None:
        _kill_group(child.pid)
        child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            with suppress(OSError):
                stream.close()


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
