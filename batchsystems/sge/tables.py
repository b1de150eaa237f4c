"""What Grid Engine says: tables of its words.

Owns states, refusals, the causes of failure in accounting and reasons for waiting, with their
meanings; must hold no logic. Read next: dialect.py.
"""

from __future__ import annotations

import re

from batchsystems.commandline.answers import Phase, Rejection
from batchsystems.interface import Reason

# ---- the environment -------------------------------------------------------------------------

NODE_S_OWN = frozenset(
    {
        *("ARC", "CUDA_VISIBLE_DEVICES", "ENVIRONMENT", "GPU_DEVICE_ORDINAL", "HOSTNAME"),
        *("OLDPWD", "PWD", "SHLVL", "TEMP", "TMP", "TMPDIR", "_"),
    }
)
"""Variables in which a job keeps what Grid Engine or its node say."""

NOT_INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "MAIL", "SHELL", "TZ", "USER")
"""What Grid Engine or a login shell sets, though a job's environment does not have it."""

LEFT_BY_A_JOB = frozenset(
    {
        *("ARC", "JOB_ID", "JOB_NAME", "JOB_SCRIPT", "NHOSTS", "NQUEUES", "NSLOTS", "PE"),
        *("PE_HOSTFILE", "QUEUE", "REQNAME", "REQUEST", "RESTARTED", "TASK_ID"),
    }
)

ALLOCATED = frozenset({"CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"})
"""Variables that name the gpus a job has got, if it asked for any."""

SHELL_S_OWN = frozenset({"OLDPWD", "PWD", "SHLVL", "_"})
"""Variables that a shell sets for itself, and hands on."""

# ---- tables ----------------------------------------------------------------------------------

STATE_LETTERS = "dEhPrRsStTqw"

STATES = (
    ("E", Phase.STUCK),
    ("qw", Phase.WAITING),
    ("sSTP", Phase.SUSPENDED),
    ("rt", Phase.RUNNING),
)
"""What is on its way to a host (t) counts as running: on a host that is lost it stays so."""

NOT_RUN, RAN, NODE = Reason.LAUNCH_FAILED, Reason.FAILED, Reason.NODE_FAILED

FAILURES: dict[int, tuple[str, Reason]] = {
    1: ("assumedly before job", NOT_RUN),
    3: ("before writing config", NOT_RUN),
    4: ("before writing PID", NOT_RUN),
    6: ("setting processor set", NOT_RUN),
    7: ("before prolog", NOT_RUN),
    8: ("in prolog", NOT_RUN),
    9: ("before pestart", NOT_RUN),
    10: ("in pestart", NOT_RUN),
    11: ("before job", NOT_RUN),
    12: ("before pestop", RAN),
    13: ("in pestop", RAN),
    14: ("before epilog", RAN),
    15: ("in epilog", RAN),
    16: ("releasing processor set", RAN),
    17: ("through signal", RAN),
    18: ("shepherd returned error", NODE),
    19: ("before writing exit_status: the shepherd or the host died", NODE),
    20: ("found unexpected error file", NODE),
    21: ("in recognizing job", NOT_RUN),
    24: ("migrating", Reason.PREEMPTED),
    25: ("rescheduling", Reason.PREEMPTED),
    26: ("opening input/output file", NOT_RUN),
    27: ("searching requested shell", NOT_RUN),
    28: ("changing into working directory", NOT_RUN),
    29: ("AFS setup", NOT_RUN),
    30: ("application error returned", RAN),
    31: ("accessing sgepasswd file", NOT_RUN),
    32: ("entry is missing in password file", NOT_RUN),
    33: ("wrong password", NOT_RUN),
    34: ("communicating with helper service", NOT_RUN),
    35: ("before job in helper service", NOT_RUN),
    36: ("checking configured daemons", NOT_RUN),
    37: ("qmaster enforced h_rt, h_cpu, or h_vmem limit", RAN),
    38: ("adding supplementary group", NOT_RUN),
    100: ("assumedly after job", RAN),
}
"""The `failed` of accounting: sge_status(5). RAN: the exit status is the job's."""

BY_SIGNAL = frozenset({17, 100})
LIMIT_ENFORCED = 37
RERUN = frozenset({18, 19, 20, 24, 25})
"""After these Grid Engine may run a job again; jobTree's script then ends at once."""

RERUN_STATUS = 75
"""With this a script ends that is being run again."""

KILL_NOTED = "queued signal KILL"
"""What a shepherd writes into its trace when it is told to kill its job."""

