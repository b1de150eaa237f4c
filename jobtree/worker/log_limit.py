"""Keeps the head and the tail of a step's output, while it runs and afterwards.

Owns the shortening of the last part of a log that others may be appending to; must not know whose
it is. Read next: steplog.py, for when a step is over; sidecar.py, for while it runs.
"""

from __future__ import annotations

import os
import re

LET_GROW_BYTES = 1024 * 1024
"""The output of a running step may be this much longer than what is kept of it."""

_MARK = rb"\n\[\.\.\. (\d+) bytes cut \.\.\.\]\n"
_LONGEST_MARK = 64
_KEEP_SIZE_AND_PUNCH = 3
_TRIES = 5
_EDIT = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


def cut(fd: int, began: int, most: int) -> tuple[int, int]:
    """Shorten a log from `began` on to `most` bytes and a mark; return where it lies.

    Bytes appended meanwhile are kept, except those of the last microseconds: there is no call that
    removes the middle of a file at any offset.
    """
    size = os.lseek(fd, 0, os.SEEK_END)
    began = min(began, size)  # a step may have emptied or removed the file
    if size - began <= most + _LONGEST_MARK:
        return began, size - began
    head, tail = most // 2, most - most // 2
    before = re.match(_MARK, os.pread(fd, _LONGEST_MARK, began + head))
    gone = int(before[1]) - len(before[0]) if before else 0
    for _ in range(_TRIES):
        mark = b"\n[... %d bytes cut ...]\n" % (gone + size - began - head - tail)
        at = _write_at(fd, mark + (os.pread(fd, tail, size - tail) if tail else b""), began + head)
        grown = os.fstat(fd).st_size
        if grown <= size:
            break
        size = grown
    os.ftruncate(fd, at)
    return began, at - began


def _write_at(fd: int, content: bytes, at: int) -> int:
    view = memoryview(content)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
    return at


class OutputLimit:
    """Keeps a running step's output small on disk. path: the log; most: bytes kept of a step."""

    def __init__(self, path: str, most: int) -> None:
        self._path, self._most = path, most
        self._began = self._emptied = 0

    def begin(self, began: int) -> None:
        """Note that the output of another step begins at this offset."""
        self._began = self._emptied = began

    def hold(self) -> bool:
        """Free the space between head and tail; tell whether there was any.

        The file gets a hole and keeps its length and end, so that nothing printed now is lost. On a
        file system without holes it is shortened, as at the step's end.
        """
        try:
            size = os.stat(self._path).st_size
            start = max(self._emptied, self._began + self._most // 2)
            end = size - self._most
            if end - start < LET_GROW_BYTES:
                return False
            with open(os.open(self._path, _EDIT), "r+b", buffering=0) as file:
                if _punch(file.fileno(), start, end - start):
                    self._emptied = end
                else:
                    cut(file.fileno(), self._began, self._most)
            return True
        except OSError:
            return False

    def shorten(self) -> bytes:
        """Shorten the output of a step whose worker died; return what is kept."""
        try:
            with open(os.open(self._path, _EDIT), "r+b", buffering=0) as file:
                began, length = cut(file.fileno(), self._began, self._most)
                return os.pread(file.fileno(), length, began)
        except OSError:
            return b""


def _punch(fd: int, offset: int, length: int) -> bool:
    """Make a hole in a file; False if its file system has none."""
    import ctypes  # heavy: only floods need it

    try:
        call = ctypes.CDLL(None, use_errno=True).fallocate
    except (AttributeError, OSError):
        return False
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return bool(call(fd, _KEEP_SIZE_AND_PUNCH, offset, length) == 0)
