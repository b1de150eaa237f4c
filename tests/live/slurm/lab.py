"""The Slurm that live tests use, as a test sees it: commands, jobs, states, faults.

Owns the calls; must not start or stop the cluster (conftest.py does).
Read next: contrib/slurm/README.md, for what the faults do.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.engines import CONTRIB, Engine, contributed
from tests.live.waiting import LIMIT_S, eventually

LOCAL_CLUSTER = CONTRIB / "slurm" / "local-cluster"

FINAL = frozenset(
    (
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "TIMEOUT",
    )
)
"""The states that a job does not leave by itself."""

SCRUBBED = ("SLURM_", "SBATCH_", "SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_", "SRUN_", "JOBTREE_")


def local_cluster(*words: str) -> subprocess.CompletedProcess[str]:
    """Run contrib/slurm/local-cluster, whatever it returns."""
    return contributed(LOCAL_CLUSTER, *words)


class Lab(Engine):
    """A running cluster.

    nodes: their names, which differ where several clusters run side by side. cgroup: the kernel
    limits memory (OUT_OF_MEMORY), else Slurm samples it (FAILED, signal 9). accounting: sacct
    answers.
    """

    program, daemon = LOCAL_CLUSTER, "slurmctld"

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        self._faults = 0
        settings = self.status()
        self.nodes: tuple[str, ...] = tuple(settings["nodes"])
        self.cgroup: bool = settings["cgroup"]
        self.accounting: bool = settings["accounting"]
        self.partitions: tuple[str, ...] = tuple(settings["partitions"])
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(SCRUBBED)},
            "SLURM_CONF": str(top / "etc" / "slurm.conf"),
        }

    def status(self) -> dict:
        """Return the settings, the state of each daemon and of each node."""
        return json.loads(local_cluster("status", "--dir", str(self.top), "--json").stdout)

    @contextmanager
    def configured(self, **values: str) -> Iterator[None]:
        """Change slurm.conf for a while, with what the controller takes up without a restart."""
        path = self.top / "etc" / "slurm.conf"
        before = path.read_text()
        lines = [line for line in before.splitlines() if line.partition("=")[0] not in values]
        path.write_text("\n".join([*lines, *(f"{k}={v}" for k, v in values.items())]) + "\n")
        self.run("scontrol", "reconfigure")
        try:
            yield
        finally:
            path.write_text(before)
            self.run("scontrol", "reconfigure")

    # ---- jobs ----------------------------------------------------------------------------

    def submit(self, *words: str, user: str | None = None) -> str:
        """Run sbatch with these words; return the job's id. The output is dropped by default."""
        argv = ("sbatch", "--parsable", "--output=/dev/null", *words)
        return self.run(*argv, user=user).stdout.strip()

    def state(self, job: str) -> str:
        """Return a job's state as the queue tells it, else accounting; "" if neither knows."""
        queued = self.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T", check=False)
        if queued.stdout.strip() or not self.accounting:
            return queued.stdout.strip()
        told = self.run("sacct", "-X", "-n", "-P", "-j", job, "-o", "State", check=False).stdout
        return told.split()[0] if told.split() else ""

    def reason(self, job: str) -> str:
        """Return why a job waits, in Slurm's words."""
        return self.run("squeue", "-h", "-j", job, "-o", "%r", check=False).stdout.strip()

    def wait(self, job: str, *states: str, limit_s: float = LIMIT_S) -> str:
        """Wait until a job is in one of these states, a final one by default; return it.

        A job that has ended in another state fails the test at once.
        """
        wanted = frozenset(states) or FINAL
        what = f"job {job} in {sorted(wanted)}"
        found = eventually(
            what, lambda: self.state(job), (wanted | FINAL).__contains__, limit_s=limit_s
        )
        assert found in wanted, f"{what}: it has ended as {found}"
        return found

    def node_of(self, job: str) -> str:
        """Return the node that a job runs on."""
        return self.run("squeue", "-h", "-j", job, "-o", "%N").stdout.strip()

    def accounted(self, job: str, fields: str, *options: str) -> list[list[str]]:
        """Return accounting's rows for a job, without its steps unless the options differ."""
        options = options or ("-X",)
        told = self.run("sacct", *options, "-n", "-P", "-j", job, "-o", fields).stdout
        return [line.split("|") for line in told.splitlines()]

    def wait_accounted(self, job: str, limit_s: float = LIMIT_S) -> list[str]:
        """Wait until accounting calls a job final; return its state and exit code.

        It lags behind the queue by up to a few seconds.
        """
        return eventually(
            f"job {job} final in accounting",
            lambda: next(iter(self.accounted(job, "State,ExitCode")), ["", ""]),
            lambda row: row[0].partition(" ")[0] in FINAL,
            limit_s=limit_s,
        )

    # ---- between tests -------------------------------------------------------------------

    def is_calm(self) -> bool:
        """Tell whether every node takes jobs and there are none."""
        told = self.run("squeue", "-h", "-o", "%A", check=False)
        nodes = self.run("sinfo", "-h", "-a", "-N", "-o", "%N %T", check=False).stdout
        idle = {line.split()[0] for line in nodes.splitlines() if line.endswith(" idle")}
        return told.returncode == 0 and not told.stdout and idle == set(self.nodes)

    def fault(self, verb: str, target: str = "") -> None:
        """Do one of the verbs of `fault`, and remember that there is something to undo."""
        self._faults += 1
        super().fault(verb, target)

    def calm(self) -> None:
        """Undo every fault, cancel every job, kill what they left, wait for idle nodes.

        Where no fault was done and no job is there, nothing has to be: jobs that Slurm itself
        ends leave nothing behind.
        """
        if self._faults or not self.is_calm():
            super().fault("reset")
            eventually("idle nodes and no jobs", self.is_calm)
            self._faults = 0
