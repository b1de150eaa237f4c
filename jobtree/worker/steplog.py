"""The worker's log: where its steps print, one after another.

Owns which range belongs to which step, and the copies of what failed steps printed; must not know
what a step is. Read next: log_limit.py, which keeps it small; main.py. Output may be any bytes.
"""

from __future__ import annotations

import os

from jobtree.mailbox.descriptors import Identity, identity, leads_to, move_high
from jobtree.mailbox.files import write_all
from jobtree.mailbox.results import LogRange
from jobtree.worker.log_limit import cut

_CHUNK = 1024 * 1024


class StepLog:
    """The log of one worker; descriptors 1 and 2 lead to it.

    It has two more descriptors: one appends; the other edits in place, as a write at an offset
    through an appending descriptor still appends.
    """

    def __init__(self, path: str, max_bytes: int, running: str = "") -> None:
        """Open the log. max_bytes: kept of each step's output.

        running: a file on the node that takes what the running step prints, "" for none. What is
        kept of it is added to the log proper when the step is over.
        """
        self._kept, self._path, self._max_bytes = path, running or path, max_bytes
        self._append = self._edit = -1
        self._identity: Identity | None = None
        self._began = 0
        self.repair()

    def repair(self) -> bool:
        """Lead descriptors 1 and 2 here, whatever a step did; tell whether ours were intact."""
        intact = self._is_intact() or not self._opened()
        os.dup2(self._append, 1)
        os.dup2(self._append, 2)
        return intact

    def _opened(self) -> bool:
        """Open the log, again if need be; tell whether that was done.

        Raises OSError if it cannot be, unless the descriptors still lead to what was the log: a
        step may have made another user of this process, which cannot reach it by its path.
        """
        try:
            if self._path != self._kept and not os.path.isdir(os.path.dirname(self._path)):
                os.mkdir(os.path.dirname(self._path), 0o700)  # a step removed it
            create = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._append = move_high(os.open(self._path, os.O_WRONLY | os.O_APPEND | create, 0o600))
            self._edit = move_high(os.open(self._path, os.O_RDWR | create, 0o600))
        except OSError:
            what = self._identity
            if what and leads_to(self._append, what) and leads_to(self._edit, what):
                return False
            raise
        self._identity = identity(self._edit)
        return True

    def _is_intact(self) -> bool:
        """Tell whether both lead to the log: a step may have closed them, or removed the file."""
        try:
            there = os.stat(self._path)
        except OSError:
            return False
        what = there.st_dev, there.st_ino
        return leads_to(self._append, what) and leads_to(self._edit, what)

    def begin_step(self) -> int:
        """Note where the next step's output begins, and return that."""
        self._began = os.lseek(self._edit, 0, os.SEEK_END)
        return self._began

    def end_step(self) -> LogRange:
        """Cut the step's output to its head and tail; return where it lies now."""
        began, length = cut(self._edit, self._began, self._max_bytes)
        return LogRange(began, length) if self._path == self._kept else self._move(length)

    def _move(self, length: int) -> LogRange:
        """Add the step's output to the log proper."""
        if not length:
            return LogRange(0, 0)
        content = os.pread(self._edit, length, self._began)
        os.ftruncate(self._edit, 0)
        return LogRange(append(self._kept, content), len(content))

    def copy(self, log: LogRange, path: str) -> bool:
        """Keep a copy of a step's output at `path`; tell whether there was any."""
        if not log.length:
            return False
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        source = os.open(self._kept, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(source, "rb") as kept, open(os.open(path, flags, 0o600), "wb") as copy:
            kept.seek(log.offset)
            left = log.length
            while part := kept.read(min(_CHUNK, left)):
                copy.write(part)
                left -= len(part)
        return True

    def finish(self) -> None:
        """Remove the log if nothing was ever printed."""
        if self._path == self._kept and not os.fstat(self._edit).st_size:
            os.unlink(self._path)


def append(path: str, content: bytes) -> int:
    """Append to a log of this process alone; return the offset at which `content` begins."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    try:
        at = os.fstat(fd).st_size
        write_all(fd, content)
    finally:
        os.close(fd)
    return at
