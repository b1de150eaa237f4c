"""Results: what a worker says of its steps, one append-only, checksummed file per worker.

Owns the lines and how far they may be believed; knows no colours. Read next: bundles.py.

A line is a CRC32 and a JSON array. It is written before the next step starts, so the death of the
process costs one step at most; it counts for the master once a Synced line behind it says it
has reached the disk, or once the worker is known to have ended. A torn last line is no error.
"""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from zlib import crc32

from jobtree.core.job import Command, command_from_wire
from jobtree.mailbox.files import open_own, read_file, write_all

CHILDREN_PER_LINE = 256
"""A step with more children writes them in lines of this many, before its Done line."""

CHUNK_BYTES = 4 * 2**20
"""Read at once: more than the longest line, which is one of CHILDREN_PER_LINE children."""


class Hello(NamedTuple):
    """First line. started: epoch seconds on that host. local: its local temp dir."""

    host: str
    pid: int
    nonce: str
    started: float
    local: str


class Start(NamedTuple):
    """A step begins. at_s: seconds since Hello."""

    job: int
    attempt: int
    step: int
    at_s: float


class Children(NamedTuple):
    """Some of the children of the step whose Done follows."""

    job: int
    children: list[Command]


class LogRange(NamedTuple):
    """Where a step's output lies in the worker's log, after cutting."""

    offset: int
    length: int


class Usage(NamedTuple):
    """What a step used. cpu_s: user and system; memory_bytes: peak, None if unknown."""

    wall_s: float
    cpu_s: float
    memory_bytes: int | None


class Done(NamedTuple):
    """A step succeeded.

    children: all of them, unless children_at >= 0: then that is the file offset of the first
    Children line. goes_on: this worker runs the job's next step. publish: (source, destination)
    pairs to move when this step is adopted. said: what the command wrote as its stats.
    """

    job: int
    attempt: int
    step: int
    usage: Usage
    child_count: int
    children: list[Command]
    children_at: int
    follow_on: Command | None
    goes_on: bool
    messages: list[str]
    publish: list[list[str]]
    log: LogRange
    has_directory: bool
    said: str


class Failed(NamedTuple):
    """A step failed by its own doing.

    why: one line; detail: for the log; crashed: it took down the process it ran in, so the
    next try gets a process of its own. out_of_memory: the kernel killed something of it for
    want of memory, while the worker lived on.
    """

    job: int
    attempt: int
    step: int
    usage: Usage
    exit_status: int | None
    signal: int | None
    why: str
    detail: str
    crashed: bool
    messages: list[str]
    log_kept: bool
    has_directory: bool
    out_of_memory: bool = False


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
    "hello": Hello,
    "start": Start,
    "children": Children,
    "done": Done,
    "failed": Failed,
    "returned": Returned,
    "synced": Synced,
    "end": End,
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
    body = _checked(raw)
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


def _checked(raw: bytes) -> bytes:
    """Return the body of a line. Raises ValueError if it is not what its checksum says."""
    body = raw[9:-1]
    if raw[:9] != b"%08x " % crc32(body) or raw[-1:] != b"\n":
        raise ValueError("checksum differs")
    return body


def append_line(fd: int, line: ResultLine) -> None:
    """Append a line with one write(), so that it is torn only if the disk is full."""
    write_all(fd, encode_line(line))


def read_own(path: str, offset: int, limit: int) -> bytes:
    """Return a range of a file that nobody but this user can have written."""
    return read_file(path, offset, limit, own=True)


class ResultReader:
    """Reads one worker's results as they grow, and hands out what may be believed.

    running: the step last started and not yet ended, whether synced or not. ended: its End
    line was handed out. damage: why the rest of the file is not believed, "" if it is.
    doubtful: how many of the lines handed out last are not known to be on disk.
    """

    def __init__(self, path: str, read: Callable[[str, int, int], bytes] = read_own) -> None:
        self.path = path
        self._read_file = read
        self.running: Start | None = None
        self.hello: Hello | None = None
        self.ended = False
        self.damage = ""
        self.doubtful = 0
        self._read_to = 0
        self._synced = 0
        self._held: list[tuple[int, ResultLine]] = []

    def read(self, final: bool = False) -> list[ResultLine]:
        """Return the lines now known to be safe; with `final`, every whole line.

        `final` is for workers known to have ended: nothing more will be written, and what can
        be read is all there is. A file not there yet has no lines.
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
        """Take in what was appended; return how far it is known to be on disk."""
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


def file_size(fd: int) -> int:
    """Return how long the file behind a descriptor is now."""
    return os.fstat(fd).st_size
