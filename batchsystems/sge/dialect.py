"""Grid Engine: the commands that are given to it, and the adapter that joins all of it.

Owns argv builders; must hold no thread, no process and no clock. Rests on what Grid Engine 8.1.9
was seen to do. Read next: parse.py, where its text is parsed; resources.py, tables.py.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

from batchsystems.commandline.adapter import Clock, CommandLine, pacing_of
from batchsystems.commandline.dialect import (
    LITTLE,
    Dialect,
    Limits,
    Observation,
    QueryResult,
    RecordKey,
    Rejected,
    Request,
    Submitted,
    Unkilled,
    Validation,
)
from batchsystems.commandline.pacing import Pace, Timeouts
from batchsystems.common import default_files
from batchsystems.common.jobscript import NOT_LAUNCHED, private_lines, setup_lines
from batchsystems.interface import INDEX, Caller, Resources
from batchsystems.sge import capacity, defaults
from batchsystems.sge.parse import (
    NATIVE,
    is_damaged,
    read_checks,
    read_details,
    read_kill,
    read_queue,
    read_records,
    read_submission,
    record_key,
)
from batchsystems.sge.resources import asking, given_words, known_limits
from batchsystems.sge.tables import (
    AWKWARD,
    KILL_NOTED,
    LEFT_BY_A_JOB,
    NEVER,
    NODE_S_OWN,
    NOT_INHERITED,
    REMEDIES,
    RERUN_STATUS,
    SgeSettings,
)
from batchsystems.site import Site
from batchsystems.transport.local import Command, CommandResult, Private, Transport

MOST_ENVIRONMENTS = 16
"""So many parallel environments are looked at, to find one for jobs of several cpus."""

CHECKS = {Validation.ON: "e", Validation.WHY: "v", Validation.OFF: "n"}


class SgeDialect(Dialect):
    """Grid Engine's commands and answers. Tasks are numbered from 1 there, from 0 here."""

    name = "sge"
    programs = ("qsub", "qstat", "qdel")
    scrubbed = ("SGE_", "SLURM_", "SLURMD_", "PMI_", "PMIX_", "LSB_")
    scrubbed_names = LEFT_BY_A_JOB | defaults.SCRUBBED
    node_s_own = NODE_S_OWN
    kept = defaults.LOCATION | defaults.WISHES
    tells_reasons = True

    def __init__(self, settings: SgeSettings | None = None, wishes: Sequence[str] = ()) -> None:
        self.settings = settings or SgeSettings()
        self._wishes = tuple(wishes)
        self.known = known_limits(self.settings)
        self._environments: dict[str, bool | None] = {}
        self._listed = False
        self._user = ""

    # -- submitting ---------------------------------------------------------------------------

    def submit(self, request: Request, limits: Limits) -> Command:
        """Return the qsub for it; the script comes by stdin and is not searched for options.

        What files of defaults ask for is dropped (-clear), and what of it is the user's to say
        given again. In / there is no such file.
        """
        own = self.settings
        output, cwd = request.output or "/dev/null", request.cwd
        words = ["-clear", *self._wishes]
        words += [
            "-terse",
            "-b",
            "n",
            "-C",
            "",
            "-S",
            shlex.split(own.shell)[0],
            "-N",
            request.name,
        ]
        words += ["-r", "n", "-m", "n", "-w", CHECKS[request.check] if own.check else "n"]
        words += ["-j", "y", "-o", output if _plain(output) else "/dev/null"]
        words += ["-wd", cwd if _plain(cwd) else "/"]
        if request.size is not None:
            words += ["-t", f"1-{request.size}"]
            words += ["-tc", str(own.concurrent)] if own.concurrent else []
        environment = own.pe or self._environment() or "smp"
        words += asking(own, request, limits, environment)
        for directive in own.directives:
            words += shlex.split(directive)
        script, private = self._script(request)
        return Command("submit", ("qsub", *words), script, cwd="/", private=private)

    def _script(self, request: Request) -> tuple[str, Private | None]:
        """Return the job's script, and the file with that part which is not for everybody.

        One that is being run again, or was killed, ends at once.

        A shepherd that is told to kill a job between fork and setsid reaches nobody, and ignores
        every later kill (8.1.9): what it noted in its trace is then done here.
        The environment is in it, and not given by -V: that many sites forbid, and what it gives
        is shown to everybody by qstat and changed by login shells. Scripts themselves are for
        everybody to read where they are run: unless the caller keeps apart what is private, all
        of the environment goes into a file beside the job's output, if it has one.
        """
        lines = [f"#!{self.settings.shell}", f'[ "${{RESTARTED:-0}}" = 0 ] || exit {RERUN_STATUS}']
        lines.append(f'grep -q "{KILL_NOTED}" "$SGE_JOB_SPOOL_DIR/trace" 2>/dev/null && kill -9 $$')
        head, lines = lines, []
        lines += [f"unset {name}" for name in NOT_INHERITED if name not in request.env]
        through_env = [shlex.quote(word) for word in given_words(request)]
        for name, value in request.env.items():
            if name in AWKWARD or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                through_env.append(shlex.quote(f"{name}={value}"))
            elif name not in NODE_S_OWN:
                lines.append(f"export {name}={shlex.quote(value)}")
        if request.output is not None and not _plain(request.output):
            head.append(f"exec >>{shlex.quote(request.output)} 2>&1")
        index = f'"$((SGE_TASK_ID + {request.first - 1}))"'
        if request.size is None:
            index = str(request.first)
        lines += setup_lines(self.settings.setup, index, request.private_env)
        lines.append(f"cd -- {shlex.quote(request.cwd)} || exit {NOT_LAUNCHED}")
        words = ["/usr/bin/env", *through_env] if through_env else []
        words += [index if word == INDEX else shlex.quote(word) for word in request.command]
        lines.append(f"exec {' '.join(words)} </dev/null")
        folder = os.path.dirname(request.output or "")
        if request.private_env is not None or folder in ("", "/dev"):
            return "\n".join([*head, *lines, ""]), None
        path = os.path.join(folder, f".{request.name}.sh")
        otherwise = "\n".join([*head, *lines, ""])
        if request.size is None:
            lines.insert(0, f"rm -f -- {shlex.quote(path)}")
        text = "\n".join([*lines, ""])
        return "\n".join([*head, *private_lines(path, index), ""]), Private(path, text, otherwise)

    def parse_submit(self, ran: CommandResult) -> Submitted | Rejected:
        """Read qsub's answer."""
        return read_submission(ran)

    # -- looking ------------------------------------------------------------------------------

    def queue(self, names: Sequence[str] = ()) -> Command:
        """Return the qstat that shows all jobs of this user; none of them has ended."""
        return Command("queue", ("qstat", "-xml", "-u", "$user", "-s", "prs"))

    def parse_queue(self, ran: CommandResult) -> QueryResult:
        """Read qstat's answer."""
        return read_queue(ran)

    def record_file(self) -> str:
        """Return the cell's accounting file, to which qmaster appends."""
        told = self.settings.accounting
        if told:
            return "" if told == "none" else told
        return os.path.join(defaults.common(os.environ), "accounting")

    def record_key(self, line: str) -> RecordKey | None:
        """Read whose record it is."""
        return record_key(line)

    def parse_records(self, lines: Sequence[str]) -> list[Observation]:
        """Read records; accounting counts memory as h_vmem does, and as nothing else."""
        return read_records(lines, any(name.endswith("vmem") for name in self.settings.memory))

    def damaged(self, line: str) -> bool:
        """Tell whether it is no record that could be read."""
        return is_damaged(line)

    def reasons(self, natives: Sequence[str]) -> tuple[Command, ...]:
        """Return the qstat for reasons as of now, and the qalter for what can never run."""
        if not natives:
            return ()
        return (
            Command("queue", ("qstat", "-j", ",".join(natives))),
            Command("queue", ("qalter", "-w", "v", *natives)),
        )

    def parse_reasons(self, command: Command, ran: CommandResult) -> Mapping[str, str]:
        """Read the answer of either."""
        return read_details(ran) if command.argv[0] == "qstat" else read_checks(ran)

    # -- limits -------------------------------------------------------------------------------

    def discover(
        self, limits: Limits, tasks: int, asked: Resources = LITTLE
    ) -> tuple[Command, ...]:
        """Return what asks for array sizes, and for an environment for jobs of several cpus."""
        asks: list[tuple[str, ...]] = []
        if limits.tasks is None and tasks > Timeouts().tasks:
            asks.append(("qconf", "-sconf"))
        if asked.cpus > 1 and not self.settings.pe:
            asks.append(("qconf", "-spl"))
            if self._environment() is None:
                names = list(self._environments)[:MOST_ENVIRONMENTS]
                asks += [("qconf", "-sp", name) for name in names]
        return tuple(Command("discover", argv) for argv in asks)

    def capacity(self, limits: Limits, user: str) -> tuple[Command, ...]:
        """Return what asks for the queues' slots, and for quotas."""
        self._user = user
        return tuple(Command("discover", argv) for argv in capacity.QUESTIONS)

    def parse_limits(self, command: Command, ran: CommandResult, limits: Limits) -> Limits:
        """Read qconf or qstat; what cannot be read is not known."""
        if not ran.whole or ran.status != 0:
            return limits
        room = capacity.read_room(command.argv, ran.stdout, self.settings, self._user, limits)
        if room is not None:
            return room
        if command.argv[1] == "-sconf":
            size = re.search(r"^max_aj_tasks\s+(\d{1,9})\s*$", ran.stdout, re.M)
            return replace(limits, tasks=int(size[1])) if size and int(size[1]) else limits
        if command.argv[1] == "-spl":
            names = [name for name in ran.stdout.split() if re.fullmatch(r"[\w.-]+", name)]
            usual = [name for name in names if re.search(r"smp|shm|thread|openmp|share", name)]
            self._environments = dict.fromkeys([*usual, *names])
            self._listed = True
        elif command.argv[1] == "-sp":
            rule = re.search(r"^allocation_rule\s+\$pe_slots\s*$", ran.stdout, re.M)
            self._environments[command.argv[2]] = rule is not None
        return limits

    def _environment(self) -> str | None:
        """Return a parallel environment that keeps a job on one host, None if none is known."""
        return next((name for name, fits in self._environments.items() if fits), None)

    def impossible(self, asked: Resources, limits: Limits) -> str:
        """Add to what the limits tell that several cpus need a parallel environment."""
        looked = self._listed and None not in self._environments.values()
        if asked.cpus > 1 and not self.settings.pe and looked and self._environment() is None:
            return (
                f"asks for {asked.cpus} cpus, and there is no parallel environment here that "
                "keeps a job on one host (allocation_rule $pe_slots): name one in the settings, "
                "or have one made: qconf -spl lists them"
            )
        return limits.impossible(asked)

    # -- ending -------------------------------------------------------------------------------

    def kill(self, natives: Sequence[str]) -> Command:
        """Return the qdel for these jobs, tasks and arrays; tasks in a row become a range."""
        found = [NATIVE.fullmatch(native) for native in natives]
        words = [each[1] for each in found if each and not each[2]]
        tasks: dict[str, list[int]] = {}
        for each in found:
            if each and each[2]:
                tasks.setdefault(each[1], []).append(int(each[2]))
        for submission, numbers in tasks.items():
            words += [f"{submission}.{span}" for span in _spans(sorted(numbers))]
        return Command("kill", ("qdel", *words))

    def kill_named(self, name: str) -> Command | None:
        """Return the qdel for the submission of that name, which is unique."""
        return Command("kill", ("qdel", name))

    def parse_kill(self, ran: CommandResult) -> Unkilled | None:
        """Tell what came of it; the exit status says nothing about single jobs."""
        return read_kill(ran)

    # -- ids and reasons ----------------------------------------------------------------------

    def split(self, native: str) -> tuple[str, int | None] | None:
        """Split `12.3` into the job and the task, which is 2 here."""
        found = NATIVE.fullmatch(native)
        return None if found is None else (found[1], int(found[2]) - 1 if found[2] else None)

    def join(self, submission: str, task: int) -> str:
        """Return `12.3` for the task 2 of the job 12."""
        return f"{submission}.{task + 1}"

    def remedy(self, why: str) -> str:
        """Look the reason up."""
        return next((text for pattern, text in REMEDIES if re.search(pattern, why)), "")

    def hopeless(self, why: str) -> bool:
        """Tell whether no queue could run it, even if all were idle."""
        return why.startswith(NEVER)