RESCHEDULE_STATUS = 99
"""With this a job asks Grid Engine to run it again."""

NEVER = "no queue could ever run it"

LOWER = "lower what it asks for, or name another queue"
ASK = "ask the administrators of this Grid Engine"

NO_CELL = "wait, or source the settings.sh of a cell that there is: it sets SGE_ROOT and SGE_CELL"

REFUSALS: tuple[tuple[str, tuple[Rejection, str]], ...] = (
    (r"timed? ?out|got (read|receive)|Error reading answer list", (Rejection.UNKNOWN, "")),
    (r"can't be written|couldn't be written", (Rejection.CROWDED, "")),
    (r"Connection refused|No route to host", (Rejection.OUTAGE, "")),
    (r"unable to (send|contact|receive)|commlib error", (Rejection.UNKNOWN, "")),
    (r"only \d+ jobs are allowed", (Rejection.CROWDED, "")),
    (r"more than \d+ tasks", (Rejection.SIZE, "")),
    (r"error: no suitable queues", (Rejection.UNFIT, LOWER)),
    (r"can't resolve hostname", (Rejection.NODES, "name hosts that there are")),
    (r"unknown queue", (Rejection.PERMANENT, "name a queue that there is: qconf -sql lists them")),
    (
        r"parallel environment .* does not exist",
        (Rejection.PERMANENT, "name one: qconf -spl lists them"),
    ),
    (r"unknown resource", (Rejection.PERMANENT, "name one that there is: qconf -sc lists them")),
    (r"is not a \w+ value", (Rejection.PERMANENT, "mend the value")),
    (r"not a submit host", (Rejection.PERMANENT, f"submit from another host, or {ASK}")),
    (r"(cell|SGE_ROOT) directory .* doesn't exist|act_qmaster", (Rejection.OUTAGE, NO_CELL)),
    (
        r"environment variable SGE_ROOT",
        (Rejection.PERMANENT, "source the cell's settings.sh first"),
    ),
    (r"[Pp]roject|access|permission", (Rejection.PERMANENT, ASK)),
    (r"job rejected|[Jj]ob was rejected|denied:", (Rejection.PERMANENT, ASK)),
    (
        r"^qsub: |invalid option|[Uu]nknown option|is invalid",
        (Rejection.PERMANENT, "mend the directives"),
    ),
    (r"Unable to read script file", (Rejection.PERMANENT, ASK)),
    (r"^Unable to run job: ", (Rejection.REFUSED, ASK)),
    (r"Connection (reset|closed)", (Rejection.UNKNOWN, "")),
)
"""Read from the top, the first that is found counts. `Unable to run job` is qmaster's answer, in
whatever words: those of a job submission verifier (JSV) are its administrators'."""

UNANSWERED = re.compile(
    r"unable to (send|contact|receive)|commlib error|critical error|timed? ?out"
    r"|Unable to initialize environment|got (select|send|read|receive) error"
)
"""What a client says that got no answer. Whatever else is beside an answer with exit status 0 is
no matter, such as what a wrapper's shell says at every call."""

KILLED = re.compile(
    r"has (registered|deleted)|already in deletion|does not exist|do not exist|no job registered"
    r"|^\s*$"
)
"""What qdel says of a job that ends, or has ended."""

LATER_STATUS = 25
"""With this qsub ends when the same request may be taken later: sge_submit(1), jsv(1)."""

UNJUDGED = "because job requests unknown resource"
"""What the check says of resources that only hosts which are up report the amount of."""

REMEDIES: tuple[tuple[str, str], ...] = (
    (NEVER, LOWER),
    (r"can't open (in|out)put file", "its directory must be there on the node, and writable"),
    (r"can't chdir", "its directory must be there on the node"),
    (r"exit_status of job start = 100", "it ended with 100, on which Grid Engine holds it"),
    (r"execvp|execvlp|shell", "its shell must be there on the node"),
    (r"exceeds limit", "a resource quota is used up: it waits for running jobs to end"),
    (r"job dependencies", "it waits for another job"),
    (r"\bheld\b|hold state", "somebody holds it: qrls ID, or ask who does"),
    (r"execution time not reached", "it may not begin before a set time"),
    (r"max_aj_instances", "its array may run no more tasks at once"),
    (r"offers only|only offers", "what it asks for is not free now: it waits for jobs to end"),
    (r"temporarily not available", "queues it could use are down or disabled"),
    (r"overload|alarm|full", "the queues it could use are full: it waits for jobs to end"),
)
"""Why a job waits, and what that means: the first that is found counts."""
