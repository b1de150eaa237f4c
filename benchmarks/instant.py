"""Stand-ins for a batch system and its workers, and a tree opened with them.

Owns the instant answers, and the count of what answering took; must not measure the master.
Read next: experiments.py, which does.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import BinaryIO

from batchsystems.clock import MachineClock
from batchsystems.interface import Accepted, BatchSystem, Capacity, JobEnd, JobSpec, Reason, Update
from jobtree import options
from jobtree.core import job_states
from jobtree.core.job import Command, CommandKind, Pickle, Requirements
from jobtree.mailbox import layout
from jobtree.mailbox.files import write_file
from jobtree.mailbox.master_side import Mailbox
from jobtree.mailbox.orders import Assignment, Terms
from jobtree.mailbox.results import (
    CHILDREN_PER_LINE,
    Children,
    Done,
    End,
    Hello,
    LogRange,
    Start,
    Synced,
    Usage,
    encode_line,
)
from jobtree.master.loop import Master
from jobtree.master.run_state import RunState
from jobtree.store import lease
from jobtree.store.store import Store

SLOTS = 100
STEP_S = 0.3
"""What every step claims to have taken: 100 of them fill a pack of --jobTime 30."""


class Workers(BatchSystem):
    """A batch system whose workers have done all they were asked for by the time it returns."""

    name = "instant"

    def __init__(self, directory: str, jobs: int, slots: int, step_s: float) -> None:
        self.directory, self.jobs, self.slots, self.step_s = directory, jobs, slots, step_s
        self.hold = False
        self.first_issue_at = 0.0
        self.orders: dict[str, list[list[Assignment]]] = {}
        self.rung: set[str] = set()
        self.spent_s = self.spent_cpu_s = 0.0
        self.files = self.bytes = self.issues = 0
        self._updates: list[tuple[int, Update]] = []
        self._last = 0
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._bell

    def issueJob(self, spec: JobSpec) -> int:
        return self.issueJobs([spec])[0]

    def issueJobs(self, specs: list[JobSpec]) -> list[int]:  # type: ignore[override]
        began, cpu_began = time.perf_counter(), time.process_time()
        self.first_issue_at = self.first_issue_at or began
        packs = self.orders.pop(specs[0].name)
        handles = []
        for spec in specs:
            self._last += 1
            handles.append(self._last)
            self._updates.append((self._last, Accepted(str(self._last))))
            if not self.hold:
                self.answer(spec.name, spec.index, packs[spec.index])
                self._updates.append((self._last, JobEnd(Reason.OK, 0)))
        self.issues += len(specs)
        os.eventfd_write(self._bell, 1)
        self.spent_s += time.perf_counter() - began
        self.spent_cpu_s += time.process_time() - cpu_began
        return handles

    def answer(self, submission: str, task: int, pack: list[Assignment]) -> None:
        issue = layout.issue_name(submission, task)
        with open(layout.result_path(self.directory, issue), "wb") as file:
            file.write(encode_line(Hello("host", 1, "0" * 16, 0.0, "")))
            for given in pack:
                file.write(encode_line(Start(given.job, given.attempt, given.step, 0.0)))
                file.write(encode_line(self.done(file, issue, given)))
            file.write(encode_line(End(1.0)))
            file.write(encode_line(Synced(file.tell())))
            self.bytes += file.tell()
        self.files += 1
        self.rung.add(issue)

    def done(self, file: BinaryIO, issue: str, given: Assignment) -> Done:
        """Return the Done line of a job; many children are written before it, a part at a time."""
        children = self.children(issue, given.stack[-1].text)
        here, count, at = list(islice(children, CHILDREN_PER_LINE + 1)), 0, -1
        if len(here) > CHILDREN_PER_LINE:
            at = file.tell()
            rest = chain(here, children)
            while here := list(islice(rest, CHILDREN_PER_LINE)):
                file.write(encode_line(Children(given.job, here)))
                count += len(here)
        used, log = Usage(self.step_s, 0.01, 30_000_000), LogRange(0, 0)
        what = (used, count or len(here), here, at, None, False, [], [], log, False, "")
        return Done(given.job, given.attempt, given.step, *what)

    def children(self, issue: str, text: str) -> Iterator[Command]:
        """`wide` bears all at once; `node 5` bears two more, until there are as many as asked."""
        kind, _, number = text.partition(" ")
        if kind == "wide":
            texts: Iterable[str] = ("leaf" for _ in range(self.jobs - 1))
        elif kind == "node":
            both = (2 * int(number) + 1, 2 * int(number) + 2)
            texts = (f"node {child}" for child in both if child < self.jobs)
        else:
            texts = ()
        for at, child in enumerate(texts):
            yield command(child, Pickle(issue, 150 * at, 150, "0123456789abcdef" * 2))

    def getUpdatedJobs(self) -> dict[int, Update]:
        found: dict[int, Update] = {}
        later = []
        for handle, update in self._updates:
            if handle in found:
                later.append((handle, update))
            else:
                found[handle] = update
        self._updates = later
        if found and not later:
            os.eventfd_read(self._bell)
        return found

    def getIssuedJobIDs(self) -> frozenset[int]:
        return frozenset(range(1, self._last + 1))

    def killJobs(self, ids: Iterable[int]) -> None:
        return None

    def capacity(self) -> Capacity:
        return Capacity(slots=self.slots)


class Office(Mailbox):
    """The real mailbox, told by a call instead of a datagram which results to look at."""

    def __init__(self, directory: str, workers: Workers) -> None:
        super().__init__(directory, None)
        self._workers = workers

    def post(self, terms: Terms, packs: list[list[Assignment]]) -> None:
        super().post(terms, packs)
        self._workers.orders[terms.submission] = packs
        self._workers.files += 1
        self._workers.bytes += os.path.getsize(layout.order_path(self._tree, terms.submission))

    def rung(self) -> set[str]:
        rung, self._workers.rung = self._workers.rung, set()
        return rung


def command(text: str, pickle: Pickle | None = None) -> Command:
    label = text.partition(" ")[0].title()
    return Command(CommandKind.TARGET, label, text, Requirements(), pickle)


def make_tree(directory: str, root: str) -> None:
    os.mkdir(directory, 0o700)
    for name in layout.SUBDIRECTORIES:
        os.mkdir(f"{directory}/{name}", 0o700)
    settings, saved = options.settings_in_force({})
    job = job_states.first_job(
        1, 0, command(root), job_states.Budgets(settings.retries, settings.rescues)
    )
    meta = {"options": saved, "root_label": "Root", "started": time.time()}
    Store.create(f"{directory}/{layout.DATABASE}", job, meta).close()
    write_file(f"{directory}/{layout.MARKER}", json.dumps({"format": 1, "id": "0" * 12}).encode())


@contextmanager
def opened(
    directory: str, jobs: int, slots: int = SLOTS, step_s: float = STEP_S
) -> Iterator[tuple[Master, Workers]]:
    """Open a tree as workflow.py does, with the stand-ins."""
    settings, _ = options.settings_in_force({})
    settings = settings._replace(batch_system="instant")
    held, _ = lease.acquire(directory)
    store = Store(f"{directory}/{held.holder.database}")
    store.refill(settings.retries, settings.rescues)
    workers = Workers(directory, jobs, slots, step_s)
    office = Office(directory, workers)
    systems: dict[str, BatchSystem] = {"instant": workers}
    run = RunState(directory, store, office, settings, held.epoch, MachineClock(), systems)
    master = Master(run, held)
    try:
        yield master, workers
    finally:
        master.close()
        office.close()
        store.close()
        held.release()
