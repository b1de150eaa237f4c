"""The thread behind an adapter: it never makes the caller wait, and does not stay dead."""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Iterator

import pytest

from batchsystems.commandline.adapter import CommandLine
from batchsystems.commandline.answers import QueryResult
from batchsystems.commandline.dialect import Request
from batchsystems.commandline.limits import Limits, Queue
from batchsystems.commandline.pacing import Pace, Timeouts
from batchsystems.conformance import Watcher, wait_for
from batchsystems.interface import (
    Accepted,
    Ambiguous,
    JobEnd,
    JobSpec,
    Refused,
    Resources,
)
from batchsystems.transport.local import Command, CommandResult, FileState
from tests.unit.commandline.inmemory import JsonDialect, World

QUICK = Pace(submits_per_s=1000, queries_per_minute=60000, poll_s=0.1)


class InMemory:
    """A transport to a world; gate: each command waits until it is open."""

    def __init__(self) -> None:
        self.world = World()
        self.gate = threading.Event()
        self.gate.set()

    def run(self, command: Command, timeout_s: float) -> CommandResult:
        self.gate.wait(30)
        return self.world.run(command)

    def read(self, path: str, offset: int, limit: int) -> bytes:
        return b""

    def state(self, path: str) -> FileState:
        return FileState(path, 0, 0, 0.0)

    def put(self, path: str, content: str | None) -> None:
        raise NotImplementedError

    def beside(self, path: str) -> list[FileState]:
        return []

    def missing(self, programs: object) -> list[str]:
        return []

    def cancel(self) -> None:
        self.gate.set()


class Clock:
    def now(self) -> float:
        return time.monotonic()

    def epoch(self) -> float:
        return 1_800_000_000.0


@pytest.fixture
def transport() -> InMemory:
    return InMemory()


@pytest.fixture
def dialect() -> JsonDialect:
    return JsonDialect()


@pytest.fixture
def batch(transport: InMemory, dialect: JsonDialect) -> Iterator[CommandLine]:
    made = CommandLine(dialect, QUICK, Timeouts(close_s=5), transport, Clock())
    yield made
    made.close()


def test_a_slow_scheduler_makes_nobody_wait(batch: CommandLine, transport: InMemory):
    transport.gate.clear()
    began = time.monotonic()
    jobs = batch.issueJobs([JobSpec("job", ("true",), index=i) for i in range(100)])
    assert batch.getUpdatedJobs() == {}
    assert batch.getIssuedJobIDs() == set(jobs)
    assert batch.getRunningJobIDs() == {}
    assert len(batch.explain(jobs)) == 100
    batch.killJobs(jobs[:1])
    batch.capacity()
    batch.exclude(["node"])
    assert time.monotonic() - began < 1.0
    transport.gate.set()
    Watcher(batch).accepted(jobs[-1])


def test_news_wake_whoever_waits_and_only_then(batch: CommandLine, transport: InMemory):
    descriptor = batch.fileno()
    assert descriptor is not None
    assert select.select([descriptor], [], [], 0)[0] == []
    job = batch.issueJob(JobSpec("job", ("true",)))
    assert select.select([descriptor], [], [], 10)[0]
    assert batch.getUpdatedJobs() == {job: Accepted("1")}
    assert select.select([descriptor], [], [], 0)[0] == []
    transport.world.end("1")
    assert select.select([descriptor], [], [], 10)[0]
    assert isinstance(batch.getUpdatedJobs()[job], JobEnd)


def test_a_parser_s_fault_stops_nobody(
    batch: CommandLine, transport: InMemory, dialect: JsonDialect, caplog, monkeypatch
):
    watcher = Watcher(batch)
    job = batch.issueJob(JobSpec("job", ("true",)))
    watcher.accepted(job)
    faults = iter(range(3))
    honest = dialect.parse_queue

    def parse(ran: CommandResult) -> QueryResult:
        if next(faults, None) is not None:
            raise KeyError("a row nobody expected")
        return honest(ran)

    monkeypatch.setattr(dialect, "parse_queue", parse)
    transport.world.end("1")
    watcher.end(job)
    assert any("could not be read" in record.message for record in caplog.records)


