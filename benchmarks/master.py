"""The master by itself: how fast, how large, how quick to come back, with up to a million jobs.

The Master, Live, Store, Mailbox and Lease are the real ones, on a real directory; orders are
written, and result files are read. What stands in is the batch system and its workers: an issue
is answered the moment it is submitted. The time they take to write the results is taken off.

    python benchmarks/master.py [--jobs 10000 100000 1000000] [--directory DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, BinaryIO

from batchsystems.interface import Accepted, BatchSystem, Capacity, JobEnd, JobSpec, Reason, Update
from jobtree import lease, options, tree
from jobtree.job import Colour, Command, Kind, Pickle, Requirements
from jobtree.live import Live
from jobtree.mailbox import layout
from jobtree.mailbox.files import write_file
from jobtree.mailbox.office import Mailbox
from jobtree.mailbox.orders import Assignment, Terms
from jobtree.mailbox.results import (
    CHILDREN_PER_LINE,
    Children,
    Done,
    End,
    Hello,
    Log,
    Start,
    Synced,
    Usage,
    encode_line,
)
from jobtree.master import MachineClock, Master, Unwatched
from jobtree.packing import Measured as Leaf
from jobtree.store import Store

SLOTS = 100
STEP_S = 0.3
"""What every step claims to have taken: 100 of them fill a pack of --jobTime 30."""

MANY_SLOTS = 1000
LONG_STEP_S = 60.0
"""Longer than --jobTime: every job is a batch job of its own."""


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
        used, log = Usage(self.step_s, 0.01, 30_000_000), Log(0, 0)
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
    return Command(Kind.TARGET, label, text, Requirements(), pickle)


def make_tree(directory: str, root: str) -> None:
    os.mkdir(directory, 0o700)
    for name in layout.SUBDIRECTORIES:
        os.mkdir(f"{directory}/{name}", 0o700)
    settings, saved = options.settle({})
    job = tree.first_job(1, 0, command(root), tree.Budgets(settings.retries, settings.rescues))
    meta = {"options": saved, "root_label": "Root", "started": time.time()}
    Store.create(f"{directory}/{layout.DATABASE}", job, meta).close()
    write_file(f"{directory}/{layout.MARKER}", json.dumps({"format": 1, "id": "0" * 12}).encode())


@contextmanager
def opened(
    directory: str, jobs: int, slots: int = SLOTS, step_s: float = STEP_S
) -> Iterator[tuple[Master, Workers]]:
    """Open a tree as workflow.py does, with the stand-ins."""
    settings, _ = options.settle({})
    settings = settings._replace(batch_system="instant")
    held, _ = lease.take(directory)
    store = Store(f"{directory}/{held.holder.database}")
    store.refill(settings.retries, settings.rescues)
    workers = Workers(directory, jobs, slots, step_s)
    office = Office(directory, workers)
    systems: dict[str, BatchSystem] = {"instant": workers}
    live = Live(directory, store, office, settings, held.epoch, MachineClock(), systems)
    master = Master(live, held, Unwatched())
    try:
        yield master, workers
    finally:
        master.close()
        office.close()
        store.close()
        held.release()


def memory() -> tuple[int, int]:
    """Return resident bytes, now and at most."""
    with open("/proc/self/status") as file:
        found = dict(line.split(":", 1) for line in file)
    return tuple(int(found[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# ---- the experiments, each in a process of its own -----------------------------------------


class Measured:
    """What happens between its making and told(), the workers' own time left out."""

    def __init__(self, workers: Workers, done: int) -> None:
        self.workers, self.done = workers, done
        self.wall_s, self.cpu_s = time.perf_counter(), cpu()
        self.base, _ = memory()

    def told(self, done: int) -> dict[str, Any]:
        wall_s = time.perf_counter() - self.wall_s - self.workers.spent_s
        cpu_s = cpu() - self.cpu_s - self.workers.spent_cpu_s
        jobs = max(1, done - self.done)
        return {
            "jobs": jobs,
            "jobs_per_s": round(jobs / wall_s),
            "jobs_per_cpu_s": round(jobs / cpu_s),
            "issues": self.workers.issues,
            "peak_mb": round(memory()[1] / 1e6, 1),
            "files_per_job": round(self.workers.files / jobs, 4),
            "mail_bytes_per_job": round(self.workers.bytes / jobs),
        }


def whole(directory: str, root: str, jobs: int, *how: float) -> dict[str, Any]:
    """Run a whole tree."""
    make_tree(directory, root)
    with opened(directory, jobs, *map(int, how[:1]), *how[1:]) as (master, workers):
        measured = Measured(workers, 0)
        left = master.run()
        done = master.live.store.done
        assert not left, left
        assert done in (jobs, jobs - 1), done  # an only child is no job
        return {"root": root, **measured.told(done)}


def first_half(directory: str, jobs: int) -> dict[str, Any]:
    """Run half of a tree, and die as of SIGKILL."""
    make_tree(directory, "wide")
    with opened(directory, jobs) as (master, workers):
        measured = Measured(workers, 0)
        master.recover()
        while (done := master.live.store.done) < jobs // 2:
            master.turn()
        print(json.dumps(measured.told(done)), flush=True)
        os._exit(0)


def second_half(directory: str, jobs: int) -> dict[str, Any]:
    """Take up what first_half() left, and run it to its end."""
    began = time.perf_counter()
    cpu_began = cpu()
    with opened(directory, jobs) as (master, workers):
        done = master.live.store.done
        measured = Measured(workers, done)
        master.recover()
        while not workers.first_issue_at and not master.live.finished():
            master.turn()
        to_first = (
            (workers.first_issue_at or time.perf_counter()) - began,
            cpu() - cpu_began - workers.spent_cpu_s,
        )
        assert not master.run()
        found = measured.told(master.live.store.done)
    left = tree_bytes(directory)
    return {
        **found,
        "restart_s": round(to_first[0], 2),
        "restart_cpu_s": round(to_first[1], 2),
        "left_bytes_per_job": round(left / jobs),
    }


