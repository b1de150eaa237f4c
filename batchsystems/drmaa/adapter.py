"""Drmaa: the batch system whose scheduler is spoken to by a process with a DRMAA session.

Owns that process, and the directory of its records; must not know what is said to it. Read next:
dialect.py; session/client.py.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import Self

from batchsystems.clock import Clock
from batchsystems.commandline.adapter import CommandLine
from batchsystems.commandline.dialect import Wishes
from batchsystems.commandline.factory import tell_wishes
from batchsystems.commandline.pacing import Pace, Timeouts
from batchsystems.common import default_files
from batchsystems.drmaa.dialect import DrmaaDialect
from batchsystems.drmaa.session.client import Client
from batchsystems.drmaa.session.journal import JOURNAL
from batchsystems.drmaa.session.library import find
from batchsystems.drmaa.settings import DrmaaSettings
from batchsystems.drmaa.tables import family_of
from batchsystems.interface import Caller
from batchsystems.sge import defaults as sge_defaults
from batchsystems.sge.settings import SgeSettings
from batchsystems.site import Site
from batchsystems.slurm import defaults as slurm_defaults
from batchsystems.slurm.settings import SlurmSettings

DIRECTORY = "drmaa"
"""In the caller's directory: the journal, and the scripts of jobs."""


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
            wishes = slurm_defaults.wishes(slurm, os.environ)
            tell_wishes(self.name, Wishes(slurm, None, *wishes))

    @classmethod
    def from_site(cls, site: Site, section: str, caller: Caller) -> Self:
        """Make one by the table [drmaa], and by [sge] or [slurm] for the cluster behind it."""
        return cls(
            site.make(DrmaaSettings, section),
            site.make(SgeSettings, "sge"),
            site.make(SlurmSettings, "slurm"),
            site.make(Pace),
            site.make(Timeouts),
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
