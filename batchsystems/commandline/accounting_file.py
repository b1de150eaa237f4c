"""Accounting file: a history that the scheduler keeps in a file, read onward and never twice.

Owns how far the file was read and the lines about this instance's jobs; what a line means is the
dialect's, and the transport does the reading. Read next: history.py, which asks.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from batchsystems.commandline.answers import QueryResult
from batchsystems.commandline.dialect import AccountingRecords
from batchsystems.transport.local import FileState, Transport

log = logging.getLogger("jobtree.batchsystems")

BLOCK_BYTES = 4 << 20
PROBE_BYTES = 64 << 10
SIGN_BYTES = 512
"""So much before the place up to which a file was read is looked at, to know it again."""

MOVED = re.compile(r"[._-](\d[\d.:T_-]*|old|prev|bak|last)$")
"""What a file's name ends with that was moved away: `.0`, `-20261129`, `.old`; not `.0.gz`."""
MOST_BYTES = 256 << 20
"""One pass reads no more than this; the next goes on from there."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose records are worth keeping, and since when there may be any (epoch seconds)."""

    submissions: Collection[str]
    names: Collection[str]
    since: float


@dataclass(slots=True)
class _Kept:
    name: str
    lines: dict[str, None] = field(default_factory=dict)
    """in order, each once: a file may be there twice"""


@dataclass(slots=True)
class _Mark:
    """How far a file was read, and how to know it again: by its inode, or by what stood there."""

    offset: int
    inode: int
    before: bytes = b""

    def fits(self, transport: Transport, state: FileState) -> bool:
        """Tell whether a file holds what was read: is it, grown since, or a copy of it."""
        same = state.inode == self.inode
        if state.size < self.offset or (not self.before and not same):
            return False
        start = self.offset - len(self.before)
        return transport.read(state.path, start, len(self.before)) == self.before


