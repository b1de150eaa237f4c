"""The virtual shared file system, and the mailbox on it.

Owns which bytes are where: at their writer, at the server, lost. Knows no scheduler.
Read next: cluster.py.

The model: what a node appends is in its own cache until it is synced, its file closed, or its
kernel feels like it; each file on its own, so that of two files the later may arrive first. A
node's death loses what has not arrived; the server loses nothing. A new name may stay unseen
until its directory is listed. Renames, links and removals are seen at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from jobtree.core.job import Command, Pickle
from jobtree.mailbox import PROTOCOL, control, orders
from jobtree.mailbox.bundles import digest
from jobtree.mailbox.master_side import Mailbox
from jobtree.mailbox.results import (
    Children,
    Done,
    Failed,
    Hello,
    ResultLine,
    ResultReader,
    Start,
    Synced,
    decode_line,
    encode_line,
)
from tests.simulation.world import World

LONGEST_UNSEEN_S = 45.0


class File:
    """A file. data: as its writer sees it; arrived: how much of it the server has."""

    def __init__(self, path: str, content: object = None) -> None:
        self.path, self.content = path, content
        self.data = bytearray()
        self.arrived = 0
        self.seen_from = 0.0
        self.removed = False
        self.marks: list[tuple[int, dict[str, Any]]] = []


class Disk:
    """Files by path; directories of jobs; outputs that were published."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.files: dict[str, File] = {}
        self.outputs: dict[str, tuple[int, int, int]] = {}
        self.directories: dict[int, dict[str, tuple[int, int, int]]] = {}
        self.lazy_s = world.stream("disk").choice([0.0, 0.3, 3.0])
        if "tail torn" in world.rates:
            self.lazy_s = 3.0
        self.rung: dict[str, None] = {}

    def create(self, path: str, content: object = None) -> File | None:
        """Make a file; None if the name is taken."""
        if path in self.files:
            return None
        file = self.files[path] = File(path, content)
        if path.startswith("results/") and self.world.strikes("name seen late"):
            file.seen_from = self.world.now + self.world.stream("disk").uniform(1, LONGEST_UNSEEN_S)
        return file

    def append(self, file: File, data: bytes, mark: dict[str, Any] | None = None) -> int:
        """Append to a file; return where. The mark is recorded when the bytes have arrived."""
        at = len(file.data)
        file.data += data
        if mark is not None:
            file.marks.append((len(file.data), mark))
        if not self.world.strikes("lines seen late") and not self.lazy_s:
            self.arrive(file)
        else:
            rng = self.world.stream("disk")
            much = rng.random()
            self.world.after(
                rng.uniform(0, 2 * (self.lazy_s or 1.0)), lambda: self._trickle(file, much)
            )
        return at

    def arrive(self, file: File, size: int | None = None) -> None:
        """Have what was written, or its first `size` bytes, at the server."""
        file.arrived = max(
            file.arrived, min(len(file.data), len(file.data) if size is None else size)
        )
        while file.marks and file.marks[0][0] <= file.arrived:
            _, mark = file.marks.pop(0)
            if not file.removed:
                bundle = self.files.get(f"bundles/{mark['issue']}")
                there = 0 if bundle is None else bundle.arrived
                told = mark | {"whole": there >= mark["whole"]}
                self.world.record("visible", **told)

    def _trickle(self, file: File, much: float) -> None:
        left = len(file.data) - file.arrived
        self.arrive(file, file.arrived + (left if much > 0.5 else int(left * much)))

    def lose(self, file: File) -> None:
        """Forget what has not arrived: its writer's node is dead."""
        if file.arrived < len(file.data):
            if self.world.strikes("tail torn"):
                rng = self.world.stream("disk")
                much = rng.choice([0.0, rng.uniform(0, 1), 1.0])
                self.arrive(file, file.arrived + int((len(file.data) - file.arrived) * much))
            del file.data[file.arrived :]
            file.marks.clear()

    def remove(self, path: str) -> None:
        """Remove a file that may be gone already."""
        file = self.files.pop(path, None)
        if file is not None:
            file.removed = True

    def list(self, folder: str) -> list[str]:
        """Return the names in a directory, all of which are seen from now on."""
        names = []
        for path, file in self.files.items():
            if path.startswith(f"{folder}/"):
                file.seen_from = 0.0
                names.append(path.removeprefix(f"{folder}/"))
        return names

    def read(self, path: str, offset: int = 0, limit: int = -1) -> bytes:
        """Return what the server has of a file. Raises FileNotFoundError."""
        file = self.files.get(path)
        if file is None or file.seen_from > self.world.now:
            raise FileNotFoundError(path)
        return bytes(
            file.data[offset : file.arrived if limit < 0 else min(file.arrived, offset + limit)]
        )

    def holds(self, where: Pickle) -> bool:
        """Tell whether the server has a pickle whole."""
        try:
            pickled = self.read(f"bundles/{where.bundle}", where.offset, where.length)
        except FileNotFoundError:
            return False
        return digest(pickled) == where.digest


class Bell:
    """A doorbell without a socket."""

    address = ("virtual", 1, "")

    def fileno(self) -> int | None:
        """Nothing to wait on."""
        return None


