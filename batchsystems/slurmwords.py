"""What is said to Slurm and what it says: an adapter's settings, and tables of Slurm's words.

Owns states, refusals and reasons for waiting, with their meanings; must hold no logic but the
checking of settings. Read next: slurm.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from batchsystems.commandline.dialect import Kind, Phase, Queue
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

REFUSALS: tuple[tuple[str, Kind], ...] = (
    (r"timed out|Zero Bytes|(send|receive|shutdown) failure", Kind.UNKNOWN),
    (r"(connect failure)", Kind.OUTAGE),
    (r"Munge encode failed|Protocol authentication error", Kind.OUTAGE),
    (r"configuration (source|file)|in standby mode", Kind.OUTAGE),
    (r"(Assoc|QOS|Account)\w*Submit\w*Limit", Kind.FULL),
    (r"temporarily una(ble|vailable)", Kind.FULL),
    (r"(Assoc|QOS|Account|Max|Min|Grp)\w*Limit\b", Kind.PERMANENT),
    (r"violates accounting/QOS policy", Kind.FULL),
    (r"not available \(inactive or drain\)|partition configuration not available now", Kind.FULL),
    (r"Invalid node name", Kind.NODES),
    (r"Invalid job array", Kind.SIZE),
    (r"Requested (node configuration|time limit|reservation)", Kind.PERMANENT),
    (r"failed: (Invalid|Node count|More processors|Memory required|Pathname)", Kind.PERMANENT),
    (r"not permitted to use|Access/permission denied|cannot be satisfied", Kind.PERMANENT),
    (r"sbatch: (unrecognized|invalid) option|option .* requires an argument", Kind.PERMANENT),
    (r"sbatch: error: ([Ii]nvalid|Batch script|Unable to open)", Kind.PERMANENT),
    (r"This does not look like a batch script", Kind.PERMANENT),
)
"""Read from the top, the first that is found counts; what matches none may have been accepted."""

REMEDIES = {
    "PartitionTimeLimit": "it asks for more time than the partition allows: name another "
    "partition, or lower its time",
    "PartitionNodeLimit": "it asks for more nodes than the partition allows",
    "PartitionConfig": "no node of the partition can hold it: lower its cpus, memory or gpus, or "
    "name another partition",
    "PartitionDown": "the partition is closed: wait, or name another",
    "PartitionInactive": "the partition is closed: wait, or name another",
    "BadConstraints": "no node has the features asked for",
    "ReqNodeNotAvail": "the nodes it needs are down, drained or reserved: wait, or ask the admins",
    "Nodes required for job are DOWN": "the nodes it could use are down, drained or reserved",
    "Resources": "it is next, and waits for running jobs to end",
    "Priority": "jobs of higher priority come first",
    "JobHeldUser": "you hold it: scontrol release ID",
    "JobHeldAdmin": "an administrator holds it: ask",
    "JobArrayTaskLimit": "its array may run no more tasks at once",
    "Dependency": "it waits for another job",
    "DependencyNeverSatisfied": "the job it waits for failed: cancel it",
    "BeginTime": "it may not begin before a set time, often after it was requeued",
    "Licenses": "it waits for a licence",
    "Reservation": "it waits for its reservation to begin",
    "ReservationDeleted": "its reservation is gone: name another, or none",
    "InvalidAccount": "the account is not known: name another",
    "InvalidQOS": "the QOS is not known: name another",
    "launch failed requeued held": "its launch failed on a node, and Slurm holds it",
    "QOSMaxJobsPerUserLimit": "you run as many jobs as your QOS allows",
    "AssocGrpCpuLimit": "your account uses all the cpus it may",
}

HOPELESS = (
    "PartitionTimeLimit",
    "PartitionNodeLimit",
    "PartitionConfig",
    "BadConstraints",
    "DependencyNeverSatisfied",
    "ReservationDeleted",
    "InvalidAccount",
    "InvalidQOS",
    "JobHeldAdmin",
)
