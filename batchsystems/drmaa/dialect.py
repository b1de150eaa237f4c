"""DRMAA's dialect: any cluster that has a library of DRMAA 1.0.

Owns what is asked for of the process that holds the session; must hold no thread, no process and
no clock. Read next: parse.py, how answers are read; session/, the library's calls.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from math import ceil
from typing import Any

from batchsystems.commandline.answers import QueryResult, Rejected, Submitted, Unkilled
from batchsystems.commandline.dialect import Dialect, Request
from batchsystems.commandline.ids import IdFormat
from batchsystems.commandline.limits import Limits
from batchsystems.drmaa.jobscript import job_script
from batchsystems.drmaa.parse import read_kill, read_poll, read_submission
from batchsystems.drmaa.resources import native_specification
from batchsystems.drmaa.session.journal import submission_of
from batchsystems.drmaa.settings import DrmaaSettings
from batchsystems.drmaa.tables import REMEDIES, Family
from batchsystems.sge.resources import is_plain
from batchsystems.sge.settings import SgeSettings
from batchsystems.sge.tables import LEFT_BY_A_JOB, NODE_S_OWN
from batchsystems.slurm import defaults as slurm_defaults
from batchsystems.slurm.settings import SlurmSettings
from batchsystems.transport.local import Command, CommandResult

_NATIVE = re.compile(r"[^\s+]{1,200}(\+[1-9]\d{0,8})?")


class DrmaaIds(IdFormat):
    """An array's id is the head of its tasks' ids: `12.` of `12.3`, which is the task 2 here."""

    def split(self, native: str) -> tuple[str, int | None] | None:
        """Return the array's head and the task."""
        if _NATIVE.fullmatch(native) is None:
            return None
        head = submission_of(native)
        if head == native:
            return native, None
        return head, int(native[len(head) :].rstrip("]")) - 1

    def join(self, submission: str, task: int) -> str:
        """Return `12.3` for the task 2 of `12.`."""
        return f"{submission}{task + 1}{']' if submission.endswith('[') else ''}"


class DrmaaDialect(Dialect):
    """Requests to the process with the session, as lines of JSON, and its answers."""

    name = "drmaa"
    settings_class = DrmaaSettings
    ids = DrmaaIds()
    remedies = REMEDIES
    scrubbed = ("SGE_", "SLURM_", "SLURMD_", "PMI_", "PMIX_", "LSB_", "PBS_", "DRMAA_")
    scrubbed_names = LEFT_BY_A_JOB
    node_s_own = NODE_S_OWN
    kept = frozenset(
        {"SGE_ROOT", "SGE_CELL", "SGE_CLUSTER_NAME", "SGE_QMASTER_PORT", "SGE_EXECD_PORT"}
        | {"SLURM_DRMAA_CONF", "SLURM_DRMAA_USE_SLURMDBD", "DRMAA_LIBRARY_PATH"}
        | slurm_defaults.LOCATION
    )

    def __init__(
        self, settings: DrmaaSettings, family: Family, sge: SgeSettings, slurm: SlurmSettings
    ) -> None:
        super().__init__(settings)
        self.family, self._sge, self._slurm = family, sge, slurm
        self.variables = settings.task_variables or family.task_variables
        self.arrays = settings.arrays and bool(self.variables)
        if family.name == "sge":
            self.known = Limits(sge.tasks, sge.queues).within(sge.queue)
        elif family.name == "slurm":
            self.known = Limits(slurm.tasks, slurm.queues)

    # -- submitting ---------------------------------------------------------------------------

    def submit(self, request: Request, limits: Limits) -> Command:
        """Return the request for it, with the script that a job is to be."""
        own, asked = self.settings, request.resources
        native = native_specification(self.family, own, self._sge, self._slurm, request, limits)
        by_native = asked.time_s is None or self.family.name in ("sge", "slurm")
        limit_s = None if by_native else max(1, ceil(asked.time_s or 0.0))
        return self._request(
            "submit",
            {
                "do": "submit",
                "name": request.name,
                "size": request.size,
                "script": job_script(request, own.setup, self.variables, self.family.name == "sge"),
                "shell": shlex.split(own.shell),
                "cwd": request.cwd if is_plain(request.cwd) else "/",
                "native": native,
                "limit_s": limit_s,
                "time_s": asked.time_s,
                "memory_bytes": asked.memory_bytes,
            },
        )

    def _request(self, verb: str, asked: dict[str, Any]) -> Command:
        return Command(verb, ("drmaa", str(asked["do"])), json.dumps(asked))

    def parse_submit(self, ran: CommandResult) -> Submitted | Rejected:
        """Read the answer."""
        return read_submission(ran)

    # -- looking ------------------------------------------------------------------------------

    def queue(self, names: Sequence[str] = ()) -> Command:
        """Return the request for all jobs, and for what has ended and was not heard."""
        return self.queue_after("0")

    def queue_after(self, mark: str) -> Command:
        """Return the request for all jobs, and for what has ended since that answer."""
        return self._request("queue", {"do": "poll", "heard": int(mark)})

    def parse_queue(self, ran: CommandResult) -> QueryResult:
        """Read the answer."""
        return read_poll(ran)

    # -- ending -------------------------------------------------------------------------------

    def kill(self, natives: Sequence[str]) -> Command:
        """Return the request to end these jobs, tasks and arrays."""
        asked = {"do": "kill", "keys": list(natives), "bare": self.family.name == "sge"}
        return self._request("kill", asked)

    def kill_named(self, name: str) -> Command | None:
        """Return the request to end a submission that may have been accepted."""
        asked = {"do": "kill_named", "name": name, "bare": self.family.name == "sge"}
        return self._request("kill", asked)

    def parse_kill(self, ran: CommandResult) -> Unkilled | None:
        """Tell what came of it."""
        return read_kill(ran)
