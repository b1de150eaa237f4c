"""Journal: the jobs that were given to a DRMAA library, kept across the death of whoever keeps it.

Owns the journal, the session's contact and the scripts of jobs, in one directory; must not speak
to a library. Read next: session.py, which does; server.py.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

JOURNAL = "journal"
COMPACT_BYTES = 8 << 20
KEPT_S = 3600.0
"""For this long the end of a job is kept that was told: whoever was told may die."""


@dataclass(slots=True, eq=False)
class Job:
    """A job, or a task of an array."""

    key: str
    """What the adapter calls it."""
    native: str
    """What the library calls it."""
    name: str
    submitted: float
    time_s: float | None = None
    memory_bytes: int | None = None
    state: str = ""
    started: float | None = None
    killed: bool = False
    attached: bool = True
    """Whether the session knows it, so that waiting for it tells how it ended."""
    sure: bool = True
    """Whether that was seen."""
    gone_since: float | None = None
    """Since when the cluster does not know it any more, though the session has no end of it."""
    end: dict[str, Any] | None = None
    ended: float = 0.0
    told: int = 0

    @property
    def submission(self) -> str:
        """The key's part that the tasks of an array share."""
        return submission_of(self.key)

    @property
    def may_change(self) -> bool:
        """Tell whether its state is worth a request: of a job that runs only the end is."""
        doubtful = not self.attached or self.killed or self.gone_since is not None
        return doubtful or self.state != "running"

    def shown(self) -> dict[str, Any]:
        """Return what is told of it."""
        told = {"key": self.key, "name": self.name, "at": self.submitted, "state": self.state}
        if self.end is not None:
            return told | {"end": self.end}
        return told | ({"started": self.started} if self.started is not None else {})


_TASK = re.compile(r"(.+?[.+_\[])([1-9]\d{0,8})\]?")


def keys_of(natives: Sequence[str], array: bool) -> list[str]:
    """Return what to call jobs: as the library does, if tasks can be told apart by that."""
    if not array:
        return list(natives)
    forms = [re.fullmatch(r"(\d+[._\[])([1-9]\d*)\]?", native) for native in natives]
    heads = {form[1] for form in forms if form}
    numbers = [int(form[2]) if form else 0 for form in forms]
    if len(heads) == 1 and numbers == list(range(1, len(natives) + 1)):
        return list(natives)
    return [f"{natives[0]}+{number}" for number in range(1, len(natives) + 1)]


def submission_of(key: str) -> str:
    """Return the part of a key that stands for the whole submission."""
    found = _TASK.fullmatch(key)
    return found[1] if found else key


