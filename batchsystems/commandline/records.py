"""Records: a history that the scheduler keeps in a file, read onward and never twice.

Owns how far the file was read and the lines about this instance's jobs; what a line means is the
dialect's, and the transport does the reading. Read next: history.py, which asks.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from batchsystems.commandline.dialect import Dialect, Listing
from batchsystems.transport import Transport

BLOCK_BYTES = 4 << 20
PROBE_BYTES = 64 << 10
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
    lines: list[str] = field(default_factory=list)


class Records:
    """Reads the file from the first record that can matter to its end, then what is new.

    absence_s: a file that was never there for so long will not come any more.
    """

    def __init__(self, dialect: Dialect, absence_s: float) -> None:
        self._dialect, self._absence_s = dialect, absence_s
        self._path = dialect.record_file()
        self._kept: dict[str, _Kept] = {}
        self._offset: int | None = None
        self._since = 0.0
        self._missing_since: float | None = None

    def read(self, transport: Transport, wanted: Wanted, now: float) -> Listing:
        """Return all records of the jobs wanted, those of earlier passes too.

        An answer is incomplete when the file cannot be read, or not to its end in one pass.
        """
        try:
            size = transport.size(self._path)
            whole = self._go_on(transport, wanted, size)
        except OSError as error:
            return self._failed(error, now)
        self._missing_since = None
        if not whole:
            return Listing(why=f"{self._path} is long and still being read")
        self._forget(wanted)
        lines = [line for each in self._kept.values() for line in each.lines]
        return Listing(self._dialect.parse_records(lines), complete=True)

    def _failed(self, error: OSError, now: float) -> Listing:
        why = f"{self._path}: {error.strerror or error}"
        if not isinstance(error, FileNotFoundError) or self._offset is not None:
            return Listing(why=why)
        self._missing_since = now if self._missing_since is None else self._missing_since
        return Listing(why=why, off=now - self._missing_since >= self._absence_s)

    def _go_on(self, transport: Transport, wanted: Wanted, size: int) -> bool:
        """Read what is new; return whether the end of the file was reached."""
        if self._offset is None or wanted.since < self._since:
            self._offset, self._since = self._first(transport, wanted.since, size), wanted.since
            self._kept.clear()
        elif size < self._offset:  # it was begun anew, as files that grow are from time to time
            self._offset = 0
        end = min(size, self._offset + MOST_BYTES)
        while self._offset < end:
            block = transport.read(self._path, self._offset, BLOCK_BYTES)
            lines, newline, _ = block.rpartition(b"\n")
            if not newline:
                if len(block) < BLOCK_BYTES:
                    return True  # a line that is still being written
                lines = block  # no record is as long as that
            self._offset += len(lines) + len(newline)
            self._keep(lines, wanted)
        return end == size

    def _first(self, transport: Transport, since: float, size: int) -> int:
        """Return an offset before which all records are older than this."""
        back = PROBE_BYTES
        while back < size:
            at = size - back
            begun, newline, probe = transport.read(self._path, at, PROBE_BYTES).partition(b"\n")
            keys = [self._dialect.record_key(line) for line in _lines(probe.rpartition(b"\n")[0])]
            times = [key.newest for key in keys if key is not None]
            if times and max(times) < since:
                return at + len(begun) + len(newline)
            back *= 2
        return 0

    def _keep(self, block: bytes, wanted: Wanted) -> None:
        for line in _lines(block):
            key = self._dialect.record_key(line)
            if key and (key.submission in wanted.submissions or key.name in wanted.names):
                self._kept.setdefault(key.submission, _Kept(key.name)).lines.append(line)

    def _forget(self, wanted: Wanted) -> None:
        """Drop the lines of jobs that nobody asks for any more."""
        for submission, kept in list(self._kept.items()):
            if submission not in wanted.submissions and kept.name not in wanted.names:
                del self._kept[submission]


def _lines(block: bytes) -> list[str]:
    return block.decode("utf-8", "replace").split("\n")
