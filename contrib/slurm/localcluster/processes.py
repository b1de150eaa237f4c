"""Processes of this machine: what they are, which belong to a cluster, and their end.

Owns /proc and every signal; must not know Slurm's commands. Nothing is ever signalled by its
name: a process belongs to a cluster if it was recorded when started, or if its environment or
open files name the cluster's directory. Read next: cluster.py.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localcluster.failure import Failure

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process, safe against the reuse of its pid. start: in clock ticks since boot."""

    pid: int
    start: int

    @property
    def state(self) -> str:
        """Return "running", "frozen" or "gone"; a zombie is gone."""
        found = _stat(self.pid)
        if found is None or found[1] != self.start or found[0] in "ZX":
            return "gone"
        return "frozen" if found[0] in "Tt" else "running"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still exists."""
        if self.state != "gone":
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def process(pid: int) -> Process | None:
    """Return the process that has this pid now."""
    found = _stat(pid)
    return None if found is None or found[0] in "ZX" else Process(pid, found[1])


def _stat(pid: int) -> tuple[str, int] | None:
    """Return state letter and start time of a pid, None if there is no such process."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def wait_for(what: str, done: Callable[[], bool], limit_s: float) -> None:
    """Wait until `done`; Failure saying `what` did not happen within the limit."""
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {limit_s:g} s")
        time.sleep(0.05)


def end(processes: Iterable[Process], grace_s: float) -> None:
    """End processes: thaw them, ask with SIGTERM, insist with SIGKILL after the grace."""
    doomed = list(processes)
    if grace_s > 0:
        for one in doomed:
            one.signal(signal.SIGTERM)
            one.signal(signal.SIGCONT)
        with suppress(Failure):
            wait_for("the end", lambda: _all_gone(doomed), grace_s)
    for one in doomed:
        one.signal(signal.SIGKILL)
    wait_for(f"the end of {sorted(one.pid for one in doomed)}", lambda: _all_gone(doomed), 20)


def _all_gone(processes: Iterable[Process]) -> bool:
    return all(one.state == "gone" for one in processes)


# ---- whose is it? ------------------------------------------------------------------------


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
    spared = set(_ancestors())
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and int(entry.name) not in spared:
            with suppress(OSError):  # it ended meanwhile, or is not ours to look at
                one = _member(int(entry.name), top, conf)
                if one is not None:
                    found.append(one)
    return found


def _member(pid: int, top: Path, conf: Path) -> Member | None:
    folder = PROC / str(pid)
    me = process(pid)
    if me is None:
        return None
    name = (folder / "comm").read_text(errors="replace").strip()
    title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    if name.startswith("slurm"):  # these overwrite their environment: look at their files
        logs = _logs(folder, top)
        if logs:
            kind = "step" if name == "slurmstepd" else "daemon"
            return Member(me, kind, min(logs), title)
    environ = _environ(folder)
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


def _environ(folder: Path) -> dict[str, str]:
    text = (folder / "environ").read_bytes().decode(errors="replace")
    return {key: value for key, _, value in (line.partition("=") for line in text.split("\0"))}


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
        pid = int(stat.rpartition(")")[2].split()[1])


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
