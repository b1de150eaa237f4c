"""What is said to Slurm and what it says: an adapter's settings, and tables of Slurm's states.

Owns states with their meanings; must hold no logic but the checking of settings. Read next:
reasons.py, why it refuses jobs or has them wait; dialect.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from batchsystems.commandline.dialect import Phase, Queue
from batchsystems.errors import BatchSystemError
from batchsystems.interface import Reason


@dataclass(frozen=True, slots=True)
class SlurmSettings:
    """What a site or a user says of its Slurm; "" leaves a thing to Slurm.

    partition: "" takes Slurm's default, or another one where the default cannot hold a job.
    gres: the name of a gpu, `gpu` or `gpu:a100`. memory: what is asked for, memory per "job",
    per "cpu", or "none" where a site gives nodes whole. directives: further options of sbatch.
    setup: lines of shell run before each job. tasks: the most in one array (None: Slurm is
    asked). queues: partitions and their limits (none: Slurm is asked). accounting: False where
    there is no sacct.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    reservation: str = ""
    cluster: str = ""
    gres: str = "gpu"
    memory: str = "job"
    directives: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    shell: str = "/bin/sh"
    tasks: int | None = None
    queues: tuple[Queue, ...] = ()
    accounting: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            for text in value if isinstance(value, tuple) else (value,):
                if isinstance(text, str) and any(each in text for each in "\n\r\0"):
                    raise _bad(f"{field.name} contains a line break: {text!r}", "write it as one")
        if self.memory not in ("job", "cpu", "none"):
            raise _bad(f"memory is {self.memory!r}", "use job, cpu or none")
        for directive in self.directives:
            if not may_be_given(directive):
                raise _bad(f"the directive {directive!r} cannot be given", DIRECTIVES)


DIRECTIVES = (
    "give options of sbatch as --option=value; jobTree itself sets the job's name, array, "
    "output, directory, environment and requeueing"
)


def may_be_given(directive: str) -> bool:
    """Tell whether this is an option of sbatch, and none that jobTree sets itself."""
    return directive.startswith("-") and _OWNED.match(directive) is None


def _bad(what: str, fix: str) -> BatchSystemError:
    return BatchSystemError(f"Slurm's settings are wrong: {what}", code="JT203", fix=fix)


_OWNED = re.compile(
    r"--(parsable|wrap|wait|test-only|array|job-name|no-requeue|requeue|output|error|input"
    r"|open-mode|chdir|export|export-file|clusters|quiet|hold|dependency)\b|-[aJoeiDMWQHd]"
)

# ---- tables ----------------------------------------------------------------------------------

STATES = {
    "PENDING": Phase.WAITING,
    "CONFIGURING": Phase.WAITING,
    "POWER_UP_NODE": Phase.WAITING,
    "REQUEUED": Phase.WAITING,
    "REQUEUE_FED": Phase.WAITING,
    "REVOKED": Phase.WAITING,
    "RESV_DEL_HOLD": Phase.WAITING,
    "RUNNING": Phase.RUNNING,
    "COMPLETING": Phase.RUNNING,
    "RESIZING": Phase.RUNNING,
    "SIGNALING": Phase.RUNNING,
    "STAGE_OUT": Phase.RUNNING,
    "SUSPENDED": Phase.SUSPENDED,
    "STOPPED": Phase.SUSPENDED,
    "REQUEUE_HOLD": Phase.STUCK,
    "SPECIAL_EXIT": Phase.STUCK,
}

ENDS = {
    "COMPLETED": Reason.OK,
    "FAILED": Reason.FAILED,
    "OUT_OF_MEMORY": Reason.OUT_OF_MEMORY,
    "TIMEOUT": Reason.TIME_LIMIT,
    "DEADLINE": Reason.CANCELLED,
    "NODE_FAIL": Reason.NODE_FAILED,
    "BOOT_FAIL": Reason.NODE_FAILED,
    "PREEMPTED": Reason.PREEMPTED,
    "CANCELLED": Reason.CANCELLED,
}

STUCK_REASONS = ("launch failed requeued held", "job requeued in held state")
