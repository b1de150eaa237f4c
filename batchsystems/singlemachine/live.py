"""Live: a job whose launcher runs, and the environment it is started with.

Owns what is kept of it until it ends; must not start or end one. Read next: adapter.py.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from batchsystems.interface import JobSpec
from batchsystems.singlemachine import records
from batchsystems.singlemachine.processes import Identity

TAIL_BYTES = 1 << 16


@dataclass(slots=True)
class Live:
    """A job whose launcher runs. job: name and index; started: on the monotonic clock."""

    job: str
    identity: Identity
    started: float
    gpus: tuple[str, ...] = ()
    limit_bytes: int | None = None
    killed: bool = False
    output: str | None = None

    @property
    def index(self) -> int:
        """The index of its task."""
        return int(self.job.rpartition(".")[2])

    def tail(self) -> str:
        """Return the end of its output, "" if it cannot be read."""
        try:
            with open(self.output or os.devnull, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    @property
    def key(self) -> str:
        """The name of its records."""
        return records.key_of(self.job, self.identity)


def environment(spec: JobSpec, gpus: tuple[str, ...]) -> dict[str, str]:
    """Return a job's environment: its own or the caller's, and the gpus it has got."""
    env = dict(os.environ if spec.env is None else spec.env)
    if gpus:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    return env
