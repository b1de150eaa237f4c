"""The memory of jobs, sampled over their whole process trees, and their memory limits.

Owns one thread, alive only while a job with a memory limit runs; must not end jobs itself:
it tells the launcher. Read next: launcher.py, on SIGUSR1.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from batchsystems.singlemachine.launcher import ProcessStat, descendants, read_table

SHORTEST_S, LONGEST_S = 0.1, 1.0
_SHARE = 0.05
"""The most of one processor that sampling may take."""


@dataclass(slots=True)
class _Sampled:
    launcher: int
    limit_bytes: int
    peak_bytes: int = 0
    over: bool = False


class MemorySampler:
    """Watches the memory of jobs by the caller's number; `exceeded` is called once per job."""

    def __init__(self, exceeded: Callable[[int], None]) -> None:
        self._exceeded = exceeded
        self._lock = threading.Lock()
        self._jobs: dict[int, _Sampled] = {}
        self._thread: threading.Thread | None = None
        self._changed = threading.Event()

    def add(self, job: int, launcher: int, limit_bytes: int) -> None:
        """Sample the descendants of this launcher; start the thread if it is not there."""
        with self._lock:
            self._jobs[job] = _Sampled(launcher, limit_bytes)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
                self._thread.start()
        self._changed.set()

    def remove(self, job: int) -> int:
        """Stop sampling the job; return the peak seen, 0 if none was."""
        with self._lock:
            sampled = self._jobs.pop(job, None)
        self._changed.set()
        return sampled.peak_bytes if sampled else 0

    def close(self) -> None:
        """Stop sampling; wait for the thread."""
        with self._lock:
            self._jobs.clear()
            thread = self._thread
        self._changed.set()
        if thread is not None:
            thread.join(timeout=5)

    def _run(self) -> None:
        wait_s = SHORTEST_S
        while True:
            with self._lock:
                jobs = dict(self._jobs)
                if not jobs:
                    self._thread = None
                    return
            began = time.thread_time()
            fullest = self._sample(jobs)
            cost_s = time.thread_time() - began
            wait_s = SHORTEST_S if fullest > 0.5 else min(1.5 * wait_s, LONGEST_S)
            self._changed.clear()
            if self._changed.wait(max(wait_s, cost_s / _SHARE)):
                wait_s = SHORTEST_S

    def _sample(self, jobs: dict[int, _Sampled]) -> float:
        """Measure all jobs in one pass over /proc; return the fullest one's use of its limit."""
        fullest = 0.0
        trees = descendants(read_table(), [sampled.launcher for sampled in jobs.values()])
        for job, sampled in jobs.items():
            used = tree_bytes(trees[sampled.launcher], sampled.peak_bytes)
            sampled.peak_bytes = max(sampled.peak_bytes, used)
            fullest = max(fullest, used / max(sampled.limit_bytes, 1))
            if used > sampled.limit_bytes and not sampled.over:
                sampled.over = True
                self._exceeded(job)
        return fullest


def tree_bytes(tree: list[ProcessStat], peak_bytes: int = 0) -> int:
    """Return the memory of these processes.

    Adding up resident sets counts pages they share (forked workers!) more than once. So where
    the sum would set a new peak, each process's proportional share is read instead: that is
    slower, and seldom needed.
    """
    total = sum(process.rss_bytes for process in tree)
    if len(tree) < 2 or total <= peak_bytes:
        return total
    return sum(_proportional_bytes(process) for process in tree)


def _proportional_bytes(process: ProcessStat) -> int:
    try:
        with open(f"/proc/{process.pid}/smaps_rollup", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:  # gone, or not ours to read
        pass
    return process.rss_bytes if os.path.exists(f"/proc/{process.pid}") else 0
