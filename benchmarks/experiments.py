"""What is measured of the master: whole runs, restarts, memory, turns, status.

Owns what each experiment does and tells; must be run in a process of its own, so that its memory
is its own. Read next: master.py, which runs them.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from instant import Workers, make_tree, opened

from jobtree.core.job import Colour
from jobtree.core.packing import Measured as Leaf
from jobtree.mailbox.orders import Assignment
from jobtree.master.run_state import RunState

MANY_SLOTS = 1000
LONG_STEP_S = 60.0
"""Longer than --jobTime: every job is a batch job of its own."""


def memory() -> tuple[int, int]:
    """Return resident bytes, now and at most."""
    with open("/proc/self/status") as file:
        found = dict(line.split(":", 1) for line in file)
    return tuple(int(found[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


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
        done = master.run_state.store.done
        assert not left, left
        assert done in (jobs, jobs - 1), done  # an only child is no job
        return {"root": root, **measured.told(done)}


def first_half(directory: str, jobs: int) -> dict[str, Any]:
    """Run half of a tree, and die as of SIGKILL."""
    make_tree(directory, "wide")
    with opened(directory, jobs) as (master, workers):
        measured = Measured(workers, 0)
        master.recover()
        while (done := master.run_state.store.done) < jobs // 2:
            master.turn()
        print(json.dumps(measured.told(done)), flush=True)
        os._exit(0)


def second_half(directory: str, jobs: int) -> dict[str, Any]:
    """Take up what first_half() left, and run it to its end."""
    began = time.perf_counter()
    cpu_began = cpu()
    with opened(directory, jobs) as (master, workers):
        done = master.run_state.store.done
        measured = Measured(workers, done)
        master.recover()
        while not workers.first_issue_at and not master.run_state.finished():
            master.turn()
        to_first = (
            (workers.first_issue_at or time.perf_counter()) - began,
            cpu() - cpu_began - workers.spent_cpu_s,
        )
        assert not master.run()
        found = measured.told(master.run_state.store.done)
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
        run = master.run_state
        base, _ = memory()
        master.recover()
        while run.store.counts[Colour.WHITE] < jobs // 2:
            master.turn()
            run.stopping = True
        waiting, _ = memory()
        workers.hold, run.stopping = True, False
        while run.in_use.issues < MANY_SLOTS:
            master.turn()
        idle = [_timed(master.turn) for _ in range(1000)]
        told = _packed(run)
        ends = []
        for issue in list(run.issues.values())[:200]:  # one worker ends at a time
            pack = told[issue.name]
            workers.answer(issue.submission, issue.task, pack)
            ends.append(_timed(master.turn))
        return {
            "jobs": jobs,
            "waiting_mb": round(waiting / 1e6, 1),
            "bytes_per_waiting_job": round((waiting - base) / jobs),
            "issues": run.in_use.issues,
            "white": run.store.counts[Colour.WHITE],
            "peak_mb": round(memory()[1] / 1e6, 1),
            "idle_turn_ms": _quantiles(idle),
            "turn_with_an_end_ms": _quantiles(ends),
        }


def issued(directory: str, jobs: int) -> dict[str, Any]:
    """Issue as many jobs as may be at once, and look at the memory that takes."""
    make_tree(directory, "wide")
    with opened(directory, jobs, MANY_SLOTS, 30.0 * MANY_SLOTS / jobs) as (master, workers):
        run = master.run_state
        base, _ = memory()
        run.measured["Leaf"] = Leaf(30.0 * MANY_SLOTS / jobs, jobs)
        master.recover()
        while run.store.counts[Colour.GREY] < 0.99 * jobs and run.in_use.issues < MANY_SLOTS:
            workers.hold = bool(run.store.counts[Colour.BLUE])
            master.turn()
        grey = run.store.counts[Colour.GREY]
        now, peak = memory()
        return {
            "issued_jobs": grey,
            "issues": run.in_use.issues,
            "rss_mb": round(now / 1e6, 1),
            "peak_mb": round(peak / 1e6, 1),
            "bytes_per_issued_job": round((now - base) / grey),
        }


def _packed(run: RunState) -> dict[str, list[Assignment]]:
    """Return what each issue was ordered to do."""
    packs = {}
    for issue in run.issues.values():
        jobs = [(run.store.get(job), at) for job, at in issue.open.items()]
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
