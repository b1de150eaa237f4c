"""The directory of end records: what launchers leave there, and how to read it.

Owns the file names and the format; must not decide what an end means for a job.
Read next: launcher.py, which writes them.

    NAME.INDEX.PID-START.live   the order, in the room kept for the end record while the job runs
    NAME.INDEX.PID-START.end    how it ended, renamed into place when complete
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from typing import TypeVar

from batchsystems.interface import JobEnd, Reason
from batchsystems.singlemachine.processes import Identity, boot_id

Number = TypeVar("Number", int, float)
_FILE = re.compile(r"(?P<job>.+\.\d+)\.(?P<pid>\d+)-(?P<start>\d+)\.(live|end)")


def key_of(job: str, identity: Identity) -> str:
    """Return how the launcher of this identity names the job's files."""
    return f"{job}.{identity.pid}-{identity.start}"


def read_launchers(state_dir: str) -> dict[str, list[Identity]]:
    """Return which launchers left something, by job (`name.index`), the newest last.

    They are taken to be of this boot.
    """
    found: dict[str, list[Identity]] = {}
    with contextlib.suppress(FileNotFoundError):
        for match in filter(None, map(_FILE.fullmatch, os.listdir(state_dir))):
            identity = Identity(int(match["pid"]), int(match["start"]), boot_id())
            found.setdefault(match["job"], []).append(identity)
    for identities in found.values():
        identities.sort(key=lambda identity: identity.start)
    return found


def read_end(state_dir: str, key: str) -> JobEnd | None:
    """Return how the job ended, None if no complete record says so."""
    return parse_end(_lines(state_dir, f"{key}.end"))


def read_order(state_dir: str, key: str) -> dict[str, str]:
    """Return the order of a running job, empty if it cannot be read (any more)."""
    lines = _lines(state_dir, f"{key}.live")
    if lines[:1] != ["order"]:
        return {}
    return dict(line.split("=", 1) for line in lines[1:] if "=" in line)


def _lines(state_dir: str, name: str) -> list[str]:
    """Return the lines of a file, none if it cannot be read."""
    try:
        with open(os.path.join(state_dir, name), encoding="utf-8", errors="replace") as file:
            return file.read().strip().splitlines()
    except OSError:
        return []


def parse_end(lines: list[str]) -> JobEnd | None:
    """Read the lines of an end record; None if it is torn or not understood."""
    if not lines or lines[-1] != "complete":
        return None
    values: dict[str, str] = {}
    evidence = []
    for line in lines[:-1]:
        word, _, value = line.partition(" ")
        if word == "evidence":
            evidence.append(value)
        else:
            values[word] = value
    try:
        return JobEnd(
            Reason[values["reason"]],
            exit_status=_read(values, "exit_status", int),
            signal=_read(values, "signal", int),
            node=os.uname().nodename,
            memory_bytes=_read(values, "memory_bytes", int),
            cpu_s=_read(values, "cpu_s", float),
            wall_s=_read(values, "wall_s", float),
            evidence=tuple(evidence),
        )
    except (KeyError, ValueError):
        return None


def _read(values: dict[str, str], word: str, kind: Callable[[str], Number]) -> Number | None:
    return kind(values[word]) if word in values else None


def remove(state_dir: str, key: str) -> None:
    """Delete the files of a job whose end was reported."""
    for kind in ("end", "live"):
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(state_dir, f"{key}.{kind}"))
