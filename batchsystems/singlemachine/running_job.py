"""A job whose launcher runs: what is kept of it, its environment, and its end without a record.

Must not start one, nor end one that its launcher still watches. Read next: adapter.py.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from batchsystems.interface import JobEnd, JobSpec, Reason
from batchsystems.singlemachine import launcher, records
from batchsystems.singlemachine.processes import Identity, kill_survivors

TAIL_BYTES = 1 << 16


@dataclass(slots=True)
class RunningJob:
    """A job whose launcher runs."""

    job: str
    """its name and index"""
    identity: Identity
    """its launcher"""
    started: float
    """on the monotonic clock"""
    gpus: tuple[str, ...] = ()
    """the devices it has"""
    limit_bytes: int | None = None
    """of memory"""
    killed: bool = False
    """whether its end was asked for"""
    output: str | None = None
    """where it prints, None if nobody knows"""

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


def unrecorded_end(job: RunningJob, code: int | None, state_dir: str) -> JobEnd:
    """Return the end of a job whose launcher left no record, and kill what is left of it.

    code: the launcher's exit code; None if it was not a child of ours.
    """
    node = os.uname().nodename
    if code == launcher.NOTHING_STARTED:
        evidence = f"its end could not have been recorded: {state_dir} is full or not writable"
        return JobEnd(Reason.LAUNCH_FAILED, node=node, evidence=(evidence,))
    if code is None:
        how = "is gone"
    elif code == launcher.NOT_RECORDED:
        how = f"could not write its record to {state_dir}"
    else:
        how = f"was killed by signal {-code}" if code < 0 else f"failed with exit status {code}"
    evidence = f"launcher {job.identity.pid} {how}, so how the job ended is not known"
    killed = kill_survivors(job.key)
    rest = (f"{killed} processes it left were killed",) if killed else ()
    reason = Reason.CANCELLED if job.killed else Reason.LOST
    return JobEnd(reason, node=node, evidence=(evidence, *rest))
