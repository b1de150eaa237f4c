"""What this machine lets this process use: cpus, memory, gpus.

Reads affinity, cgroup limits (versions 1 and 2) and devices; must not start or watch anything.
Read next: scheduler.py.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass

Root = str | os.PathLike[str]
"""Where / is taken to be."""

_UNLIMITED = 1 << 60
"""Version 1 writes a huge number where there is no limit."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What this process may use of the machine it runs on."""

    cpus: int
    """processors"""
    memory_bytes: int
    """of the machine, or of its cgroup if that is less"""
    gpus: tuple[str, ...]
    """names of devices"""


def read_machine() -> Machine:
    """Return what this process may use of the machine it runs on."""
    cpus = len(os.sched_getaffinity(0))
    quota = cgroup_cpus()
    if quota is not None:
        cpus = min(cpus, max(1, int(quota)))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = cgroup_memory_bytes()
    return Machine(cpus, memory if limit is None else min(memory, limit), read_gpus())


def read_gpus() -> tuple[str, ...]:
    """Return the devices that CUDA_VISIBLE_DEVICES names, or else those of /dev."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        numbers = [path.removeprefix("/dev/nvidia") for path in glob.glob("/dev/nvidia[0-9]*")]
        return tuple(sorted((n for n in numbers if n.isdigit()), key=int))
    names: list[str] = []
    for name in visible.split(","):
        if not name.strip() or name.strip().startswith("-"):
            break  # as CUDA does: nothing counts from the first invalid name on
        names.append(name.strip())
    return tuple(names)


def cgroup_cpus(root: Root = "") -> float | None:
    """Return the smallest cpu quota of this process's cgroups, None without one."""
    quotas = []
    for directory in _directories(root, "cpu"):
        words = _read(f"{directory}/cpu.max").split()  # "150000 100000" or "max 100000"
        if not words:
            words = [
                _read(f"{directory}/cpu.cfs_quota_us"),
                _read(f"{directory}/cpu.cfs_period_us"),
            ]
        quota, period = (_number(word) for word in (*words, "", "")[:2])
        if quota is not None and period:
            quotas.append(quota / period)
    return min(quotas, default=None)


def cgroup_memory_bytes(root: Root = "") -> int | None:
    """Return the smallest memory limit of this process's cgroups, None without one."""
    limits = []
    for directory in _directories(root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limit = _number(_read(f"{directory}/{name}"))
            if limit is not None and limit < _UNLIMITED:
                limits.append(limit)
    return min(limits, default=None)


def oom_counter(root: Root = "") -> str:
    """Return the file in which the kernel counts this cgroup's out-of-memory kills."""
    for directory in _directories(root, "memory"):
        for name in ("memory.events", "memory.oom_control"):
            if "oom_kill " in _read(f"{directory}/{name}"):
                return f"{directory}/{name}"
    return f"{root}/proc/vmstat"


def _directories(root: Root, controller: str) -> Iterator[str]:
    """Yield the cgroup directories that bound this process, innermost first.

    Inside a container the path in /proc/self/cgroup may not exist below the mount point; the
    mount point itself is then the container's own cgroup.
    """
    mounts = [line.split() for line in _read(f"{root}/proc/self/mounts").splitlines()]
    for line in _read(f"{root}/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for _, mount, kind, options, *_ in mounts:
            if kind == "cgroup" and controllers:
                bounding = controller in options.split(",")
            else:
                bounding = kind == "cgroup2" and not controllers
            if bounding:
                top = f"{root}{mount}".rstrip("/")
                own = top if ".." in path else f"{top}{path}".rstrip("/")
                while own != top:
                    if os.path.isdir(own):
                        yield own
                    own = own.rpartition("/")[0]
                yield top


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _number(word: str) -> int | None:
    return int(word) if word.isdigit() else None
