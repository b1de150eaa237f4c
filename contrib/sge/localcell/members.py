"""Which processes belong to a cell, though nobody recorded their start.

Owns how they are recognised: they live in an execution host's own namespace, carry one of the
cell's group ids, or have the cell in their environment. Must not end anything.
Read next: cell.py, which does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localengines.processes import Process, environ_of, name_of, others

from localcell.settings import Places, Settings

KINDS = {"sge_execd": "execd", "sge_shepherd": "shepherd"}


@dataclass(frozen=True)
class Member:
    """A process of the cell.

    kind: "boot" (a host's first), "execd", "shepherd" or "job" (what a job runs). host: where
    it runs. job: a shepherd's, as JOB.TASK, the task being 1 for a job that is no array.
    """

    process: Process
    kind: str
    host: str
    job: str


def members(settings: Settings, places: Places, spaces: Mapping[str, str]) -> list[Member]:
    """Return every process on the cell's hosts, except this one and its ancestors.

    spaces: the hosts by their process namespaces, as /proc calls them.
    """
    found = []
    for one, folder in others():
        with suppress(OSError):  # it ended meanwhile, or is not ours to look at
            host = spaces.get(os.readlink(folder / "ns" / "pid"))
            if host is None and _belongs(folder, settings, places):
                host = settings.machine
            if host is not None:
                kind = "boot" if _is_first(folder) else KINDS.get(name_of(folder), "job")
                job = (folder / "cwd").readlink().name if kind == "shepherd" else ""
                found.append(Member(one, kind, host, job))
    return found


def _belongs(folder: Path, settings: Settings, places: Places) -> bool:
    """Tell whether a process outside all namespaces is one of the cell's hosts' all the same."""
    groups = _status(folder, "Groups")
    if any(int(word) in settings.gids for word in groups):
        return True
    environ = environ_of(folder)
    if environ.get("SGE_ROOT") != str(places.root):
        return False
    return "JOB_ID" in environ or name_of(folder) in KINDS


def _is_first(folder: Path) -> bool:
    """Tell whether a process is the first of a namespace below this program's own."""
    numbers = _status(folder, "NSpid")
    return len(numbers) > 1 and numbers[-1] == "1"


def _status(folder: Path, key: str) -> list[str]:
    for line in (folder / "status").read_text(errors="replace").splitlines():
        name, _, rest = line.partition(":")
        if name == key:
            return rest.split()
    return []
