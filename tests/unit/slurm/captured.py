"""What a real Slurm printed, and how rows of it are made."""

from __future__ import annotations

import json
from pathlib import Path

from batchsystems.commandline.answers import QueryResult
from batchsystems.slurm.parse import QUEUE_FIELDS, read_history, read_queue
from batchsystems.transport.local import CommandResult

DATA = Path(__file__).parents[2] / "data" / "slurm"
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
