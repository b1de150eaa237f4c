"""DRMAA: any cluster that has a library of DRMAA 1.0, and the adapter that joins all of it.

Owns what is asked for of the process that holds the session; must hold no thread, no process and
no clock. Read next: parse.py, how answers are read; session/, the library's calls.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from typing import Any, Self

from batchsystems.commandline.adapter import Clock, CommandLine, pacing_of
from batchsystems.commandline.dialect import (
    Dialect,
    Limits,
    QueryResult,
    Rejected,
    Request,
    Submitted,
    Unkilled,
)
from batchsystems.commandline.pacing import Pace, Timeouts
from batchsystems.common import default_files
from batchsystems.drmaa.jobscript import job_script
from batchsystems.drmaa.parse import read_kill, read_poll, read_submission
from batchsystems.drmaa.resources import native_specification
from batchsystems.drmaa.session.client import Client
from batchsystems.drmaa.session.journal import JOURNAL, submission_of
from batchsystems.drmaa.session.library import find
from batchsystems.drmaa.tables import REMEDIES, DrmaaSettings, Family, family_of
from batchsystems.interface import Caller
from batchsystems.sge import defaults as sge_defaults
from batchsystems.sge.resources import known_limits
from batchsystems.sge.tables import LEFT_BY_A_JOB, NODE_S_OWN, SgeSettings
from batchsystems.site import Site
from batchsystems.slurm import defaults as slurm_defaults
from batchsystems.slurm.tables import SlurmSettings
from batchsystems.transport.local import Command, CommandResult

DIRECTORY = "drmaa"
"""In the caller's directory: the journal, and the scripts of jobs."""

_NATIVE = re.compile(r"[^\s+]{1,200}(\+[1-9]\d{0,8})?")


class DrmaaDialect(Dialect):
    """Requests to the process with the session, as lines of JSON, and its answers.

    An array's id is the head of its tasks' ids: `12.` of `12.3`, which is the task 2 here.
    """

    name = "drmaa"
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
        self.settings, self.family, self._sge, self._slurm = settings, family, sge, slurm
        self.variables = settings.task_variables or family.task_variables
        self.arrays = settings.arrays and bool(self.variables)
        if family.name == "sge":
            self.known = known_limits(sge)
        elif family.name == "slurm":
            self.known = Limits(slurm.tasks, slurm.queues)
        self._heard = 0

    # -- submitting ---------------------------------------------------------------------------

    def submit(self, request: Request, limits: Limits) -> Command:
        """Return the request for it, with the script that a job is to be."""
        own, asked = self.settings, request.resources
        native = native_specification(self.family, own, self._sge, self._slurm, request, limits)
        by_native = asked.time_s is None or self.family.name in ("sge", "slurm")
        limit_s = None if by_native else max(1, ceil(asked.time_s or 0.0))
        plain = re.fullmatch(r"[\w./ +=%@-]+", request.cwd) is not None
        return self._request(
            "submit",
            {
                "do": "submit",
                "name": request.name,
                "size": request.size,
                "script": job_script(request, own.setup, self.variables, self.family.name == "sge"),
                "shell": shlex.split(own.shell),
                "cwd": request.cwd if plain else "/",
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
        """Return the request for all jobs, and for what has ended since the last answer."""
        return self._request("queue", {"do": "poll", "heard": self._heard})

    def parse_queue(self, ran: CommandResult) -> QueryResult:
        """Read the answer, and note that it was heard."""
        result, number = read_poll(ran)
        if number:
            self._heard = number
        return result

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

    # -- ids and reasons ----------------------------------------------------------------------

    def split(self, native: str) -> tuple[str, int | None] | None:
        """Split `12.3` into the array's head and the task, which is 2 here."""
        if _NATIVE.fullmatch(native) is None:
            return None
        head = submission_of(native)
        if head == native:
            return native, None
        return head, int(native[len(head) :].rstrip("]")) - 1

    def join(self, submission: str, task: int) -> str:
        """Return `12.3` for the task 2 of `12.`."""
        return f"{submission}{task + 1}{']' if submission.endswith('[') else ''}"

    def remedy(self, why: str) -> str:
        """Look the reason up."""
        return next((text for word, text in REMEDIES if word in why), "")


class Drmaa(CommandLine):
    """A cluster by its DRMAA library, which a process of its own has loaded.

    state_dir: where jobs, their scripts and the session are recorded, on a file system that nodes
    see; the same for a later instance that is to adopt them (default: a private directory in the
    working directory). sge, slurm: what a site says of the cluster behind the library.
    """

    def __init__(
        self,
        settings: DrmaaSettings | None = None,
        sge: SgeSettings | None = None,
        slurm: SlurmSettings | None = None,
        pace: Pace | None = None,
        timeouts: Timeouts | None = None,
        state_dir: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        own = settings or DrmaaSettings()
        library = find(own, os.environ)
        self._private = state_dir is None
        top = os.path.abspath(state_dir or tempfile.mkdtemp(prefix=".drmaa-", dir=os.getcwd()))
        self._directory = os.path.join(top, DIRECTORY)
        self._client = Client(library, own, self._directory, drop=_dropped)
        try:
            self._client.start()
            family = family_of(" ".join(self._client.about.values()))
            if family.name == "sge":  # its requests in a working directory: the process is in /
                common = sge_defaults.common({**os.environ, **library.env})
                requests = default_files.read(sge_defaults.paths(common, sge_defaults.REQUESTS)[:2])
                sge_defaults.require_harmless(requests, (), drmaa=True)
        except BaseException:
            self._client.close()
            self._drop_private()
            raise
        slurm = slurm or SlurmSettings()
        if family.name == "slurm":
            slurm = slurm_defaults.with_wishes(slurm, os.environ)
        dialect = DrmaaDialect(own, family, sge or SgeSettings(), slurm)
        super().__init__(dialect, pace, timeouts, self._client, clock)
        if family.name == "slurm":
            self.tell_wishes(*slurm_defaults.wishes(slurm, os.environ))

    @classmethod
    def from_site(cls, site: Site, section: str, caller: Caller) -> Self:
        """Make one by the table [drmaa], and by [sge] or [slurm] for the cluster behind it."""
        return cls(
            site.make(DrmaaSettings, section, "worker"),
            site.make(SgeSettings, "sge"),
            site.make(SlurmSettings, "slurm"),
            *pacing_of(site),
            state_dir=caller.state_dir,
        )

    def close(self) -> None:
        """Let go of all jobs, and end the session's process: a later instance goes on with it."""
        try:
            super().close()
        finally:
            self._client.close()
            self._drop_private()

    def _drop_private(self) -> None:
        """Remove a directory of one's own if no script in it is needed any more."""
        if not self._private:
            return
        with suppress(OSError):
            if any(name.endswith(".sh") for name in os.listdir(self._directory)):
                return
            os.unlink(os.path.join(self._directory, JOURNAL))
        for path in (self._directory, os.path.dirname(self._directory)):
            with suppress(OSError):
                os.rmdir(path)


def _dropped(name: str) -> bool:
    """Tell whether a variable could act on what the library does, and is not to reach it."""
    cls = DrmaaDialect
    return name not in cls.kept and (name in cls.scrubbed_names or name.startswith(cls.scrubbed))
