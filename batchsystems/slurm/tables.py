"""What Slurm says: tables of its words.

Owns states, refusals and reasons for waiting, with their meanings; must hold no logic. Rests on the
texts of slurm_errno.c (as of 22.05), on the page "Job Reason Codes" of Slurm's manual and the names
in job_state_reason.c (as of 24.05), and on resource_limits.html for what a limit is compared with.
Read next: dialect.py.
"""

from __future__ import annotations

import re

from batchsystems.commandline.answers import Phase, Rejection
from batchsystems.interface import Reason

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

# ---- submissions -----------------------------------------------------------------------------

POLICY = "Job violates accounting/QOS policy"
"""With this a limit is meant that a line before it names; old versions name none."""

REFUSALS: tuple[tuple[str, Rejection], ...] = (
    (r"timed out|Zero Bytes|\((send|receive|shutdown) failure", Rejection.UNKNOWN),
    (
        r"Message (send|receive) failure|zero length message|Received message length",
        Rejection.UNKNOWN,
    ),
    (r"Failed to send entire|Header lengths|Unexpected message|missing socket", Rejection.UNKNOWN),
    (r"Insane message|shutdown failure|Broken pipe|reset by peer|endpoint", Rejection.UNKNOWN),
    (r"connect(ion)? failure|Can't find an address|Connection refused|No route", Rejection.OUTAGE),
    (r"[Aa]uthentication|Munge", Rejection.OUTAGE),
    (r"standby mode|configuration (source|file)|Incompatible versions", Rejection.OUTAGE),
    (r"submissions disabled|Unable to connect to database", Rejection.OUTAGE),
    (r"I/O error writing script|Unable to create job record|try again", Rejection.CROWDED),
    (r"temporarily una(ble|vailable)|Too many open files|Cannot allocate", Rejection.CROWDED),
    (
        r"not available \(inactive or drain\)|partition configuration not available now",
        Rejection.FULL,
    ),
    (r"Partition in DOWN state|Partition is in use|nodes are busy", Rejection.FULL),
    (r"Required node not available|maintenance reservation", Rejection.FULL),
    (r"reservation (is in use|not usable now)|breached requested QOS usage", Rejection.FULL),
    (r"Invalid node name", Rejection.NODES),
    (r"Invalid job array", Rejection.SIZE),
    (r"Invalid (user|group) id|not found on host", Rejection.REFUSED),
    (
        r"^(Invalid|Duplicate|Requested|Requires|Multiple|Only|No partition|Cannot)",
        Rejection.PERMANENT,
    ),
    (r"(specification|option) (is )?invalid|specification (needs|required)", Rejection.PERMANENT),
    (r"not (permitted|supported|available|consistent)|denied|unsupported", Rejection.PERMANENT),
    (r"[Mm]ore \w+ (requested )?than|cannot be satisfied|too long|is missing", Rejection.PERMANENT),
    (r"not specified|required, but not|execution impossible|limit exceeded", Rejection.PERMANENT),
    (r"dependency|Burst Buffer|not configured|nodes not in this partition", Rejection.PERMANENT),
)
"""The controller's answer, read from the top. What matches none is a refusal nonetheless: a
plugin's `Unspecified error`, or a version's that is newer than this table."""

CLIENT: tuple[tuple[str, Rejection], ...] = (
    (r"timed? ?out|Zero Bytes|(send|receive|shutdown) failure", Rejection.UNKNOWN),
    (r"Connection (refused|reset|closed)|No route to host|resolve hostname", Rejection.UNKNOWN),
    (r"\(connect failure\)|Munge encode failed|authentication error", Rejection.OUTAGE),
    (r"configuration (source|file)|in standby mode|resolve_ctls_from_dns", Rejection.OUTAGE),
    (r"temporarily una(ble|vailable)|fork|Cannot allocate", Rejection.CROWDED),
    (r"sbatch: (unrecognized|invalid) option|option .* requires an argument", Rejection.PERMANENT),
    (r"option .* (doesn't allow an argument|is ambiguous)", Rejection.PERMANENT),
    (r"sbatch: error: ([Ii]nvalid|Batch script|Unable to open)", Rejection.PERMANENT),
    (r"This does not look like a batch script|cli_filter plugin", Rejection.PERMANENT),
    (r"^sbatch: (error|fatal): ", Rejection.REFUSED),
)
"""What sbatch says when it has not asked the controller; words of others, as of a wrapper, are
in no table: the wrapper may have submitted the job."""

UNANSWERED = re.compile(
    r"slurm_load_\w+ error|Unable to contact|[Tt]imed out|Zero Bytes|Connection refused"
    r"|(connect|send|receive|shutdown) failure|Problem talking|Unable to connect to database"
    r"|authentication error|Munge encode failed|persistent connection|Insane message"
    r"|Could not establish a configuration|process configuration file"
)
"""What a client says that got no answer, or not all of it. Whatever else is there beside an
answer with exit status 0 is no matter: an older client's trouble with a line of slurm.conf, or
what a wrapper's shell says, at every call."""

