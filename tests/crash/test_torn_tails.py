"""Results cut at every byte: what is whole counts, the rest is run again, nothing is made up."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from batchsystems.clock import MachineClock
from batchsystems.interface import BatchSystem, JobSpec, Update
from jobtree import options
from jobtree.core import job_states
from jobtree.core.issue_states import News, State
from jobtree.core.job import Colour, Command, CommandKind, Requirements
from jobtree.core.rescue import Ending
from jobtree.mailbox import layout
from jobtree.mailbox.master_side import Mailbox
from jobtree.mailbox.results import (
    Done,
    End,
    Failed,
    Hello,
    LogRange,
    ResultLine,
    ResultReader,
    Returned,
    Start,
    Synced,
    Usage,
    encode_line,
)
from jobtree.master.issue import Issue
from jobtree.master.issue_events import advance_issue
from jobtree.master.run_state import RunState
from jobtree.store.store import Store

BUDGETS = job_states.Budgets(2, 3)
USAGE = Usage(0.5, 0.25, None)
SHELL = Command(CommandKind.SHELL, "sh", "true", Requirements())
GRANTED = Requirements(2**30, 1, 0, 600.0)
SUBMISSION = "j-x.1-1"
ISSUE = f"{SUBMISSION}.0"
PARENT, TWINS, LINK, BAD, LATE, LAST = range(1, 7)
KILLED = Ending("FAILED", signal=9)


def done(job: int, attempt: int, step: int, children: int = 0, goes_on: bool = False) -> Done:
    born = [SHELL] * children
    return Done(
        job,
        attempt,
        step,
        USAGE,
        children,
        born,
        -1,
        None,
        goes_on,
        [],
        [],
        LogRange(0, 0),
        False,
        "",
    )


def lines(attempt: int) -> list[ResultLine]:
    """A worker's life: a job with two children, a chain, a failure, one job run, one returned."""
    return [
        Hello("host", 1, "nonce", 2.5, "/nowhere/jobtree-x"),
        Start(TWINS, attempt, 0, 0.1),
        done(TWINS, attempt, 0, children=2),
        Start(LINK, attempt, 0, 0.2),
        done(LINK, attempt, 0, children=1, goes_on=True),
        Synced(100),
        Start(LINK, attempt, 1, 0.3),
        done(LINK, attempt, 1),
        Start(BAD, attempt, 0, 0.4),
        Failed(BAD, attempt, 0, USAGE, 3, None, "why", "detail\n", False, [], False, False),
        Start(LATE, attempt, 0, 0.5),
        done(LATE, attempt, 0),
        Returned([LAST]),
        End(0.7),
    ]


class World(NamedTuple):
    """A live master's state, with one issue out."""

    run_state: RunState
    issue: Issue
    results: Path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("torn")
    for name in layout.SUBDIRECTORIES:
        (home / name).mkdir(parents=True, exist_ok=True)
    return home


@pytest.fixture
def world(home: Path) -> Generator[World, None, None]:
    for database in home.glob("tree.db*"):
        database.unlink()
    path = str(home / "tree.db")
    store = Store.create(path, job_states.first_job(PARENT, 0, SHELL, BUDGETS), {})
    root = store.get(PARENT)
    assert root is not None
    ids = store.new_ids(5)
    store.add(job_states.first_job(number, PARENT, SHELL, BUDGETS) for number in ids)
    blue = root._replace(colour=Colour.BLUE, stack=(), child_count=5)
    store.put(root, blue)
    store.commit()
    store.close()
    yield from reopened(home)


class Nowhere(BatchSystem):
    """A batch system that has ended all it was given."""

    def issueJob(self, spec: JobSpec) -> int:
        raise AssertionError(f"nothing is to be issued here, and {spec.name} was")

    def getIssuedJobIDs(self) -> frozenset[int]:
        return frozenset()

    def getUpdatedJobs(self) -> dict[int, Update]:
        return {}

    def killJobs(self, ids: Iterable[int]) -> None:
        return None


