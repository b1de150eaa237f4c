"""Finding the jobs of an earlier SingleMachine: still running, or ended in between.

Reads end records and /proc; must not watch or change what it finds.
Read next: adapter.py, whose adopt() takes the found jobs over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from batchsystems.interface import JobEnd, JobRecord, Resources
from batchsystems.singlemachine import records
from batchsystems.singlemachine.launcher import read_table
from batchsystems.singlemachine.processes import Identity, read_command_line


@dataclass(frozen=True, slots=True)
class Found:
    """A job of an earlier instance."""

    job: str
    """its name and index"""
    identity: Identity
    """its launcher"""
    end: JobEnd | None
    """how it ended, None while its launcher lives"""
    resources: Resources = field(default_factory=Resources)
    """what it was given"""
    gpus: tuple[str, ...] = ()
    """the devices it has"""

    @property
    def key(self) -> str:
        """The name of its records."""
        return records.key_of(self.job, self.identity)


def find(state_dir: str, wanted: Sequence[JobRecord]) -> Iterator[Found | None]:
    """Yield for each record its job, None if nothing is known of it."""
    known = records.read_launchers(state_dir)
    starting: dict[str, Identity] | None = None
    for record in wanted:
        job = f"{record.name}.{record.index}"
        identity = Identity.parse(record.native)
        if not record.native and job in known:
            identity = known[job][-1]
        elif not record.native:
            starting = _launchers(state_dir) if starting is None else starting
            identity = starting.get(job)
        yield _look(state_dir, job, identity) if identity else None


def find_strays(state_dir: str, known: set[str]) -> list[JobRecord]:
    """Return the jobs of this directory, running or ended, whose keys are not these."""
    left = records.read_launchers(state_dir).items()
    pairs = [(job, identity) for job, identities in left for identity in identities]
    pairs += _launchers(state_dir).items()
    found = {records.key_of(job, identity): (job, identity) for job, identity in pairs}
    strays = []
    for key, (job, identity) in found.items():
        if key not in known:
            name, _, index = job.rpartition(".")
            begun = time.time() - identity.age_s()
            strays.append(JobRecord(name, int(index), identity.native, begun))
    return strays


def _look(state_dir: str, job: str, identity: Identity) -> Found | None:
    """Return what became of the launcher. It is asked for its life first, its record second."""
    key = records.key_of(job, identity)
    alive = identity.is_alive()
    end = records.read_end(state_dir, key)
    if end is not None:
        return Found(job, identity, end)
    if not alive:
        return None
    order = records.read_order(state_dir, key) or _order(read_command_line(identity.pid))
    return Found(job, identity, None, _resources(order), _gpus(order))


def _resources(order: dict[str, str]) -> Resources:
    memory, time_s = _number(order, "memory"), _number(order, "time")
    return Resources(
        cpus=int(_number(order, "cpus") or 1),
        memory_bytes=int(memory) if memory else None,
        gpus=len(_gpus(order)),
        time_s=time_s or None,
    )


def _number(order: dict[str, str], word: str) -> float | None:
    """Return a number of an order, None if it is not there or torn."""
    try:
        return float(order[word])
    except (KeyError, ValueError):
        return None


def _gpus(order: dict[str, str]) -> tuple[str, ...]:
    return tuple(order["gpus"].split(",")) if order.get("gpus") else ()


def _order(command_line: list[str]) -> dict[str, str]:
    words = command_line[: command_line.index("--")] if "--" in command_line else []
    return dict(word.split("=", 1) for word in words if "=" in word)


def _launchers(state_dir: str) -> dict[str, Identity]:
    """Return the launchers at work for this directory, also those that have written nothing yet.

    A launcher leads its session: its forked child, until it is the command, does not.
    """
    found = {}
    for process in read_table():
        if process.session == process.pid and process.state not in "ZX":
            order = _order(_command_line(process.pid))
            identity = Identity.of(process.pid)
            if order.get("state") == os.path.abspath(state_dir) and "job" in order and identity:
                found[order["job"]] = identity
    return found


def _command_line(pid: int, tries: int = 20) -> list[str]:
    """Return a process's arguments: for a moment of its exec, Linux shows none."""
    for _ in range(tries):
        words = read_command_line(pid)
        if words:
            return words
        time.sleep(0.001)
    return []
