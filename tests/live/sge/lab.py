"""The Grid Engine that live tests use, as a test sees it: commands, jobs, states, faults.

Owns the calls; must not start or stop the cell (conftest.py does).
Read next: contrib/sge/README.md, for what the faults do.
"""

from __future__ import annotations

import json
import os
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.live.engines import CONTRIB, Engine, contributed
from tests.live.waiting import LIMIT_S, eventually

LOCAL_CELL = CONTRIB / "sge" / "local-cell"

SCRUBBED = ("SGE_", "DRMAA_", "JOBTREE_")


def local_cell(*words: str) -> subprocess.CompletedProcess[str]:
    """Run contrib/sge/local-cell, whatever it returns."""
    return contributed(LOCAL_CELL, *words)


class Lab(Engine):
    """A running cell.

    hosts: the execution hosts' names. namespaces: they are machines of their own, else this
    machine is the only one. slots: of each host.
    """

    program, daemon = LOCAL_CELL, "sge_qmaster"

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        settings = self.status()
        self.hosts: tuple[str, ...] = tuple(settings["queues"])
        self.namespaces: bool = settings["namespaces"]
        self.slots: int = settings["slots"]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(SCRUBBED)}
        self.env = {**kept, **settings["env"]}

    def status(self) -> dict:
        """Return the settings, the state of each daemon and of each host's queue."""
        return json.loads(self.call("status", "--json").stdout)

    def lead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have adapters of this process speak to the cell."""
        for name, value in self.env.items():
            if name == "PATH" or name.startswith(("SGE_", "DRMAA_")):
                monkeypatch.setenv(name, value)

    # ---- jobs ----------------------------------------------------------------------------

    def submit(self, *words: str, user: str | None = None) -> str:
        """Run qsub with these words; return the job's id, without its tasks.

        The command is started without a shell, where every user may be, its output dropped.
        """
        common = ("-terse", "-b", "y", "-shell", "n", "-wd", "/", "-o", "/dev/null", "-j", "y")
        return self.run("qsub", *common, *words, user=user).stdout.partition(".")[0].strip()

    def delete(self, job: str) -> None:
        """Delete a job, or the task that ID.TASK names."""
        number, _, task = job.partition(".")
        self.run("qdel", number, *(("-t", task) if task else ()))

    def states(self, job: str) -> dict[str, str]:
        """Return task -> state of a job as qstat tells it; a job that is no array has task 1.

        Waiting tasks are unfolded one by one.
        """
        told = self.run("qstat", "-xml", "-g", "d", "-u", "*").stdout
        return {
            row.findtext("tasks") or "1": row.findtext("state") or ""
            for row in ET.fromstring(told).iter("job_list")
            if row.findtext("JB_job_number") == job
        }

    def state(self, job: str, task: str = "1") -> str:
        """Return the state of a job or task, "" if the queue does not know it."""
        return self.states(job).get(task, "")

    def wait(self, job: str, state: str, task: str = "1", *, limit_s: float = LIMIT_S) -> None:
        """Wait until a job or task is in a state."""
        eventually(
            f"job {job}.{task} in state {state}",
            lambda: self.state(job, task),
            state.__eq__,
            limit_s=limit_s,
        )

    def wait_gone(self, job: str, *, limit_s: float = LIMIT_S) -> None:
        """Wait until the queue does not know a job."""
        gone = eventually(f"job {job} gone", lambda: not self.states(job), limit_s=limit_s)
        assert gone

    def reason(self, job: str) -> str:
        """Return all that the scheduler has to say about a job."""
        return self.run("qstat", "-j", job, check=False).stdout

    def host_of(self, job: str) -> str:
        """Return the host that a job runs on."""
        told = self.run("qstat", "-xml", "-u", "*").stdout
        queues = [
            row.findtext("queue_name") or ""
            for row in ET.fromstring(told).iter("job_list")
            if row.findtext("JB_job_number") == job
        ]
        return queues[0].partition("@")[2] if queues else ""

    def records(self, job: str) -> list[dict[str, str]]:
        """Return the accounting records of a job, a task's and a rerun's each, as they ended.

        `failed` and `exit_status` are their numbers, without the words that follow.
        """
        told = self.run("qacct", "-j", job, check=False)
        found = []
        for block in told.stdout.split("=" * 62)[1:]:
            lines = [line.split(maxsplit=1) for line in block.splitlines() if line.strip()]
            record = {line[0]: line[1].strip() if len(line) > 1 else "" for line in lines}
            for key in ("failed", "exit_status"):
                record[key] = record[key].split()[0]
            found.append(record)
        return found

    def wait_records(self, job: str, count: int = 1) -> list[tuple[str, str]]:
        """Wait until a job has so many records; return failed and exit status of each."""
        found = eventually(
            f"{count} records of job {job}",
            lambda: self.records(job),
            lambda records: len(records) >= count,
        )
        return [(record["failed"], record["exit_status"]) for record in found]

    # ---- hosts, and between tests --------------------------------------------------------

    def queue_state(self, host: str) -> str:
        """Return the state of a host's queue: "ok", or Grid Engine's letters."""
        return self.status()["queues"][host] or ""

    def is_calm(self) -> bool:
        """Tell whether every host takes jobs and there are none."""
        told = self.run("qstat", "-u", "*", check=False, limit_s=20)
        return told.returncode == 0 and not told.stdout and self.call("status").returncode == 0