def reopened(home: Path) -> Generator[World, None, None]:
    """Yield the tree as committed, with its issue handed out and not committed."""
    given, _ = options.settings_in_force({"retryCount": 2, "rescueCount": 3})
    store = Store(str(home / "tree.db"))
    mailbox = Mailbox(str(home), None)
    systems: dict[str, BatchSystem] = {"singleMachine": Nowhere()}
    run = RunState(str(home), store, mailbox, given, 1, MachineClock(), systems)
    pack = []
    for number in (TWINS, LINK, BAD, LATE, LAST):
        job = store.get(number)
        assert job is not None
        issued = run.apply(job, job_states.Issued(1))
        pack.append((number, issued.attempt, issued.step))
    issue = Issue(SUBMISSION, 0, "singleMachine", GRANTED, pack, 0.0, run.clock.now())
    run.add_issue(issue)
    run.change_state(issue, State.RUNNING)
    yield World(run, issue, Path(layout.result_path(str(home), ISSUE)))
    mailbox.close()
    store.close()


def whole(content: bytes, attempt: int) -> list[ResultLine]:
    """Return the lines that are there to the last byte, by another way than the reader's."""
    found, at = [], 0
    for line in lines(attempt):
        at += len(encode_line(line))
        if at <= len(content):
            found.append(line)
    return found


def test_a_settle_of_results_cut_at_every_byte(world: World, home: Path) -> None:
    attempt = next(iter(world.issue.open.values()))[0]
    content = b"".join(encode_line(line) for line in lines(attempt))
    fresh = reopened(home)
    cuts = 0
    for cut in range(len(content) + 1):
        world = next(fresh)
        world.results.write_bytes(content[:cut])
        world.results.chmod(0o600)
        advance_issue(world.run_state, world.issue, News.ENDED, KILLED)
        check(world.run_state, whole(content[:cut], attempt))
        world.results.unlink()
        fresh.close()
        fresh = reopened(home)
        cuts += 1
    assert cuts == len(content) + 1
    print(f"results of {len(content)} bytes, cut {cuts} times")


def check(run: RunState, read: list[ResultLine]) -> None:
    """Compare the tree with what the whole lines say, and with nothing else."""
    finished = {(line.job, line.step) for line in read if isinstance(line, Done)}
    began = [(line.job, line.step) for line in read if isinstance(line, Start)]
    failed = any(isinstance(line, Failed) for line in read)
    jobs = {number: run.store.get(number) for number in (TWINS, LINK, BAD, LATE, LAST)}
    running = [step for step in began if step not in finished and not (failed and step[0] == BAD)]

    twins = jobs[TWINS]
    assert twins is not None
    if (TWINS, 0) in finished:
        assert (twins.colour, twins.child_count) == (Colour.BLUE, 2)
    else:
        assert (twins.colour, twins.step, twins.child_count) == (Colour.WHITE, 0, 0)
    link = jobs[LINK]
    steps = len({step for step in finished if step[0] == LINK})
    assert (link is None) == (steps == 2)
    assert link is None or (link.colour, link.step, len(link.stack)) == (Colour.WHITE, steps, 1)
    assert (jobs[LATE] is None) == ((LATE, 0) in finished)
    bad, last = jobs[BAD], jobs[LAST]
    assert bad is not None
    assert last is not None
    assert (bad.colour, bad.retries) == (Colour.WHITE, 1 if failed else 2)
    assert (last.colour, last.retries, last.step) == (Colour.WHITE, 2, 0)
    paid = {n: BUDGETS.rescues - job.rescues for n, job in jobs.items() if job is not None}
    if not read:  # nothing ever began: every job was lost with its worker
        assert set(paid.values()) == {1}
    elif running:
        assert {number for number, count in paid.items() if count} == {running[-1][0]}
    else:
        assert sum(paid.values()) == (not isinstance(read[-1], End | Returned))
    children = 2 if (TWINS, 0) in finished else 0
    total = sum(run.store.counts.values())
    assert total == 1 + sum(job is not None for job in jobs.values()) + children


def test_a_reader_of_results_cut_at_every_byte(tmp_path: Path) -> None:
    content = b"".join(encode_line(line) for line in lines(1000001))
    path = tmp_path / "results"
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        os.chmod(path, 0o600)
        reader = ResultReader(str(path))
        read = [line for line in reader.read(final=True) if not isinstance(line, Synced)]
        expected = [line for line in whole(content[:cut], 1000001) if not isinstance(line, Synced)]
        assert read == expected
        assert not reader.damage
