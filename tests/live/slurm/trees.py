"""Trees on the real Slurm: what squeue and sacct tell of them.

Owns Slurm's words about a tree's batch jobs. Read next: ../trees.py; lab.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.live import trees
from tests.live.slurm.lab import FINAL, Lab

FIELDS = ("JobID", "JobName", "State", "ExitCode", "NodeList", "Partition", "TimelimitRaw", "User")


class Run(NamedTuple):
    """One run of a batch job, as `sacct -D` tells it; a requeued job has several."""

    job: str
    name: str
    state: str
    code: str
    nodes: str
    partition: str
    minutes: str
    user: str

    @property
    def is_final(self) -> bool:
        """Tell whether accounting shows it as over; requeued ones are."""
        return self.state.partition(" ")[0] in FINAL | {"REQUEUED"}


class Tree(trees.Tree[Lab, Run]):
    """A tree whose batch jobs are Slurm's."""

    system = "slurm"
    running, waiting = "RUNNING", "PENDING"
    added = '''
def batch_id():
    """Return this job's id as Slurm shows it, an array's with the task."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
'''

    def queued(self, label: str = "", *states: str) -> list[str]:
        """Return the ids of its batch jobs that are in the queue, in submission order."""
        only = ("-t", ",".join(states)) if states else ()
        told = self.lab.run("squeue", "-h", "-r", "-o", "%i %j", *only, check=False).stdout
        rows = [line.split(None, 1) for line in told.splitlines()]
        return [row[0] for row in rows if self.is_ours(row[1], label)]

    def runs(self, label: str = "") -> list[Run]:
        """Return every run of its batch jobs that accounting has, the duplicates too."""
        words = ("-a", "-X", "-D", "-n", "-P", "-S", "now-2hours", "-o", ",".join(FIELDS))
        told = self.lab.run("sacct", *words).stdout
        cells = (line.split("|") for line in told.splitlines())
        rows = [Run(*row) for row in cells if len(row) == len(Run._fields)]  # names of others' jobs
        return [row for row in rows if self.is_ours(row.name, label)]


def counting_clients(place: Path) -> Path:
    """Make a directory of Slurm's clients that log each call to `calls` in it, and do it."""
    clients = ("sbatch", "squeue", "sacct", "scancel", "sinfo", "scontrol")
    return trees.counting_clients(place, clients)