class AccountingFile:
    """Reads the file from the first record that can matter to its end, then what is new.

    A file that was moved away and begun anew meanwhile, whatever size the new one has by now, is
    first read to its end where it is now, if that is beside the new one and not compressed.
    absence_s: a file that was never there for so long will not come any more.
    """

    def __init__(self, records: AccountingRecords, absence_s: float) -> None:
        self._records, self._absence_s = records, absence_s
        self._path = records.path
        self._kept: dict[str, _Kept] = {}
        self._mark: _Mark | None = None
        self._older: deque[tuple[FileState, _Mark]] = deque()
        self._since = 0.0
        self._missing_since: float | None = None

    def read(self, transport: Transport, wanted: Wanted, now: float) -> QueryResult:
        """Return all records of the jobs wanted, those of earlier passes too.

        An answer is incomplete when the file cannot be read, or not to its end in one pass.
        """
        try:
            whole = self._go_on(transport, wanted)
        except OSError as error:
            return self._failed(error, now)
        self._missing_since = None
        if not whole:
            return QueryResult(why=f"{self._path} is long and still being read")
        self._forget(wanted)
        lines = [line for each in self._kept.values() for line in each.lines]
        return QueryResult(self._records.parse(lines), complete=True)

    def _failed(self, error: OSError, now: float) -> QueryResult:
        why = f"{self._path}: {error.strerror or error}"
        if not isinstance(error, FileNotFoundError) or self._mark is not None:
            return QueryResult(why=why)
        self._missing_since = now if self._missing_since is None else self._missing_since
        return QueryResult(why=why, off=now - self._missing_since >= self._absence_s)

    def _go_on(self, transport: Transport, wanted: Wanted) -> bool:
        """Read what is new; return whether the end of the file was reached."""
        state = transport.state(self._path)
        if self._mark is None or wanted.since < self._since:
            self._begin(transport, wanted.since, state)
        elif self._mark.inode != state.inode or not self._mark.fits(transport, state):
            self._begin_anew(transport, self._mark, state)
        assert self._mark is not None
        left = MOST_BYTES
        while self._older:
            older, mark = self._older[0]
            begun = mark.offset
            if not self._read_on(transport, wanted, older, mark, left):
                return False
            left -= mark.offset - begun
            self._older.popleft()
        return self._read_on(transport, wanted, state, self._mark, left)

    def _begin(self, transport: Transport, since: float, state: FileState) -> None:
        """Find where to begin: in a file moved away, if one has records as late as this."""
        mark = self._marked(transport, since, state)
        older = [] if mark.offset else self._moved(transport, since)
        self._older = deque((each, self._marked(transport, since, each)) for each in older)
        self._mark, self._since = mark, since
        self._kept.clear()

    def _begin_anew(self, transport: Transport, mark: _Mark, state: FileState) -> None:
        """Note what has become of a file that was moved away, or emptied after it was copied."""
        moved = self._moved(transport, 0.0)
        moved.sort(key=lambda each: each.inode != mark.inode)
        old = next((each for each in moved if mark.fits(transport, each)), None)
        if old is None and not mark.fits(transport, state):
            log.warning(
                "%s was begun anew, and what was last written before is nowhere beside it; jobs "
                "whose end was in it count as lost",
                self._path,
            )
        if old is not None:
            self._older.append((old, mark))
            later = sorted((e for e in moved if e.changed > old.changed), key=_changed)
            self._older.extend((each, _Mark(0, each.inode)) for each in later)
        self._mark = _Mark(0, state.inode)

    def _moved(self, transport: Transport, since: float) -> list[FileState]:
        """Return what the file was before, as it seems, if it changed as late as this."""
        try:
            beside = transport.beside(self._path)
        except OSError:
            return []
        plain = [each for each in beside if MOVED.search(each.path)]
        return sorted((each for each in plain if each.changed >= since), key=_changed)

    def _read_on(
        self, transport: Transport, wanted: Wanted, state: FileState, mark: _Mark, most: int
    ) -> bool:
        """Read on in a file; return whether its end was reached."""
        end = min(state.size, mark.offset + most)
        while mark.offset < end:
            block = transport.read(state.path, mark.offset, BLOCK_BYTES)
            lines, newline, _ = block.rpartition(b"\n")
            if not newline:
                if len(block) < BLOCK_BYTES:
                    return True  # a line that is still being written
                lines = block  # no record is as long as that
            mark.offset += len(lines) + len(newline)
            mark.before = (mark.before + lines + newline)[-SIGN_BYTES:]
            self._keep(lines, wanted)
        return end == state.size

    def _marked(self, transport: Transport, since: float, state: FileState) -> _Mark:
        """Return where in a file to begin for records as late as this."""
        offset = self._first(transport, since, state)
        start = max(0, offset - SIGN_BYTES)
        before = transport.read(state.path, start, offset - start) if offset else b""
        return _Mark(offset, state.inode, before)

    def _first(self, transport: Transport, since: float, state: FileState) -> int:
        """Return an offset before which all records are older than this."""
        back = PROBE_BYTES
        while back < state.size:
            at = state.size - back
            begun, newline, probe = transport.read(state.path, at, PROBE_BYTES).partition(b"\n")
            keys = [self._records.key(line) for line in _lines(probe.rpartition(b"\n")[0])]
            times = [key.newest for key in keys if key is not None]
            if times and max(times) < since:
                return at + len(begun) + len(newline)
            back *= 2
        return 0

    def _keep(self, block: bytes, wanted: Wanted) -> None:
        for line in _lines(block):
            key = self._records.key(line)
            if key and (key.submission in wanted.submissions or key.name in wanted.names):
                kept = self._kept.setdefault(key.submission, _Kept(key.name)).lines
                if line not in kept and self._records.damaged(line):
                    log.warning("%s: a record of a job cannot be read: %r", self._path, line)
                kept[line] = None

    def _forget(self, wanted: Wanted) -> None:
        """Drop the lines of jobs that nobody asks for any more."""
        for submission, kept in list(self._kept.items()):
            if submission not in wanted.submissions and kept.name not in wanted.names:
                del self._kept[submission]


def _changed(state: FileState) -> float:
    return state.changed


def _lines(block: bytes) -> list[str]:
    return block.decode("utf-8", "replace").split("\n")