def test_a_fault_in_reading_a_submission_s_answer_makes_it_unclear(
    batch: CommandLine, dialect: JsonDialect, monkeypatch
):
    def parse(ran: CommandResult) -> None:
        raise IndexError

    monkeypatch.setattr(dialect, "parse_submit", parse)
    watcher = Watcher(batch)
    job = batch.issueJob(JobSpec("job", ("true",)))
    watcher.until(lambda: len(watcher.news.get(job, ())) == 2, "two updates")
    assert [type(update) for update in watcher.news[job]] == [Ambiguous, Accepted]


def test_a_dead_thread_is_started_again(
    batch: CommandLine, transport: InMemory, caplog, monkeypatch
):
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    real = batch._engine.next_operation

    def dies(now: float) -> None:
        monkeypatch.setattr(batch._engine, "next_operation", real)
        raise MemoryError

    monkeypatch.setattr(batch._engine, "next_operation", dies)
    job = batch.issueJob(JobSpec("job", ("true",)))
    assert batch._thread is not None
    batch._thread.join(10)
    assert isinstance(Watcher(batch).accepted(job), str)
    assert any("started again" in record.message for record in caplog.records)


def test_queries_are_tried_again_and_submissions_are_not(batch: CommandLine, transport: InMemory):
    transport.world.broken = {"sub": CommandResult(1), "q": CommandResult(1, stderr="away")}
    batch.issueJob(JobSpec("job", ("true",)))
    wait_for(lambda: len(transport.world.commands("q")) >= 2)
    assert len(transport.world.commands("sub")) == 1


def test_closing_ends_even_a_command_that_hangs(transport: InMemory, dialect: JsonDialect):
    batch = CommandLine(dialect, QUICK, Timeouts(flush_s=0.2, close_s=0.2), transport, Clock())
    transport.gate.clear()
    batch.issueJob(JobSpec("job", ("true",)))
    began = time.monotonic()
    batch.close()
    batch.close()
    assert time.monotonic() - began < 5
    assert batch.getIssuedJobIDs() == frozenset()


# ---- what is settled without a command --------------------------------------------------------


class Fragile(JsonDialect):
    """No queue has more than two processors, and jobs called bad cannot be told to it."""

    known = Limits(queues=(Queue("q", cpus=2),))

    def submit(self, request: Request, limits: Limits) -> Command:
        if request.name == "bad":
            raise ValueError("no such word")
        return super().submit(request, limits)


def test_a_dialect_that_raises_has_that_submission_refused_and_no_other():
    batch = CommandLine(Fragile(), QUICK, Timeouts(), InMemory())
    bad, good = batch.issueJobs([JobSpec("bad", ("true",)), JobSpec("good", ("true",))])
    assert batch.flush(10) == frozenset()
    updates = batch.getUpdatedJobs()
    batch.close()
    told = updates[bad]
    assert isinstance(told, Refused)
    assert "no such word" in told.why
    assert updates[good] == Accepted("1")


def test_what_is_refused_without_a_command_wakes_who_waits():
    pace = Pace(submits_per_s=2, queries_per_minute=60000, poll_s=3600)
    batch = CommandLine(Fragile(), pace, Timeouts(), InMemory())
    (small,) = batch.issueJobs([JobSpec("small", ("true",))])
    assert batch.flush(10) == frozenset()
    assert batch.getUpdatedJobs().keys() == {small}
    (large,) = batch.issueJobs([JobSpec("large", ("true",), Resources(cpus=64))])
    began = time.monotonic()
    assert batch.flush(20) == frozenset()
    assert time.monotonic() - began < 10
    assert select.select([batch.fileno() or 0], [], [], 0)[0], "the descriptor tells of it, too"
    assert isinstance(batch.getUpdatedJobs()[large], Refused)
    batch.close()
