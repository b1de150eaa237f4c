"""Trees on the real Grid Engine: what qstat and the accounting file tell of them.

Owns Grid Engine's words about a tree's batch jobs, whichever way they were submitted.
Read next: ../trees.py; lab.py.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, NamedTuple

from tests.live import trees
from tests.live.sge.lab import Lab

CLIENTS = ("qsub", "qstat", "qdel", "qalter", "qconf", "qacct", "qmod", "qhost")


class Run(NamedTuple):
    """One record of accounting: a run of a batch job, or a try at one.

    job: as ID or ID.TASK. asked: what it had asked for, as qsub's words.
    """

    job: str
    name: str
    user: str
    host: str
    failed: str
    status: str
    asked: str

    @property
    def is_final(self) -> bool:
        """Tell whether it is over: what accounting has is."""
        return True

    @property
    def end(self) -> tuple[str, str]:
        """Return its `failed` and exit status, which count together."""
        return self.failed, self.status

    def limit(self, resource: str) -> str:
        """Return how much of a resource it had asked for, "" if it had not."""
        found = re.search(rf"\b{resource}=([\w.]+)", self.asked)
        return found[1] if found else ""


class Tree(trees.Tree[Lab, Run]):
    """A tree whose batch jobs are Grid Engine's.

    system: the batch system of jobTree that they are submitted by.
    """

    running, waiting = "r", "qw"
    added = '''
def batch_id():
    """Return this job's id as Grid Engine shows it, an array's with the task."""
    task = os.environ["SGE_TASK_ID"]
    return os.environ["JOB_ID"] + ("" if task == "undefined" else "." + task)
def host():
    """Return the name of the host that this runs on."""
    return os.uname().nodename
'''

    def __init__(self, system: str, lab: Lab, home: Path, *how: Any, **settings: Any) -> None:
        super().__init__(lab, home, *how, **settings)
        self.system = system

    def queued(self, label: str = "", *states: str) -> list[str]:
        """Return the ids of its batch jobs that are in the queue, in submission order."""
        told = self.lab.run("qstat", "-xml", "-g", "d", "-u", "*", check=False).stdout
        if not told:
            return []
        rows = [
            (row.findtext("JB_job_number") or "", row.findtext("tasks"))
            for row in ET.fromstring(told).iter("job_list")
            if self.is_ours(row.findtext("JB_name") or "", label)
            and (not states or row.findtext("state") in states)
        ]
        ids = [(int(job), int(task or 0)) for job, task in rows]
        return [f"{job}.{task}" if task else str(job) for job, task in sorted(ids)]

    def runs(self, label: str = "") -> list[Run]:
        """Return every record of its batch jobs, in the order of their ends.

        A last line without an end is still being written.
        """
        lines = self.accounting.read_text().rpartition("\n")[0].splitlines()
        cells = [line.split(":") for line in lines if not line.startswith("#")]
        return [
            Run(
                row[5] if row[35] == "0" else f"{row[5]}.{row[35]}",
                *(row[4], row[3], row[1], row[11], row[12], row[39]),
            )
            for row in cells
            if self.is_ours(row[4], label)
        ]

    @property
    def accounting(self) -> Path:
        """Return the cell's accounting file."""
        env = self.lab.env
        return Path(env["SGE_ROOT"], env.get("SGE_CELL", "default"), "common", "accounting")