@dataclass(slots=True)
class Journal:
    """All jobs not ended, and those whose end may not be known yet to whoever asked for it."""

    directory: str
    contact: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)
    by_native: dict[str, Job] = field(default_factory=dict)
    ended: list[Job] = field(default_factory=list)
    heard: list[Job] = field(default_factory=list)
    """Of these the end was told, and heard; they are kept for a while."""
    left: dict[str, int] = field(default_factory=dict)
    """How many jobs of each submission have not ended."""
    complaint: str = ""
    """What was wrong with the journal, "" if nothing."""
    _file: Any = None
    _size: int = 0

    @property
    def _path(self) -> str:
        return os.path.join(self.directory, JOURNAL)

    # -- reading and writing ----------------------------------------------------------------------

    def open(self) -> None:
        """Read what an earlier one has written, and go on from there."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        found: dict[str, Job] = {}
        for line in self._lines():
            self._read(line, found)
        for job in found.values():
            self._enter(job)
        self._write_anew()
        self._drop_scripts()

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            with open(self._path, "rb") as file:
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if isinstance(entry, dict):
                yield entry
            else:
                self.complaint = f"line {number} of {self._path} is damaged, and left out"

    def _read(self, entry: dict[str, Any], found: dict[str, Job]) -> None:
        try:
            if "contact" in entry:
                self.contact = str(entry["contact"])
            elif "taken" in entry:
                for job in _jobs_of(entry):
                    found[job.key] = job
            elif "end" in entry and entry["end"] in found:
                job = found[entry["end"]]
                job.end, job.ended = dict(entry["how"]), float(entry["at"])
        except (KeyError, TypeError, ValueError) as error:
            self.complaint = f"an entry of {self._path} cannot be read, and is left out: {error!r}"

    def _write_anew(self) -> None:
        """Write the journal without what nobody needs any more."""
        now = time.time()
        self.heard = [job for job in self.heard if now - job.ended < KEPT_S]
        entries = [{"contact": self.contact}]
        for job in (*self.jobs.values(), *self.ended, *self.heard):
            entries += _entries(job)
        if self._file is not None:
            self._file.close()
        new = f"{self._path}.{os.getpid()}.new"
        with open(new, "wb") as file:
            file.write(b"".join(map(_line, entries)))
            file.flush()
            os.fsync(file.fileno())
            self._size = file.tell()
        os.replace(new, self._path)
        self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115 - open for long

    def close(self) -> None:
        """Write no more."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, entries: Iterable[dict[str, Any]], sync: bool) -> None:
        text = b"".join(map(_line, entries))
        self._file.write(text)
        if sync:
            os.fsync(self._file.fileno())
        self._size += len(text)
        if self._size > COMPACT_BYTES:
            self._size = 0  # what is left may be as large: it is not to be written at once again
            self._write_anew()

    # -- jobs -------------------------------------------------------------------------------------

    def meet(self, contact: str) -> None:
        """Note the contact of the session."""
        if contact != self.contact:
            self.contact = contact
            self._append([{"contact": contact}], sync=True)

    def take(self, jobs: Sequence[Job]) -> None:
        """Note jobs that the library has accepted."""
        self._append(_taken(jobs), sync=True)
        for job in jobs:
            self._enter(job)

    def _enter(self, job: Job) -> None:
        if job.end is not None:
            self.ended.append(job)
            return
        self.jobs[job.key] = job
        self.by_native[job.native] = job
        self.left[job.name] = self.left.get(job.name, 0) + 1

    def end(self, job: Job, how: dict[str, Any]) -> None:
        """Note how a job ended."""
        limits = {"time_s": job.time_s, "memory_bytes": job.memory_bytes, "killed": job.killed}
        job.end, job.ended = how | limits, time.time()
        self._append([_end(job)], sync=False)
        self.jobs.pop(job.key, None)
        self.by_native.pop(job.native, None)
        self.ended.append(job)
        self.left[job.name] -= 1
        if not self.left[job.name]:
            del self.left[job.name]
            with suppress(OSError):
                os.unlink(self.script(job.name))

    def untold(self, heard: int, number: int) -> list[Job]:
        """Return the ended jobs that nobody has heard of; answers up to `heard` were heard."""
        self.heard += [job for job in self.ended if 0 < job.told <= heard]
        self.ended = [job for job in self.ended if not 0 < job.told <= heard]
        for job in self.ended:
            job.told = job.told or number
        return self.ended

    # -- scripts ----------------------------------------------------------------------------------

    def script(self, name: str) -> str:
        """Return where the script of a submission is."""
        return os.path.join(self.directory, f"{name}.sh")

    def write_script(self, name: str, text: str) -> str:
        """Write it, for its owner alone; return where it is."""
        path = self.script(name)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return path

    def _drop_scripts(self) -> None:
        """Remove the scripts of what is not known to be submitted: were it, it ends at once."""
        live = {f"{name}.sh" for name in self.left}
        for name in os.listdir(self.directory):
            if name.endswith(".sh") and name not in live:
                with suppress(OSError):
                    os.unlink(os.path.join(self.directory, name))


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _taken(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    first = jobs[0]
    return [
        {
            "taken": first.name,
            "at": first.submitted,
            "time_s": first.time_s,
            "memory_bytes": first.memory_bytes,
            "ids": [[job.key, job.native] for job in jobs],
        }
    ]


def _jobs_of(entry: dict[str, Any]) -> list[Job]:
    name, at = str(entry["taken"]), float(entry["at"])
    limits = entry.get("time_s"), entry.get("memory_bytes")
    return [Job(str(key), str(native), name, at, *limits) for key, native in entry["ids"]]


def _end(job: Job) -> dict[str, Any]:
    return {"end": job.key, "at": job.ended, "how": job.end}


def _entries(job: Job) -> list[dict[str, Any]]:
    return [*_taken([job]), *([_end(job)] if job.end is not None else [])]
