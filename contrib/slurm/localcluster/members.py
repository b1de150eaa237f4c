"""Which processes belong to a cluster, though nobody recorded their start; and its cgroups.

Owns how they are recognised: their environment or open files name the cluster's directory, or
they are in its cgroups. Must not end anything. Read next: cluster.py, which does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localengines.failure import Failure
from localengines.processes import Process, environ_of, name_of, others, process, title_of


@dataclass(frozen=True)
class Member:
    """A process that belongs to a cluster, though nobody recorded its start.

    kind: "daemon" (a Slurm program), "step" (slurmstepd) or "job" (what a job runs).
    node: the node it runs on; empty where that is unknown. title: its command line.
    """

    process: Process
    kind: str
    node: str
    title: str


def members(top: Path, conf: Path) -> list[Member]:
    """Return every process of the cluster in `top`, except this one and its ancestors."""
    found = []
    for one, folder in others():
        with suppress(OSError):  # it ended meanwhile, or is not ours to look at
            member = _member(one, folder, top, conf)
            if member is not None:
                found.append(member)
    return found


def _member(me: Process, folder: Path, top: Path, conf: Path) -> Member | None:
    name, title = name_of(folder), title_of(folder)
    if name.startswith("slurm"):  # these overwrite their environment: look at their files
        logs = _logs(folder, top)
        if logs:
            kind = "step" if name == "slurmstepd" else "daemon"
            return Member(me, kind, min(logs), title)
    environ = environ_of(folder)
    if environ.get("SLURM_CONF") == str(conf) and "SLURM_JOB_ID" in environ:
        return Member(me, "job", environ.get("SLURMD_NODENAME", ""), title)
    return None


def _logs(folder: Path, top: Path) -> set[str]:
    """Return the names (without .log) of the cluster's logs that a process holds open."""
    found = set()
    for link in (folder / "fd").iterdir():
        with suppress(OSError):
            target = Path(os.readlink(link))
            if target.parent == top / "log" and target.suffix == ".log":
                found.add(target.stem)
    return found


# ---- cgroups of version 1 ----------------------------------------------------------------

CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("freezer", "memory", "devices", "cpuset")
PREFIXES = ("node", *(f"node{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"))


def has_cgroups() -> bool:
    """Tell whether Slurm can make cgroups here, by making one in each hierarchy it uses."""
    for controller in CONTROLLERS:
        probe = CGROUPS / controller / f"slurm_probe_{os.getpid()}"
        try:
            probe.mkdir()
            probe.rmdir()
        except OSError:
            return False
    return True


def claim_prefix() -> str:
    """Return a beginning of node names that no other cluster's cgroups use, claimed at once.

    Slurm names a node's cgroup after the node: two clusters with a node1 would share one.
    """
    for prefix in PREFIXES:
        taken = any(any((CGROUPS / c).glob(f"slurm_{prefix}[0-9]*")) for c in CONTROLLERS)
        if not taken:
            with suppress(FileExistsError):
                (CGROUPS / CONTROLLERS[0] / f"slurm_{prefix}1").mkdir()
                return prefix
    raise Failure("every name for nodes is taken by a cgroup in /sys/fs/cgroup; try --cgroup 0")


def cgroup_processes(nodes: Iterable[str]) -> list[Process]:
    """Return what runs in the cgroups of these nodes: jobs that hide their environment too."""
    pids: set[int] = set()
    for folder in _cgroups(nodes):
        for listing in folder.rglob("cgroup.procs"):
            with suppress(OSError):
                pids.update(int(word) for word in listing.read_text().split())
    return [found for pid in pids if (found := process(pid)) is not None]


def remove_cgroups(nodes: Iterable[str]) -> bool:
    """Remove the cgroups of these nodes; return whether all are gone."""
    for top in _cgroups(nodes):
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):  # busy for a moment after its last process
                os.rmdir(folder)
    return not list(_cgroups(nodes))


def _cgroups(nodes: Iterable[str]) -> list[Path]:
    """Return the cgroups of these nodes in every hierarchy, named ones too."""
    names = [f"slurm_{node}" for node in nodes]
    try:
        hierarchies = list(CGROUPS.iterdir())
    except OSError:
        return []
    return [top / name for top in hierarchies for name in names if (top / name).is_dir()]
