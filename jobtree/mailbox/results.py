"""Results: what a worker reports of its steps, in one append-only, checksummed file per worker.

Owns the lines and how far they may be believed; knows no colours. Read next: bundles.py.

A line is a CRC32 and a JSON array. It is written before the next step starts, so that the death of
the process costs one step at most. The master believes a line once a later Synced line says that
it is on disk, or once the worker is known to have ended. A torn last line is not an error.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from zlib import crc32

from jobtree.core.job import Command, command_from_wire
from jobtree.mailbox.files import open_own, read_private_range, write_all

CHILDREN_PER_LINE = 256
"""A step with more children writes them in lines of this many, before its Done line."""

CHUNK_BYTES = 4 * 2**20
"""Read at once: more than the longest line, which is one of CHILDREN_PER_LINE children."""


class Hello(NamedTuple):
    """The first line: who runs the issue."""

    host: str
    pid: int
    nonce: str  # as in the claim
    started: float  # epoch seconds, by that host's clock
    local: str  # the worker's local temp dir


class Start(NamedTuple):
    """A step begins."""

    job: int
    attempt: int
    step: int
    at_s: float  # seconds since the worker began


class Children(NamedTuple):
    """Some of the children of the step whose Done follows."""

    job: int
    children: list[Command]


class LogRange(NamedTuple):
    """Where a step's output lies in the worker's log, after it was shortened."""

    offset: int
    length: int


class Usage(NamedTuple):
    """What a step used."""

    wall_s: float
    cpu_s: float  # user and system
    memory_bytes: int | None  # the peak; None if unknown


class Done(NamedTuple):
    """A step succeeded."""

    job: int
    attempt: int
    step: int
    usage: Usage
    child_count: int
    children: list[Command]  # all of them, or none if children_at says where they are
    children_at: int  # the offset of the first Children line, -1 if there are none
    follow_on: Command | None
    goes_on: bool  # this worker runs the job's next step too
    messages: list[str]  # for the master's log
    publish: list[list[str]]  # [source, destination] to move when this step is adopted
    log: LogRange
    has_directory: bool  # the job has a directory on the shared file system
    said: str  # the stats that the command wrote, "" for none


class Failed(NamedTuple):
    """A step failed, and the worker lives on."""

    job: int
    attempt: int
    step: int
    usage: Usage
    exit_status: int | None  # None if it did not end by one
    signal: int | None  # the one that killed it
    why: str  # one line
    detail: str  # more lines, for the log
    crashed: bool  # it took down its process, so the next try gets one of its own
    messages: list[str]  # for the master's log
    log_kept: bool  # there is a copy of what it printed
    has_directory: bool  # the job has a directory on the shared file system
    out_of_memory: bool = False  # the kernel killed a process of it for want of memory


class Returned(NamedTuple):
    """Jobs of the pack that were not started and will not be."""

    jobs: list[int]


class Synced(NamedTuple):
    """The first `size` bytes of this file, and the children they name, are on disk."""

    size: int


class End(NamedTuple):
    """Last line: all that was to be done is done or handed back."""

    wall_s: float


ResultLine = Hello | Start | Children | Done | Failed | Returned | Synced | End

_KINDS: dict[str, type[Any]] = {
    kind.__name__.lower(): kind
    for kind in (Hello, Start, Children, Done, Failed, Returned, Synced, End)
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().raw_decode


def encode_line(line: ResultLine) -> bytes:
    """Return a line as the bytes to append."""
    if isinstance(line, Start):  # numbers alone: there is one for every step
        body = b'["start",%d,%d,%d,%r]' % line
    else:
        body = _encode([_NAMES[type(line)], *line]).encode()
    return b"%08x %s\n" % (crc32(body), body)


def decode_line(raw: bytes) -> ResultLine:
    """Return what encode_line was given. Raises ValueError for damage of any kind."""
    body = raw[9:-1]
    if raw[:9] != b"%08x " % crc32(body) or raw[-1:] != b"\n":
        raise ValueError("checksum differs")
    try:
        name, *fields = _decode(body.decode())[0]
        kind = _KINDS[name]
        if kind is Done:
            fields[5] = [command_from_wire(wire) for wire in fields[5]]
            fields[7] = None if fields[7] is None else command_from_wire(fields[7])
            fields[11] = LogRange(*fields[11])
        if kind is Done or kind is Failed:
            fields[3] = Usage(*fields[3])
        elif kind is Children:
            fields[1] = [command_from_wire(wire) for wire in fields[1]]
        found: ResultLine = kind(*fields)
        return found
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not a result line: {error}") from error


def append_line(fd: int, line: ResultLine) -> None:
    """Append a line with one write(), so that it is torn only if the disk is full."""
    write_all(fd, encode_line(line))


ReadRange = Callable[[str, int, int], bytes]
"""Returns a range of a file: its path, the offset, the length."""


class ResultReader:
    """Reads one worker's results as they grow, and returns what may be believed."""

    def __init__(self, path: str, read: ReadRange = read_private_range) -> None:
        self.path = path
        self._read_file = read
        self.running: Start | None = None  # the step begun and not ended, synced or not
        self.hello: Hello | None = None
        self.ended = False  # the End line was returned
        self.damage = ""  # why the rest of the file is not believed
        self.doubtful = 0  # so many of the lines returned last may not be on disk
        self._read_to = 0
        self._synced = 0
        self._held: list[tuple[int, ResultLine]] = []

    def read(self, final: bool = False) -> list[ResultLine]:
        """Return the new lines that are known to be on disk; with `final`, all whole lines.

        final: the worker is known to have ended, so nothing more will be written. A file that is
        not there yet has no lines.
        """
        self._synced = max(self._synced, self._parse())
        synced = self._read_to if final else self._synced
        safe = [line for end, line in self._held if end <= synced]
        self.doubtful = sum(self._synced < end <= synced for end, _ in self._held)
        if safe:
            self._held = [held for held in self._held if held[0] > synced]
        self.ended = self.ended or any(isinstance(line, End) for line in safe)
        return safe

    def _parse(self) -> int:
        """Read what was appended; return how far it is known to be on disk."""
        synced, size = 0, CHUNK_BYTES
        while not self.damage:
            try:
                content = self._read_file(self.path, self._read_to, size)
            except FileNotFoundError:
                break
            taken = 0
            while (newline := content.find(b"\n", taken)) >= 0:
                raw = content[taken : newline + 1]
                try:
                    line = None if raw[9:20] == b'["children"' else decode_line(raw)
                except ValueError as error:
                    where = self._read_to + taken
                    self.damage = f"{self.path} is damaged at byte {where}: {error}"
                    break
                taken = newline + 1
                if line is not None:
                    synced = max(synced, self._take(line, self._read_to + taken))
            self._read_to += taken
            if len(content) < size:
                break
            size = CHUNK_BYTES if taken else 4 * size  # a line may be longer than a chunk
        return synced

    def _take(self, line: ResultLine, end: int) -> int:
        if isinstance(line, Synced):
            return line.size
        if isinstance(line, Start):
            self.running = line
        elif isinstance(line, Done | Failed):
            self.running = None
        elif isinstance(line, Hello):
            self.hello = line
        self._held.append((end, line))
        return 0


def read_children(path: str, offset: int, job: int, count: int) -> Iterator[Command]:
    """Yield the children a step wrote before its Done line, a line at a time.

    Raises ValueError if fewer than `count` are there.
    """
    with open(open_own(path), "rb") as file:
        file.seek(offset)
        while count > 0:
            raw = file.readline()
            if not raw:
                raise ValueError(f"{path}: {count} children of job {job} are missing")
            line = decode_line(raw)
            if isinstance(line, Children) and line.job == job:
                count -= len(line.children)
                yield from line.children