class Sge(CommandLine):
    """Grid Engine by its commands, qsub, qstat and qdel, and by its accounting file."""

    def __init__(
        self,
        settings: SgeSettings | None = None,
        pace: Pace | None = None,
        timeouts: Timeouts | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        common = defaults.common(os.environ)
        requests = default_files.read(defaults.paths(common, defaults.REQUESTS))
        listings = default_files.read(defaults.paths(common, defaults.LISTINGS))
        defaults.require_harmless(requests, listings)
        wishes = defaults.read_wishes(requests)
        dialect = SgeDialect(settings, wishes.options)
        super().__init__(dialect, pace, timeouts, transport, clock)
        self.tell_wishes(wishes.followed, wishes.others)

    @classmethod
    def from_site(cls, site: Site, section: str, caller: Caller) -> Self:
        """Make one by the table [sge], and by those that are for every scheduler."""
        return cls(site.make(SgeSettings, section, "worker"), *pacing_of(site))


def _spans(numbers: Sequence[int]) -> list[str]:
    """Return `2-4` and `8` for 2, 3, 4 and 8."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return [f"{first}-{last}" if last > first else str(first) for first, last in spans]


def _plain(path: str) -> bool:
    """Tell whether qsub takes a path as it is: no variable, no host before a colon, no list."""
    return re.fullmatch(r"[\w./ +=%@-]+", path) is not None