def size(directory: str, jobs: int) -> dict[str, Any]:
    """Have a million jobs live: waiting, then as many issued as go; look at memory and turns."""
    make_tree(directory, "wide")
    with opened(directory, jobs, MANY_SLOTS) as (master, workers):
        live = master.live
        base, _ = memory()
        master.recover()
        while live.store.counts[Colour.WHITE] < jobs // 2:
            master.turn()
            live.stopping = True
        waiting, _ = memory()
        workers.hold, live.stopping = True, False
        while live.issues_out < MANY_SLOTS:
            master.turn()
        idle = [_timed(master.turn) for _ in range(1000)]
        told = _packed(live)
        ends = []
        for issue in list(live.issues.values())[:200]:  # one worker ends at a time
            pack = told[issue.name]
            workers.answer(issue.submission, issue.task, pack)
            ends.append(_timed(master.turn))
        return {
            "jobs": jobs,
            "waiting_mb": round(waiting / 1e6, 1),
            "bytes_per_waiting_job": round((waiting - base) / jobs),
            "issues": live.issues_out,
            "white": live.store.counts[Colour.WHITE],
            "peak_mb": round(memory()[1] / 1e6, 1),
            "idle_turn_ms": _quantiles(idle),
            "turn_with_an_end_ms": _quantiles(ends),
        }


def issued(directory: str, jobs: int) -> dict[str, Any]:
    """Issue as many jobs as may be at once, and look at the memory that takes."""
    make_tree(directory, "wide")
    with opened(directory, jobs, MANY_SLOTS, 30.0 * MANY_SLOTS / jobs) as (master, workers):
        live = master.live
        base, _ = memory()
        live.measured["Leaf"] = Leaf(30.0 * MANY_SLOTS / jobs, jobs)
        master.recover()
        while live.store.counts[Colour.GREY] < 0.99 * jobs and live.issues_out < MANY_SLOTS:
            workers.hold = bool(live.store.counts[Colour.BLUE])
            master.turn()
        grey = live.store.counts[Colour.GREY]
        now, peak = memory()
        return {
            "issued_jobs": grey,
            "issues": live.issues_out,
            "rss_mb": round(now / 1e6, 1),
            "peak_mb": round(peak / 1e6, 1),
            "bytes_per_issued_job": round((now - base) / grey),
        }


def _packed(live: Live) -> dict[str, list[Assignment]]:
    """Return what each issue was ordered to do."""
    packs = {}
    for issue in live.issues.values():
        jobs = [(live.store.get(job), at) for job, at in issue.open.items()]
        packs[issue.name] = [
            Assignment(job.id, *at, 0, False, job.stack) for job, at in jobs if job is not None
        ]
    return packs


def status(directory: str) -> dict[str, Any]:
    """Ask the command line for the status of a tree whose master died without a word."""
    argv = [sys.executable, "-m", "jobtree.cli.main", "status", directory]
    took, used = [], []
    for _ in range(3):
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        said = subprocess.run(argv, check=True, capture_output=True, text=True)
        took.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {
        "status_s": round(min(took), 2),
        "status_cpu_s": round(min(used), 2),
        "said": said.stdout.splitlines()[1].strip(),
    }


def _timed(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _quantiles(values: list[float]) -> list[float]:
    """Return the median and the 90th percentile, in milliseconds."""
    values = sorted(values)
    chosen = (statistics.median(values), values[int(0.9 * (len(values) - 1))])
    return [round(1e3 * value, 3) for value in chosen]


def tree_bytes(directory: str) -> int:
    paths = (os.path.join(at, name) for at, _, names in os.walk(directory) for name in names)
    return sum(os.lstat(path).st_size for path in paths)


EXPERIMENTS = {
    function.__name__: function
    for function in (whole, first_half, second_half, size, issued, status)
}


def apart(name: str, *arguments: object) -> dict[str, Any]:
    """Run one experiment in a process of its own, so that its memory is its own."""
    argv = [sys.executable, os.path.abspath(__file__), "--experiment", name, *map(str, arguments)]
    said = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    print(f"{name} {' '.join(map(str, arguments[1:]))}: {json.dumps(found)}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--directory", default=tempfile.gettempdir())
    parser.add_argument("--experiment", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.experiment:
        name, *words = given.experiment
        arguments = [float(word) if word.replace(".", "").isdecimal() else word for word in words]
        chosen = [int(a) if isinstance(a, float) and a == int(a) else a for a in arguments]
        print(json.dumps(EXPERIMENTS[name](*chosen)))
        return
    with tempfile.TemporaryDirectory(prefix="jobtree-bench-", dir=given.directory) as place:
        for jobs in given.jobs:
            tree_at = f"{place}/{jobs}"
            apart("first_half", tree_at, jobs)
            apart("status", tree_at)
            apart("second_half", tree_at, jobs)
            shutil.rmtree(tree_at)
            for name, arguments in (
                ("whole", ("node 0", min(jobs, 100_001))),
                ("whole", ("wide", min(jobs, 20_000), MANY_SLOTS, LONG_STEP_S)),
                ("size", (jobs,)),
                ("issued", (jobs,)),
            ):
                apart(name, tree_at, *arguments)
                shutil.rmtree(tree_at)


if __name__ == "__main__":
    main()
