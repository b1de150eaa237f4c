"""A third party's batch system of four methods, over Slurm: the least that may be written.

Owns no promise: all that a tree needs beyond the four is left to the defaults and to the master.
It never says how a job ended. Read next: test_removed.py, which installs it as a package would be.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterable

from batchsystems import Accepted, BatchSystem, JobSpec, Unobtainable
from batchsystems.interface import Update


class FourMethods(BatchSystem):
    """Jobs by sbatch, squeue and scancel, one command for each."""

    name = "fourMethods"

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._natives: dict[int, str] = {}
        self._news: dict[int, Update] = {}

    def issueJob(self, spec: JobSpec) -> int:
        """Submit one job."""
        words = ["sbatch", "--parsable", "--no-requeue", f"--job-name={spec.name}"]
        words += [f"--output={spec.output}", "--open-mode=append", "--mem=200M", "--time=5"]
        script = '#!/bin/sh\nexec "$@"\n'
        done = subprocess.run(
            [*words, "/dev/stdin", *spec.command()],
            input=script,
            env={**os.environ, **(spec.env or {})},
            capture_output=True,
            text=True,
            check=True,
        )
        handle = next(self._numbers)
        self._natives[handle] = done.stdout.strip()
        self._news[handle] = Accepted(self._natives[handle])
        return handle

    def getIssuedJobIDs(self) -> frozenset[int]:
        """Return what is in the queue."""
        words = ("squeue", "--me", "-h", "-o", "%A")
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unobtainable("squeue gives no answer", why=done.stderr)
        queued = set(done.stdout.split())
        return frozenset(h for h, native in self._natives.items() if native in queued)

    def getUpdatedJobs(self) -> dict[int, Update]:
        """Return which jobs were accepted; of their ends nothing is known."""
        news, self._news = self._news, {}
        return news

    def killJobs(self, ids: Iterable[int]) -> None:
        """Cancel jobs."""
        natives = [self._natives[handle] for handle in ids if handle in self._natives]
        if natives:
            subprocess.run(["scancel", *natives], check=False)
