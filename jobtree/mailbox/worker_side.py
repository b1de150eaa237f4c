"""The worker's side of its results file.

Owns the open file, and that every line gets into it whatever a Target does to descriptors; must
not know what lines mean. Read next: results.py for the lines.
"""

from __future__ import annotations

import os

from jobtree.core.job import Command
from jobtree.mailbox.descriptors import identity, leads_to, move_high
from jobtree.mailbox.files import write_all
from jobtree.mailbox.layout import bundle_path, result_path
from jobtree.mailbox.results import CHILDREN_PER_LINE, Children, ResultLine, Synced, encode_line


class ResultWriter:
    """Appends to results/ISSUE, which must not exist yet: a worker writes one file once."""

    def __init__(self, tree: str, issue: str) -> None:
        self._path = result_path(tree, issue)
        self._bundle = bundle_path(tree, issue)
        self._fd = self._open(os.O_CREAT | os.O_EXCL)
        self._identity = identity(self._fd)

    def _open(self, more: int = 0) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return move_high(os.open(self._path, flags | more, 0o600))

    def repair(self) -> bool:
        """Open the file again if the descriptor no longer leads there; tell whether it did.

        Raises OSError if another file is there now: nothing may be written into it.
        """
        if leads_to(self._fd, self._identity):
            return True
        self._fd = self._open()
        if not leads_to(self._fd, self._identity):
            raise OSError(f"{self._path} was replaced while this worker wrote it")
        return False

    def append(self, line: ResultLine) -> None:
        """Append a line with one write(). Raises OSError."""
        write_all(self._fd, encode_line(line))

    def append_children(self, job: int, children: list[Command]) -> int:
        """Append many children in several lines; return the offset of the first one.

        The sidecar appends too, so only the position after the write tells where a line went.
        """
        first = encode_line(Children(job, children[:CHILDREN_PER_LINE]))
        write_all(self._fd, first)
        offset = os.lseek(self._fd, 0, os.SEEK_CUR) - len(first)
        for at in range(CHILDREN_PER_LINE, len(children), CHILDREN_PER_LINE):
            self.append(Children(job, children[at : at + CHILDREN_PER_LINE]))
        return offset

    def sync(self) -> None:
        """Make all lines durable and say so; errors of fsync and close are errors."""
        size = os.fstat(self._fd).st_size
        os.fsync(self._fd)
        self.append(Synced(size))

    def close(self) -> None:
        """Close the file, reporting what only close reports."""
        os.close(self._fd)
