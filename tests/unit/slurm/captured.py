"""What a real Slurm printed, and how rows of it are made."""

from __future__ import annotations

import json
from pathlib import Path

from batchsystems.commandline.answers import QueryResult
from batchsystems.slurm.parse import QUEUE_FIELDS, read_history, read_queue
from batchsystems.transport.local import CommandResult

DATA = Path(__file__).parents[2] / "data" / "slurm"

STEERING: dict[str, tuple[str, ...]] = {
    "squeue": (
        *("SQUEUE_ACCOUNT", "SQUEUE_ALL", "SQUEUE_ARRAY", "SQUEUE_ARRAY_UNIQUE"),
        *("SQUEUE_FEDERATION", "SQUEUE_FORMAT", "SQUEUE_FORMAT2", "SQUEUE_LICENSES"),
        *("SQUEUE_LOCAL", "SQUEUE_NAMES", "SQUEUE_PARTITION", "SQUEUE_PRIORITY", "SQUEUE_QOS"),
        *("SQUEUE_SIB", "SQUEUE_SIBLING", "SQUEUE_SORT", "SQUEUE_STATES", "SQUEUE_USERS"),
    ),
    "sacct": ("SACCT_FEDERATION", "SACCT_FORMAT", "SACCT_LOCAL"),
    "scancel": (
        *("SCANCEL_ACCOUNT", "SCANCEL_BATCH", "SCANCEL_CTLD", "SCANCEL_FULL", "SCANCEL_HURRY"),
        *("SCANCEL_INTERACTIVE", "SCANCEL_NAME", "SCANCEL_PARTITION", "SCANCEL_QOS"),
        *("SCANCEL_STATE", "SCANCEL_USER", "SCANCEL_VERBOSE", "SCANCEL_WCKEY"),
    ),
    "sinfo": (
        *("SINFO_ALL", "SINFO_FEDERATION", "SINFO_FORMAT", "SINFO_LOCAL", "SINFO_PARTITION"),
        *("SINFO_SORT",),
    ),
    "scontrol": (
        *("SCONTROL_ALL", "SCONTROL_FEDERATION", "SCONTROL_FUTURE", "SCONTROL_LOCAL"),
        *("SCONTROL_SIB", "SCONTROL_SIBLING", "SLURM_CONF_OUT", "SLURM_TOPO_LEN"),
    ),
    "all": (
        *("SLURM_BITSTR_LEN", "SLURM_CLUSTERS", "SLURM_DEBUG_FLAGS", "SLURM_EXIT_ERROR"),
        *("SLURM_HINT", "SLURM_STEP_KILLED_MSG_NODE_ID", "SLURM_TIME_FORMAT", "SLURM_UMASK"),
    ),
}
"""What hides, adds or reformats rows, or ends the wrong jobs: no command is given any of it."""
SQUEUE = (DATA / "squeue.txt").read_text()
SACCT = (DATA / "sacct.txt").read_text()
SBATCH = json.loads((DATA / "sbatch.json").read_text())
READERS = {"squeue": read_queue, "sacct": lambda ran: read_history(ran, frozenset())}


def ran(stdout: str, stderr: str = "", status: int | None = 0) -> CommandResult:
    return CommandResult(status, stdout, stderr)


def names(result: QueryResult) -> dict[str, list]:
    found: dict[str, list] = {}
    for observation in result.observations:
        found.setdefault(observation.name, []).append(observation)
    return found


WIDTHS = [width for _, width in QUEUE_FIELDS]


def squeue_row(*cells: str) -> str:
    """Return a row as squeue prints it: padded and cut, whatever is in it."""
    return "".join(f"{c[:w]:<{w}}|" for c, w in zip(cells, WIDTHS, strict=True)) + "\n"


def with_rows(which: str, rows: list[str]) -> str:
    """Return the captured answer with these rows in it."""
    head, *lines = {"squeue": SQUEUE, "sacct": SACCT}[which].splitlines(True)
    return "".join([head, *lines[:5], *rows, *lines[5:]])


def foreign(*, native: str = "99", name: str = "theirs", word: str = "RUNNING") -> dict[str, str]:
    """Return a row of a job that is none of jobTree's, as squeue and as sacct print it."""
    at = "2026-11-22T11:56:07"
    return {
        "squeue": squeue_row(native, word, "0:0", at, "1:00", "node1", name, "None"),
        "sacct": f"{native}|{word}|0:0|{at}|60|short|node1|{name}\n",
    }
