"""Slurm: the commands that are given to it, and the adapter that joins all of it.

Owns argv builders; must hold no thread, no process and no clock. Rests on what Slurm 22.05 was
seen to do. Read next: parse.py, where its text is parsed; tables.py, the tables.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Self

from batchsystems.commandline.adapter import Clock, CommandLine, pacing_of
from batchsystems.commandline.dialect import (
    LITTLE,
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
from batchsystems.common.jobscript import NOT_LAUNCHED, setup_lines
from batchsystems.interface import INDEX, Caller, JobEnd, Reason, Resources
from batchsystems.site import Site
from batchsystems.slurm import capacity
from batchsystems.slurm import defaults as slurm_defaults
from batchsystems.slurm.parse import (
    HISTORY_FIELDS,
    NATIVE,
    QUEUE_FIELDS,
    SHAPES,
    close_partitions,
    read_history,
    read_kill,
    read_partitions,
    read_queue,
    read_submission,
)
from batchsystems.slurm.reasons import meaning, never
from batchsystems.slurm.resources import asking
from batchsystems.slurm.tables import SlurmSettings
from batchsystems.transport.local import Command, CommandResult, Transport

ZONES_S = 26 * 3600.0
"""The clocks of two zones differ by no more."""


class SlurmDialect(Dialect):
    """Slurm's commands and answers. preemptible partitions are told from the limits asked."""

    name = "slurm"
    programs = ("sbatch", "squeue", "scancel")
    scrubbed = (
        *("SLURM_", "SLURMD_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_", "SINFO_"),
        *("SCONTROL_", "SALLOC_", "SRUN_", "PMI_", "PMIX_", "SGE_", "LSB_"),
    )
    scrubbed_names = frozenset({"JOB_ID"})
    kept = slurm_defaults.LOCATION | slurm_defaults.WISHES
    fixed = slurm_defaults.FIXED
    by_name = True

    def __init__(
        self, settings: SlurmSettings | None = None, defaults: Mapping[str, str] | None = None
    ) -> None:
        self.settings = settings or SlurmSettings()
        self._defaults = defaults or {}
        self._user = str(os.getuid())  # old versions have no --me
        self._preemptible: frozenset[str] = frozenset()
        self.known = self._within(Limits(self.settings.tasks, self.settings.queues))

    def _argv(self, program: str, *words: str) -> tuple[str, ...]:
        cluster = self.settings.cluster
        return (program, *((f"--clusters={cluster}",) if cluster else ()), *words)

    # -- submitting ---------------------------------------------------------------------------

    def submit(self, request: Request, limits: Limits) -> Command:
        """Return the sbatch for it; the script comes by stdin, so that no path need be shared."""
        words = ["--parsable", f"--job-name={request.name}", "--no-requeue"]
        words += ["--open-mode=append", f"--output={_output(request.output)}"]
        words += ["-D", request.cwd, "--export=ALL", "--nodes=1", "--ntasks=1"]
        words += asking(self.settings, request, limits, "M")
        if request.size is not None:
            words.append(f"--array=0-{request.size - 1}")
        words += slurm_defaults.undoing(self._defaults, request.size, _output(request.output))
        words += self.settings.directives
        argv = self._argv("sbatch", *words)
        env = {**request.env, **slurm_defaults.undoing_env(self._defaults)}
        return Command("submit", argv, self._script(request), env, request.cwd)

    def _script(self, request: Request) -> str:
        index = f'"$((SLURM_ARRAY_TASK_ID + {request.first}))"'
        if request.size is None:
            index = str(request.first)
        words = [shlex.quote(f"{name}={value}") for name, value in request.given.items()]
        words = ["/usr/bin/env", *words] if words else []
        words += [index if word == INDEX else shlex.quote(word) for word in request.command]
        lines = [f"#!{self.settings.shell}"]
        lines += setup_lines(self.settings.setup, index, request.private_env)
        lines.append(f"cd -- {shlex.quote(request.cwd)} || exit {NOT_LAUNCHED}")
        return "\n".join([*lines, f"exec {' '.join(words)}", ""])

    def parse_submit(self, ran: CommandResult) -> Submitted | Rejected:
        """Read sbatch's answer."""
        return read_submission(ran)

    # -- looking ------------------------------------------------------------------------------

    def queue(self, names: Sequence[str] = ()) -> Command:
        """Return the squeue that shows all jobs of this user, ended ones too while it can.

        Those in partitions that are hidden, or closed to the user by now, are shown only by --all.
        """
        form = ",".join(f"{name}:{width}|" for name, width in QUEUE_FIELDS)
        words = (f"--user={self._user}", "--all", "-r", "-t", "all", "-O", form)
        only = (f"--name={','.join(names)}",) if names else ()
        return Command("queue", self._argv("squeue", *words, *only))

    def parse_queue(self, ran: CommandResult) -> QueryResult:
        """Read squeue's answer."""
        return read_queue(ran)

    def history(self, natives: Iterable[str], names: Iterable[str], since: float) -> Command | None:
        """Return the sacct for these: all runs of requeued jobs, none older than `since`.

        It reads that time by its own zone, which a wrapper may have set.
        """
        if not self.settings.accounting:
            return None
        start = datetime.fromtimestamp(max(0.0, since - ZONES_S), UTC).strftime("%Y-%m-%dT%H:%M:%S")
        words = ["-X", "-D", "-P", f"--format={HISTORY_FIELDS}", f"--starttime={start}"]
        ids, joined = ",".join(natives), ",".join(names)
        words += [f"--jobs={ids}"] if ids else []
        words += [f"--name={joined}"] if joined else []
        return Command("history", self._argv("sacct", *words))

    def parse_history(self, ran: CommandResult) -> QueryResult:
        """Read sacct's answer."""
        return read_history(ran, self._preemptible)

    # -- limits -------------------------------------------------------------------------------

    def discover(
        self, limits: Limits, tasks: int, asked: Resources = LITTLE
    ) -> tuple[Command, ...]:
        """Return what asks for the partitions, and for array sizes before a large array.

        Whom a partition is for is asked where a job does not go to the default one.
        """
        asks = []
        if not self.settings.queues:
            asks.append(Command("discover", self._argv("sinfo", "-h", "-e", "-o", SHAPES)))
            chosen = limits.choose(asked)
            if chosen is not None and not chosen.preferred:  # it matters which are open to whom
                show = ("scontrol", "--oneliner", "show", "partition")
                asks.append(Command("discover", self._argv(*show)))
        if limits.tasks is None and tasks > Timeouts().tasks:
            asks.append(Command("discover", self._argv("scontrol", "show", "config")))
        return tuple(asks)

    def capacity(self, limits: Limits, user: str) -> tuple[Command, ...]:
        """Return what asks for the partitions' sizes, and for the user's own limits."""
        asks = capacity.questions(self.settings, user)
        return tuple(Command("discover", self._argv(*argv)) for argv in asks)

    def parse_limits(self, command: Command, ran: CommandResult, limits: Limits) -> Limits:
        """Read sinfo, scontrol or sacctmgr; what cannot be read is not known."""
        if not ran.whole or ran.status != 0:
            return limits
        if "PartitionName=" in ran.stdout and not self.settings.queues:
            own, text = self.settings, ran.stdout
            queues = close_partitions(text, limits.queues, own.account, own.qos)
            limits = replace(limits, queues=tuple(queues))
        room = capacity.read_room(command.argv[0], ran.stdout, self.settings, limits)
        if room is not None:
            return room
        if command.argv[0] == "scontrol":
            size = re.search(r"^MaxArraySize\s*=\s*(\d+)\s*$", ran.stdout, re.M)
            return replace(limits, tasks=int(size[1])) if size and int(size[1]) else limits
        found = read_partitions(ran.stdout, self.settings.gres)
        return self._within(replace(limits, queues=found))

    def _within(self, limits: Limits) -> Limits:
        """Keep the partitions that the settings allow."""
        wanted = self.settings.partition.split(",") if self.settings.partition else None
        queues = tuple(q for q in limits.queues if wanted is None or q.name in wanted)
        self._preemptible = frozenset(q.name for q in limits.queues if q.preemptible)
        return replace(limits, queues=queues)

    # -- ending -------------------------------------------------------------------------------

    def kill(self, natives: Sequence[str]) -> Command:
        """Return the scancel for these jobs, tasks and arrays."""
        return Command("kill", self._argv("scancel", *natives))

    def kill_named(self, name: str) -> Command | None:
        """Return the scancel for this user's submission of that name."""
        return Command("kill", self._argv("scancel", f"--user={self._user}", f"--name={name}"))

    def parse_kill(self, ran: CommandResult) -> Unkilled | None:
        """Tell what came of it; scancel's exit status alone says nothing about single jobs."""
        return read_kill(ran)

    # -- ids and reasons ----------------------------------------------------------------------

    def split(self, native: str) -> tuple[str, int | None] | None:
        """Split `12_3` into the job and the task."""
        found = NATIVE.fullmatch(native)
        return None if found is None else (found[1], int(found[2]) if found[2] else None)

    def join(self, submission: str, task: int) -> str:
        """Return `12_3`, never the raw id, which another task may have as its array's."""
        return f"{submission}_{task}"

    def remedy(self, why: str) -> str:
        """Look the reason up; `ReqNodeNotAvail, UnavailableNodes:n2` by its beginning."""
        return meaning(why)

    def hopeless(self, why: str) -> bool:
        """Tell whether only a person can make the job start."""
        return never(why)

    def suspicious(self, end: JobEnd) -> bool:
        """Without cgroups a job killed for its memory looks as if killed by anybody."""
        return end.reason is Reason.FAILED and end.signal == 9

    def reread(self, end: JobEnd, native: str, tail: str) -> JobEnd:
        """Find slurmstepd's own words in the job's output."""
        step = rf"(?:StepId|JobId)={re.escape(native)}(?:\.\w+)?\b"
        found = re.search(rf"^.*{step} exceeded memory limit.*$", tail, re.M)
        if found is None:
            return end
        evidence = (*end.evidence, f"its output says: {found[0].strip()}")
        return replace(end, reason=Reason.OUT_OF_MEMORY, evidence=evidence)


class Slurm(CommandLine):
    """Slurm by its commands: sbatch, squeue, scancel, and sacct where there is accounting.

    What the settings leave open is as the user's SBATCH_* say, where that is theirs to say.
    """

    def __init__(
        self,
        settings: SlurmSettings | None = None,
        pace: Pace | None = None,
        timeouts: Timeouts | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        own = slurm_defaults.with_wishes(settings or SlurmSettings(), os.environ)
        defaults = slurm_defaults.defaults_of(default_files.read([slurm_defaults.FILE]))
        slurm_defaults.require_harmless(defaults)
        super().__init__(SlurmDialect(own, defaults), pace, timeouts, transport, clock)
        self.tell_wishes(*slurm_defaults.wishes(own, os.environ))

    @classmethod
    def from_site(cls, site: Site, section: str, caller: Caller) -> Self:
        """Make one by the table [slurm], and by those that are for every scheduler."""
        return cls(site.make(SlurmSettings, section, "worker"), *pacing_of(site))


def _output(path: str | None) -> str:
    """Return a path as sbatch takes it literally."""
    return "/dev/null" if path is None else path.replace("%", "%%")