GONE = re.compile(
    r"Invalid job id|already completing or completed|has already finished|not pending nor running"
)
"""Of a job that is to be ended and has ended."""

LIMITS: tuple[tuple[str, Rejection | None], ...] = (
    (r"^(?!(QOS|Assoc|Max|AccountingPolicy)\w*$)", None),
    (r"Submit|Jobs(Limit|Per)|(QOS|Association)JobLimit|Threshold", Rejection.FULL),
    (r"^(AccountingPolicy|(QOS|Association)(Resource|Time)Limit)$", Rejection.LIMIT),
    ("", Rejection.PERMANENT),
)
"""The limit by which a submission was refused; None: it is no limit's name. Compared with a limit
is what the job alone asks for, so that no waiting helps; only the numbers of queued jobs are
compared with what is in the queue."""

# ---- waiting ---------------------------------------------------------------------------------

LESS = "lower what it asks for, or name another QOS or account"

NEVER: tuple[tuple[str, str], ...] = (
    (
        "PartitionTimeLimit",
        "it asks for more time than the partition allows: name another partition, or lower its "
        "time",
    ),
    ("PartitionNodeLimit", "it asks for more nodes than the partition allows"),
    (
        "PartitionConfig",
        "no node of the partition can hold it: lower its cpus, memory or gpus, or name another "
        "partition",
    ),
    ("BadConstraints|Constraints", "no node has the features asked for"),
    ("DependencyNeverSatisfied", "the job it waits for failed: cancel it"),
    ("Reservation(Deleted|Invalid)", "its reservation is gone: name another, or none"),
    ("(Invalid|)AccountNotAllowed|InvalidAccount", "it may not use the account: name another"),
    ("QOSNotAllowed|InvalidQOS", "it may not use the QOS: name another"),
    ("JobHeldAdmin", "an administrator holds it: ask"),
    ("JobHoldMaxRequeue", "it was requeued as often as may be, and is held: ask"),
    ("BurstBufferOperation", "its burst buffer failed: cancel it"),
    ("DeadLine", "it cannot end before its deadline"),
    ("MaxMemPerLimit", f"it asks for more memory than one node or cpu may be asked for: {LESS}"),
    ("(QOS|Assoc)Max\\w*Per(Job|Node)(Limit)?", f"it asks for more than one job may have: {LESS}"),
    ("QOSMin\\w+", "it asks for less than a job of this QOS must: ask for more, or another QOS"),
)
"""Only a person can make a job start that waits for one of these: what they mean."""

LATER: tuple[tuple[str, str], ...] = (
    ("(PartitionDown|PartitionInactive)", "the partition is closed: wait, or name another"),
    (
        "ReqNodeNotAvail",
        "the nodes it needs are down, drained or reserved: wait, or ask the admins",
    ),
    (
        "Nodes required for job are DOWN",
        "the nodes it could use are down, drained or reserved",
    ),
    ("Resources", "it is next, and waits for running jobs to end"),
    ("Priority", "jobs of higher priority come first"),
    ("JobHeldUser", "you hold it: scontrol release ID"),
    ("JobArrayTaskLimit", "its array may run no more tasks at once"),
    ("Dependency", "it waits for another job"),
    ("BeginTime", "it may not begin before a set time, often after it was requeued"),
    ("Licenses", "it waits for a licence"),
    ("Reservation", "it waits for its reservation to begin"),
    ("launch failed requeued held", "its launch failed on a node, and Slurm holds it"),
    (
        "QOSMax\\w*PerUser(Limit)?",
        "you use all that your QOS allows a user, or it alone asks for more",
    ),
    ("Max\\w*PerAccount", "your account uses all that its QOS allows, or it alone asks for more"),
    (
        "(QOS|Assoc)Grp\\w*(?<!Run)Minutes(Limit)?",
        "the budget of your account or QOS is used up: wait for a new one, or name another",
    ),
    ("(QOS|Assoc)Grp\\w+", "your account or QOS uses all it may"),
    ("(AssocMaxJobs|QOSJob|AssociationJob)Limit", "as many jobs run as may"),
    ("AssocMaxSubmitJobLimit", "as many jobs are queued as may be"),
    ("(QOS|Association)(Resource|Time)Limit", "a limit of your account or QOS is reached"),
    ("QOSUsageThreshold", "your account has used too much for this QOS: wait, or name another"),
)
"""What these mean, which pass by themselves."""


def _named(names: str) -> str:
    """Return a pattern; `ReqNodeNotAvail, UnavailableNodes:n2` is known by its beginning."""
    return rf"^(?:{names})(?=$|[ ,:])"


REMEDIES = tuple((_named(names), text) for names, text in (*NEVER, *LATER))
HOPELESS = _named("|".join(f"(?:{names})" for names, _ in NEVER))

SCRUBBED = (
    *("SLURM_", "SLURMD_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_", "SINFO_"),
    *("SCONTROL_", "SALLOC_", "SRUN_", "PMI_", "PMIX_", "SGE_", "LSB_"),
)
"""What variables begin with that an enclosing job leaves, of Slurm or of others."""
