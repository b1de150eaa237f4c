"""The worker's log: where its steps print, one after another.

Owns which range of it is whose, the cutting, and the copies of what failed steps printed;
must not know what a step is. Read next: worker.py. Output may be gigabytes and any bytes.
"""

from __future__ import annotations

import os

from jobtree.descriptors import leads_to, lift
from jobtree.mailbox.files import write_all
from jobtree.mailbox.results import Log

_CHUNK = 1024 * 1024


class StepLog:
    """The log of one worker; descriptors 1 and 2 lead to it.

    Two descriptors: output is appended through one; the other edits in place, as a write at
    an offset through an appending descriptor appends all the same.
    """

    def __init__(self, path: str, max_bytes: int) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._append = self._edit = -1
        self._began = 0
        self.mend()

    def mend(self) -> bool:
        """Lead descriptors 1 and 2 here, whatever a step did; tell whether ours were intact."""
        intact = self._is_intact()
        if not intact:
            create = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._append = lift(os.open(self._path, os.O_WRONLY | os.O_APPEND | create, 0o600))
            self._edit = lift(os.open(self._path, os.O_RDWR | create, 0o600))
        os.dup2(self._append, 1)
        os.dup2(self._append, 2)
        return intact

    def _is_intact(self) -> bool:
        """Tell whether both lead to the log: a step may have closed them, or removed the file."""
        try:
            there = os.stat(self._path)
        except OSError:
            return False
        what = there.st_dev, there.st_ino
        return leads_to(self._append, what) and leads_to(self._edit, what)

    def begin_step(self) -> None:
        """Note where the next step's output begins."""
        self._began = os.fstat(self._edit).st_size

    def end_step(self) -> Log:
        """Cut the step's output to its head and tail; return where it lies now."""
        size = os.fstat(self._edit).st_size
        self._began = min(self._began, size)  # a step may have emptied or removed the file
        length = size - self._began
        if length > self._max_bytes:
            length = self._cut(length)
        return Log(self._began, length)

    def _cut(self, length: int) -> int:
        head, tail = self._max_bytes // 2, self._max_bytes - self._max_bytes // 2
        mark = b"\n[... %d bytes cut ...]\n" % (length - head - tail)
        kept = os.pread(self._edit, tail, self._began + length - tail) if tail else b""
        view, at = memoryview(mark + kept), self._began + head
        while view:
            written = os.pwrite(self._edit, view, at)
            view, at = view[written:], at + written
        os.ftruncate(self._edit, at)
        return at - self._began

    def copy(self, log: Log, path: str) -> bool:
        """Keep a copy of a step's output at `path`; tell whether there was any."""
        if not log.length:
            return False
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            at, end = log.offset, log.offset + log.length
            while part := os.pread(self._edit, min(_CHUNK, end - at), at) if at < end else b"":
                write_all(fd, part)
                at += len(part)
        finally:
            os.close(fd)
        return True

    def finish(self) -> None:
        """Remove the log if nothing was ever printed."""
        if not os.fstat(self._edit).st_size:
            os.unlink(self._path)
