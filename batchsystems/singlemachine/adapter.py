"""SingleMachine: the batch system that is this machine alone.

Owns the jobs of one instance from queue to end; must not know what a job is good for.
Read next: scheduler.py (what starts when), launcher.py (the process around each job).
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Self

from batchsystems.common.exit_hook import close_at_exit, forget
from batchsystems.common.jobscript import NOT_LAUNCHED, reread_launch
from batchsystems.common.unique_names import NamesInUse
from batchsystems.errors import closed
from batchsystems.interface import (
    Accepted,
    BatchSystem,
    Caller,
    Capacity,
    JobEnd,
    JobRecord,
    JobSpec,
    Reason,
    Refused,
    Resources,
    Update,
)
from batchsystems.singlemachine import records
from batchsystems.singlemachine.adoption import Found, find, find_strays
from batchsystems.singlemachine.machine import oom_counter, read_machine
from batchsystems.singlemachine.processes import Identity, boot_id, kill_survivors
from batchsystems.singlemachine.running_job import RunningJob, environment, unrecorded_end
from batchsystems.singlemachine.sampling import MemorySampler
from batchsystems.singlemachine.scheduler import Devices, JobQueue, amounts, in_words
from batchsystems.singlemachine.settings import SingleMachineSettings
from batchsystems.singlemachine.spawn import setup_argv, start_launcher
from batchsystems.singlemachine.watching import ProcessWatch
from batchsystems.site import Site

log = logging.getLogger("jobtree.batchsystems")

LONGEST_WAIT_S = 1.0
SHOWN = 5
"""So many jobs are named."""

_TRANSIENT = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


class SingleMachine(BatchSystem):
    """Runs jobs on this machine, as many at once as its cpus, memory and gpus allow.

    state_dir: where launchers record how jobs ended, the same for a later instance that is to
    adopt() them (default: a private directory, removed at close() if nothing lives in it).
    max_cpus: taken as it is, also beyond what the machine has. max_memory_bytes, max_gpus: at
    most what the machine has. grace_s: time from SIGTERM to SIGKILL. setup: lines of `shell` run
    before each job. Not for several threads.
    """

    name = "singleMachine"
    here = True
    flush_s = 10.0
    """How long close() waits for room for the jobs that wait for it."""

    @classmethod
    def from_site(cls, site: Site, section: str, caller: Caller) -> Self:
        """Make one by the table [singleMachine]; fewer cpus, or more, if the caller says so."""
        options = site.options(SingleMachineSettings, "singleMachine")
        if caller.max_cpus is not None and site.lock_of("singleMachine.max_cpus") is None:
            options["max_cpus"] = caller.max_cpus
        return cls(caller.state_dir, **options)

    def __init__(
        self,
        state_dir: str | None = None,
        max_cpus: int | None = None,
        max_memory_bytes: int | None = None,
        max_gpus: int | None = None,
        grace_s: float = 5.0,
        setup: Sequence[str] = (),
        shell: str = "/bin/sh",
    ) -> None:
        machine = read_machine()
        gpus = machine.gpus[:max_gpus]
        memory = min(machine.memory_bytes, max_memory_bytes or machine.memory_bytes)
        self._private = state_dir is None
        self.state_dir = os.path.abspath(state_dir or tempfile.mkdtemp(prefix="singleMachine-"))
        os.makedirs(self.state_dir, mode=0o700, exist_ok=True)
        self._grace_s = grace_s
        self._setup, self._shell = setup, shell
        self._queue = JobQueue((max_cpus or machine.cpus, memory, len(gpus)), 2 * grace_s)
        self._gpus = Devices(list(gpus))
        self._oom_counter = oom_counter()
        self._watching = ProcessWatch()
        self._sampling = MemorySampler(lambda job: self._watching.signal(job, signal.SIGUSR1))
        self._last_id = 0
        self._names = NamesInUse()
        self._named: dict[int, tuple[str, int]] = {}
        self._specs: dict[int, JobSpec] = {}
        self._live: dict[int, RunningJob] = {}
        self._news: deque[tuple[int, Update]] = deque()
        self._reported: list[str] = []
        self._closed = False

    # -- submitting ---------------------------------------------------------------------------

    def issueJob(self, spec: JobSpec) -> int:
        """Queue one job, and start it if there is room."""
        return self.issueJobs([spec])[0]

    def issueJobs(self, specs: Sequence[JobSpec]) -> list[int]:
        """Queue these jobs, and start what there is room for.

        Raises ValueError, and takes none, if one has the name and index of an unfinished job.
        """
        if self._closed:
            raise closed(self.name)
        self._names.take(specs)
        ids = [self._enqueue(spec) for spec in specs]
        self._start_waiting()
        return ids

    def _enqueue(self, spec: JobSpec) -> int:
        self._last_id += 1
        self._named[self._last_id] = spec.name, spec.index
        why = self._queue.refusal(spec.resources)
        if why:
            self._tell(self._last_id, Refused(f"{spec.name} {why}"))
        else:
            self._specs[self._last_id] = spec
            self._queue.enqueue(self._last_id, spec.resources)
        return self._last_id

    def _start_waiting(self) -> None:
        """Start all that may start now."""
        while not self._closed:
            job = self._queue.choose(time.monotonic())
            if job is None:
                break
            self._start(job, self._specs.pop(job))
        if self._queue.waiting:
            close_at_exit(self)
        else:
            forget(self)

    def _start(self, job: int, spec: JobSpec) -> None:
        gpus = self._gpus.take(spec.resources.gpus)
        now = time.monotonic()
        self._queue.begin(job, spec.resources, now)
        argv = [*setup_argv(self._setup, self._shell, spec), *spec.command()]
        try:
            identity = start_launcher(self._order(spec, gpus), argv, environment(spec, gpus))
        except (OSError, ValueError) as error:
            self._queue.end(job)
            self._gpus.give_back(gpus)
            transient = isinstance(error, OSError) and error.errno in _TRANSIENT
            self._tell(job, Refused(f"{spec.name}: cannot start a launcher: {error}", transient))
            return
        name = f"{spec.name}.{spec.index}"
        limit = spec.resources.memory_bytes
        self._watch(job, RunningJob(name, identity, now, gpus, limit, output=spec.output))
        self._tell(job, Accepted(identity.native))

    def _order(self, spec: JobSpec, gpus: tuple[str, ...]) -> dict[str, object]:
        """Return what the launcher is told; adopt() reads it from its command line."""
        asked = spec.resources
        order: dict[str, object] = {"job": f"{spec.name}.{spec.index}", "state": self.state_dir}
        order |= {"cpus": asked.cpus, "grace": self._grace_s, "oom": self._oom_counter}
        order["cwd"] = spec.cwd or os.getcwd()
        if asked.memory_bytes is not None:
            order["memory"] = asked.memory_bytes
        if asked.time_s is not None:
            order["time"] = asked.time_s
        if gpus:
            order["gpus"] = ",".join(gpus)
        if spec.output is not None:
            order["output"] = spec.output
        return order

    def _watch(self, job: int, live: RunningJob) -> bool:
        if not self._watching.add(job, live.identity):
            return False
        self._live[job] = live
        if live.limit_bytes is not None:
            self._sampling.add(job, live.identity.pid, live.limit_bytes)
        return True

    def adopt(self, wanted: Sequence[JobRecord]) -> list[int | None]:
        """Take back the jobs that run, or left an end record; no other is touched.

        What is left of one that was asked for, and of whose launcher nothing is, is ended.
        """
        return [
            self._adopt(record, found)
            for record, found in zip(wanted, find(self.state_dir, wanted), strict=True)
        ]

    def strays(self) -> list[JobRecord]:
        """Return the jobs of this directory that are neither issued nor adopted here."""
        known = {live.key for live in self._live.values()} | set(self._reported)
        return find_strays(self.state_dir, known)

    def _adopt(self, record: JobRecord, found: Found | None) -> int | None:
        identity = found.identity if found else Identity.parse(record.native)
        if identity is None:
            return None
        key = records.key_of(f"{record.name}.{record.index}", identity)
        job, end = self._last_id + 1, found.end if found else None
        if found is not None and end is None:
            started = time.monotonic() - identity.age_s()
            live = RunningJob(
                found.job, identity, started, found.gpus, found.resources.memory_bytes
            )
            if self._watch(job, live):
                self._queue.begin(job, found.resources, started)
                self._gpus.claim(found.gpus)
            else:
                end = records.read_end(self.state_dir, key)  # it ended just now
        if job not in self._live and end is None:
            self._bury(key, identity)
            return None
        self._last_id = job
        self._named[job] = record.name, record.index
        self._names.add(record.name, record.index)
        if not record.native:
            self._tell(job, Accepted(identity.native))
        if end is not None:
            self._reported.append(key)
            self._tell(job, end)
        return job

    def _bury(self, key: str, identity: Identity) -> None:
        """End what a launcher that died left of its job, and remove its record."""
        if identity.boot == boot_id() and not identity.is_alive():
            kill_survivors(key)
            records.remove(self.state_dir, key)

    # -- watching -----------------------------------------------------------------------------

    def getUpdatedJobs(self) -> dict[int, Update]:
        """Return what is new; start waiting jobs in the place of ended ones."""
        for key in self._reported:  # the caller came back: it has seen these ends
            records.remove(self.state_dir, key)
        self._reported.clear()
        self._take_ended()
        updates: dict[int, Update] = {}
        later: deque[tuple[int, Update]] = deque()
        for job, update in self._news:
            if job in updates:
                later.append((job, update))
            else:
                updates[job] = update
        self._news = later
        if not self._closed:
            self._watching.ring(bool(later))
        return updates

    def _take_ended(self) -> None:
        if not self._closed:
            for job, code in self._watching.ended().items():
                self._ended(job, code)
            self._start_waiting()

    def _ended(self, job: int, code: int | None) -> None:
        """Report the end of a launcher, and free what its job held."""
        live = self._live.pop(job)
        self._queue.end(job)
        self._gpus.give_back(live.gpus)
        sampled = self._sampling.remove(job)
        end = records.read_end(self.state_dir, live.key) or unrecorded_end(
            live, code, self.state_dir
        )
        if end.exit_status == NOT_LAUNCHED:
            end = reread_launch(end, live.index, live.tail())
        if sampled > (end.memory_bytes or 0):
            end = replace(end, memory_bytes=sampled)
        if end.reason is Reason.OUT_OF_MEMORY and live.limit_bytes is not None:
            held = f"its processes held {sampled:,} bytes; the limit was {live.limit_bytes:,}"
            end = replace(end, evidence=(*end.evidence, held))
        self._reported.append(live.key)
        self._tell(job, end)

    def _tell(self, job: int, update: Update) -> None:
        if isinstance(update, JobEnd | Refused):
            self._names.give_back(*self._named.pop(job, ("", 0)))
        self._news.append((job, update))
        self._watching.ring(True)

    def getIssuedJobIDs(self) -> frozenset[int]:
        """Return the handles that have not ended: waiting and running."""
        return frozenset(self._specs) | frozenset(self._live)

    def getRunningJobIDs(self) -> dict[int, float]:
        """Return handle -> seconds since its launcher started."""
        now = time.monotonic()
        return {job: now - live.started for job, live in self._live.items()}

    def fileno(self) -> int | None:
        """Return the descriptor that turns readable when there is news."""
        return self._watching.fileno()

    def explain(self, ids: Iterable[int]) -> dict[int, str]:
        """Say what waiting jobs wait for."""
        told = {}
        head = next(iter(self._queue.waiting), None)
        for job in ids:
            if job in self._specs:
                needs = in_words(amounts(self._specs[job].resources))
                place = "is next" if job == head else "waits in the queue"
                told[job] = f"{place}: needs {needs}, free are {in_words(self._queue.free)}"
        return told

    def capacity(self) -> Capacity:
        """Return how many one-cpu jobs run at once, and the largest possible job."""
        cpus, memory, gpus = self._queue.total
        return Capacity(slots=cpus, largest=Resources(cpus, memory, gpus))

    # -- ending -------------------------------------------------------------------------------

    def killJobs(self, ids: Iterable[int]) -> None:
        """Cancel waiting jobs; have the launchers of running ones kill the whole tree."""
        for job in ids:
            if self._queue.withdraw(job):
                del self._specs[job]
                never_ran = ("killed before it started",)
                self._tell(job, JobEnd(Reason.CANCELLED, evidence=never_ran))
            elif job in self._live and not self._live[job].killed:
                self._live[job].killed = True
                self._watching.signal(job, signal.SIGTERM)

    def flush(self, timeout_s: float | None = None) -> frozenset[int]:
        """Wait until all waiting jobs have found room and were started."""
        deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while self._queue.waiting and not self._closed:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            self._watching.wait(min(left_s, LONGEST_WAIT_S))
            self._take_ended()
        return frozenset(self._queue.waiting)

    def withdraw(self) -> frozenset[int]:
        """Cancel all waiting jobs."""
        waiting = frozenset(self._queue.waiting)
        self.killJobs(sorted(waiting))
        return waiting

    def close(self) -> None:
        """Start what finds room within `flush_s`, and let go: what runs then runs on."""
        try:
            self.flush(self.flush_s)
        finally:
            self._let_go()

    def _refuse_waiting(self) -> None:
        """Refuse, with a word, what found no room: nobody would be there to start it."""
        names = [self._specs[job].name for job in self._queue.waiting]
        if not names:
            return
        why = "closed before there was room for it on this machine"
        for job in self._queue.waiting:
            self._tell(job, Refused(f"{self._specs[job].name}: {why}", transient=True))
        shown = ", ".join(list(dict.fromkeys(names))[:SHOWN])
        text = "%s: closed before %d jobs found room, and they are not started: %s; flush() waits"
        log.warning(text, self.name, len(names), shown)

    def _let_go(self) -> None:
        if self._closed:
            return
        self._refuse_waiting()
        self._closed = True
        forget(self)
        self._sampling.close()
        for key in self._reported:
            records.remove(self.state_dir, key)
        busy = any(live.identity.is_alive() for live in self._live.values())
        self._watching.close()
        self._live.clear()
        self._specs.clear()
        self._names, self._named = NamesInUse(), {}
        self._queue.waiting.clear()
        if self._private and not busy:
            shutil.rmtree(self.state_dir, ignore_errors=True)