class VirtualMailbox(Mailbox):
    """The master's side of the mailbox, on the virtual disk. point: where a master may die."""

    def __init__(self, disk: Disk, epoch: int, point: Callable[[str], None]) -> None:
        self._disk, self._epoch, self._point = disk, epoch, point
        self._readers: dict[str, ResultReader] = {}
        self.bell = cast(Any, Bell())

    def _record(self, kind: str, **data: Any) -> None:
        self._disk.world.record(kind, epoch=self._epoch, **data)

    def _remove(self, path: str) -> None:
        self._point("kill only")
        self._disk.remove(path)

    def post(self, terms: orders.Terms, packs: list[list[orders.Assignment]]) -> None:
        self._point("kill only")
        self._disk.remove(f"orders/{terms.submission}")
        self._disk.create(f"orders/{terms.submission}", (PROTOCOL, terms, packs))
        held = [[(given.job, given.attempt, given.step) for given in pack] for pack in packs]
        self._record("order", submission=terms.submission, packs=held)
        self._point("kill only")

    def children(self, issue: str, offset: int, job: int, count: int) -> Iterator[Command]:
        content = self._disk.read(f"results/{issue}")
        while count > 0:
            end = content.find(b"\n", offset) + 1
            if not end:
                raise ValueError(f"{count} children of job {job} are missing")
            line = decode_line(content[offset:end])
            offset = end
            if isinstance(line, Children) and line.job == job:
                count -= len(line.children)
                yield from line.children

    def beat(self, issue: str) -> int | None:
        file = self._disk.files.get(f"claims/{issue}")
        return None if file is None else cast(int, file.content)

    def fence(self, issue: str, word: str) -> None:
        self._point("fence")
        self._disk.remove(f"fences/{issue}")
        self._disk.create(f"fences/{issue}", word)
        self._record("fence", issue=issue, word=word)
        self._point("after fence")

    def tidy(self, submission: str, issues: Iterable[str]) -> None:
        self._remove(f"orders/{submission}")
        self._record("withdrawn", submission=submission)
        names = list(issues)
        for name in self._disk.list("claims"):
            if name.partition("~")[0] in names:
                self._remove(f"claims/{name}")
        for issue in names:
            self._readers.pop(issue, None)
            self._remove(f"results/{issue}")
            self._remove(f"fences/{issue}")
        self._point("after tidy")

    def forget_bundles(self, names: Iterable[str]) -> None:
        for name in names:
            self._remove(f"bundles/{name}")

    def sweep(
        self, submissions: set[str], bundles: set[str], is_live: Callable[[int], bool]
    ) -> None:
        for folder in ("orders", "claims", "fences", "results"):
            for name in self._disk.list(folder):
                issue = name.partition("~")[0]
                submission = issue if folder == "orders" else issue.rpartition(".")[0]
                if submission not in submissions:
                    self._remove(f"{folder}/{name}")
                    if folder == "orders":
                        self._record("withdrawn", submission=submission)
        for name in self._disk.list("bundles"):
            if name not in bundles | {"root"} and name.rpartition(".")[0] not in submissions:
                self._remove(f"bundles/{name}")
        for job in list(self._disk.directories):
            if not is_live(job):
                self._point("kill only")
                del self._disk.directories[job]

    def remove_job_directory(self, job: int) -> None:
        self._point("kill only")
        self._disk.directories.pop(job, None)

    def remove_local(self, hello: Hello) -> None:
        return None

    def rung(self) -> set[str]:
        rung, self._disk.rung = self._disk.rung, {}
        return cast("set[str]", rung)  # a dict keeps the order

    def requests(self) -> list[control.ControlRequest]:
        return []

    def failure_tail(self, job: int, step: int, attempt: int) -> str:
        return ""

    def worker_tail(self, issue: str) -> str:
        return ""

    def is_of_another(self, submission: str, program: str) -> bool:
        return False

    def launch_tail(self, submission: str) -> str:
        return ""

    def close(self) -> None:
        return None

    def move(self, source: str, destination: str) -> None:
        self._point("kill only")
        job, name = int(source.partition("/")[0]), source
        content = self._disk.directories.get(job, {}).get(name)
        if content is None:
            if destination in self._disk.outputs:
                return
            raise FileNotFoundError(source)
        if self._disk.world.strikes("move failed"):
            self._record("move failed", job=content[0], attempt=content[1], step=content[2])
            raise OSError(20, "its directory is a file")
        del self._disk.directories[job][name]
        self._disk.outputs[destination] = content
        self._record("moved", job=content[0], attempt=content[1], step=content[2])
        self._point("after move")

    def _prepare_last_read(self, issue: str) -> None:
        self._disk.list("results")

    def _holds(self, where: Pickle) -> bool:
        return self._disk.holds(where)

    def _reader(self, issue: str) -> ResultReader:
        reader = self._readers.get(issue)
        if reader is None:
            reader = self._readers[issue] = ResultReader(f"results/{issue}", self._disk.read)
        return reader


def mark_of(line: ResultLine, issue: str, needed: int) -> dict[str, Any] | None:
    """Return what is recorded when a line has arrived: only what a master may adopt or charge.

    needed: so much of the bundle must have arrived too, for the line to be worth anything.
    """
    if isinstance(line, Hello):
        return {"issue": issue, "line": "hello", "job": 0, "attempt": 0, "step": 0, "whole": 0}
    if isinstance(line, Start | Done | Failed):
        word = type(line).__name__.lower()
        return {
            "issue": issue,
            "line": word,
            "job": line.job,
            "attempt": line.attempt,
            "step": line.step,
            "whole": needed,
        }
    if isinstance(line, Synced):
        nobody = {"job": 0, "attempt": 0, "step": line.size}
        return {"issue": issue, "line": "synced", "whole": 0} | nobody
    return None


def write_line(disk: Disk, file: File, issue: str, line: ResultLine, needed: int = 0) -> int:
    """Append a line to a worker's results; return its offset."""
    return disk.append(file, encode_line(line), mark_of(line, issue, needed))
