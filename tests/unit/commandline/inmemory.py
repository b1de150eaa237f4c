"""A scheduler that exists in memory, its dialect, and an engine driven in virtual time.

Owns no process, thread or clock: for tests of engine.py. Read next: test_submitting.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from batchsystems.commandline.answers import (
    Observation,
    Phase,
    QueryResult,
    Rejected,
    Rejection,
    Submitted,
    Unkilled,
)
from batchsystems.commandline.dialect import (
    AccountingRecords,
    Dialect,
    PendingQueries,
    RecordKey,
    Request,
    Validation,
)
from batchsystems.commandline.engine import Engine
from batchsystems.commandline.ids import IdFormat
from batchsystems.commandline.limits import Limits
from batchsystems.commandline.pacing import Pace, Timeouts
from batchsystems.interface import Accepted, JobEnd, JobSpec, Reason, Update
from batchsystems.transport.local import Command, CommandResult, FileState

DOWN = CommandResult(1, stderr="the scheduler is away")
EPOCH = 1_800_000_000.0
PHASES = {phase.value: phase for phase in Phase}


class JsonDialect(Dialect):
    """Its answers are JSON: rows of native, name, phase, why, submitted, exit status.

    A word in place of a row is the mark of a row that cannot be read.
    records: a file with such a row in each line is its history. wants_reasons: it asks for reasons.
    """

    name = "inmemory"
    by_name = True
    scrubbed = ("INMEMORY_",)
    ids = IdFormat(".")
    hopeless = "^never$"

    def __init__(
        self,
        arrays: bool = True,
        history: bool = True,
        records: str = "",
        wants_reasons: bool = False,
    ) -> None:
        super().__init__()
        self.arrays, self._history = arrays, history
        self.records = JsonRecords(records) if records else None
        self.pending = JsonPending() if wants_reasons else None

    def submit(self, request: Request, limits: Limits) -> Command:
        verb = {Validation.ON: "sub", Validation.WHY: "try", Validation.OFF: "force"}[request.check]
        return Command("submit", (verb, request.name, str(request.size or 0), *request.avoid))

    def parse_submit(self, ran: CommandResult) -> Submitted | Rejected:
        if ran.status == 0:
            return Submitted(ran.stdout)
        return Rejected(Rejection(ran.stderr) if ran.stderr else Rejection.UNKNOWN, ran.words())

    def queue(self, names: Sequence[str] = ()) -> Command:
        return Command("queue", ("q", *names))

    def parse_queue(self, ran: CommandResult) -> QueryResult:
        if ran.status != 0:
            return QueryResult(why=ran.words())
        if ran.cut:
            return QueryResult(why=ran.words())
        rows = json.loads(ran.stdout)
        broken = {row for row in rows if isinstance(row, str)}
        seen = [self.observation(row) for row in rows if not isinstance(row, str)]
        return QueryResult(seen, complete=True, broken=broken)

    def observation(self, row: list[Any]) -> Observation:
        return observation(row)

    def kill(self, natives: Sequence[str]) -> Command:
        return Command("kill", ("kill", *natives))

    def kill_named(self, name: str) -> Command | None:
        return Command("kill", ("kill", f"name={name}"))

    def parse_kill(self, ran: CommandResult) -> Unkilled | None:
        if ran.status == 0:
            return None
        return Unkilled(ran.words(), ran.stderr == "never", frozenset(ran.stdout.split()))

    def history(self, natives: Sequence[str], names: Sequence[str], since: float) -> Command | None:
        words = ("hist", ",".join(natives), ",".join(names))
        return Command("history", words) if self._history else None

    def parse_history(self, ran: CommandResult, limits: Limits) -> QueryResult:
        return self.parse_queue(ran)


def observation(row: list[Any]) -> Observation:
    native, name, word, why, submitted, status = row
    phase = PHASES.get(word, Phase.UNKNOWN)
    end = None
    if phase is Phase.ENDED:
        reason = {None: Reason.CANCELLED, 0: Reason.OK}.get(status, Reason.FAILED)
        end = JobEnd(reason, exit_status=status)
    return Observation(native, name, phase, word, why, submitted, end=end)


class JsonRecords(AccountingRecords):
    """A row of JSON in each line."""

    def __init__(self, path: str) -> None:
        self.path = path

    def key(self, line: str) -> RecordKey | None:
        try:
            native, name, _, _, at, _ = json.loads(line)
        except ValueError:
            return None
        return RecordKey(JsonDialect.ids.submission_of(native), name, at)

    def parse(self, lines: Sequence[str]) -> list[Observation]:
        return [observation(json.loads(line)) for line in lines]


class JsonPending(PendingQueries):
    """Its answer is the reason of all."""

    def commands(self, natives: Sequence[str]) -> tuple[Command, ...]:
        return (Command("queue", ("why", *natives)),) if natives else ()

    def parse(self, command: Command, ran: CommandResult) -> dict[str, str]:
        return dict.fromkeys(command.argv[1:], ran.stdout)


def _whole(native: str) -> str:
    return native.partition(".")[0]


@dataclass
class World:
    """The scheduler. queue, past: native -> row. broken: command -> what it answers instead."""

    queue: dict[str, Any] = field(default_factory=dict)
    past: dict[str, Any] = field(default_factory=dict)
    broken: dict[str, CommandResult] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    inodes: dict[str, int] = field(default_factory=dict)
    changed: dict[str, float] = field(default_factory=dict)
    looks: list[tuple[str, int, int]] = field(default_factory=list)
    deaf: bool = False
    """Submissions are accepted, and nobody is told."""
    limit: int = 10**9
    cap: int = 10**9
    """How many rows an answer may have."""
    ran: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    last: int = 0
    now: float = 0.0
    ahead: float = 0.0
    """By how much its clock is ahead of what is right."""
    ours: float = 0.0
    """By how much the adapter's machine's is."""

    def clock(self) -> float:
        """Return what its clock shows."""
        return EPOCH + self.now + self.ahead

    def run(self, command: Command, timeout_s: float = 0.0) -> CommandResult:
        self.ran.append((self.now, command.argv))
        verb, *words = command.argv
        if verb in self.broken:
            return self.broken[verb]
        if verb == "why":
            return CommandResult(0, "resting")
        return {"sub": self._submit, "force": self._submit, "kill": self._kill}.get(
            verb, self._list
        )(verb, words)

    def _submit(self, verb: str, words: list[str]) -> CommandResult:
        name, size = words[0], int(words[1])
        if size > self.limit:
            return CommandResult(1, stderr=Rejection.FULL.value)
        self.last += 1
        for task in range(max(1, size)):
            native = f"{self.last}.{task}" if size else str(self.last)
            self.queue[native] = [native, name, "waiting", "", self.clock(), None]
        return CommandResult(1, stderr="") if self.deaf else CommandResult(0, str(self.last))

    def _kill(self, verb: str, words: list[str]) -> CommandResult:
        for native, row in self.queue.items():
            if native in words or native.partition(".")[0] in words or f"name={row[1]}" in words:
                row[2] = "ended"
        return CommandResult(0)

    def _list(self, verb: str, words: list[str]) -> CommandResult:
        rows = list((self.queue if verb == "q" else self.past).values())
        if verb == "q" and words:
            rows = [row for row in rows if isinstance(row, str) or row[1] in words]
        if verb == "hist" and words[0]:
            wanted = words[0].split(",")
            rows = [row for row in rows if isinstance(row, str) or _whole(row[0]) in wanted]
        return CommandResult(0, json.dumps(rows[: self.cap]), cut=len(rows) > self.cap)

    def read(self, path: str, offset: int, limit: int) -> bytes:
        """Return a part of one of the files."""
        self.looks.append((path, offset, limit))
        return self.files[path][offset : offset + limit]

    def state(self, path: str) -> FileState:
        """Return the state of one of the files."""
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        inode = self.inodes.setdefault(path, len(self.inodes) + 1)
        return FileState(path, len(self.files[path]), inode, EPOCH + self.changed.get(path, 0.0))

    def put(self, path: str, content: str | None) -> None:
        raise NotImplementedError

    def beside(self, path: str) -> list[FileState]:
        """Return the files that are called like one of them, and more."""
        return [self.state(each) for each in self.files if each.startswith(path) and each != path]

    def rotate(self, path: str, to: str) -> None:
        """Rename a file of records, as is done from time to time."""
        self.files[to] = self.files.pop(path)
        self.inodes[to] = self.inodes.pop(path, 0) or -len(self.files)
        self.inodes[path] = self.inodes[to] + 1000
        self.changed[to] = self.now

    def missing(self, programs: object) -> list[str]:
        """Return nothing: all programs are there."""
        return []

    def cancel(self) -> None:
        """Do nothing: no command takes time."""

    def record(self, path: str, *row: object) -> None:
        """Append a row to a file of records."""
        self.files[path] = self.files.get(path, b"") + f"{json.dumps(row)}\n".encode()

    def end(self, native: str, status: int | None = 0) -> None:
        """End a job; the queue shows it."""
        self.queue[native][2], self.queue[native][5] = "ended", status

    def commands(self, verb: str) -> list[tuple[str, ...]]:
        """Return the commands of this kind run so far."""
        return [argv for _, argv in self.ran if argv[0] == verb]


class Drive:
    """An engine over a world, in time that passes only here."""

    def __init__(
        self,
        world: World,
        pace: Pace | None = None,
        timeouts: Timeouts | None = None,
        dialect: JsonDialect | None = None,
    ) -> None:
        self.world = world
        self.engine = Engine(
            dialect or JsonDialect(),
            pace or Pace(),
            timeouts or Timeouts(),
            lambda: EPOCH + world.now + world.ours,
        )
        self.news: dict[int, list[Update]] = {}

    def submit(self, count: int = 1, name: str = "job") -> list[int]:
        specs = [JobSpec(name, ("true",), index=index) for index in range(count)]
        return self.engine.submission_queue.post(specs, "/")

    def kill(self, *jobs: int) -> None:
        self.engine.kill(jobs, self.world.now)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, doing what falls due."""
        until = self.world.now + seconds
        while True:
            operation = self.engine.next_operation(self.world.now)
            if operation is not None:
                if operation.read_files is not None:
                    answer = operation.read_files(self.world)
                else:
                    assert operation.command is not None
                    answer = operation.parse(self.world.run(operation.command))
                operation.on_answer(answer, operation.begun, self.world.now)
                continue
            idle_s = self.engine.idle_s(self.world.now)
            assert idle_s > 0, "nothing to do, and no time to wait"
            if self.world.now + idle_s > until:
                break
            self.world.now += idle_s
        self.world.now = until
        while updates := self.engine.job_table.take_news():
            for job, update in updates.items():
                self.news.setdefault(job, []).append(update)

    def kinds(self, job: int) -> list[str]:
        """Return the names of the updates told of a job."""
        return [type(update).__name__ for update in self.news.get(job, [])]

    def natives(self, job: int) -> list[str]:
        """Return the ids told of a job."""
        return [each.native for each in self.news[job] if isinstance(each, Accepted)]

    def reason(self, job: int) -> Reason:
        """Return the reason of a job's end."""
        end = self.news[job][-1]
        assert isinstance(end, JobEnd), end
        return end.reason
