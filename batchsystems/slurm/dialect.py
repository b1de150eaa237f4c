"""Slurm's dialect: the commands that are given to it.

Owns argv builders; must hold no thread, no process and no clock. Rests on what Slurm 22.05 was
seen to do. Read next: parse.py, where its text is parsed; tables.py, the tables; cluster.py and
defaults.py, what Slurm alone needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from batchsystems.commandline.answers import QueryResult, Rejected, Submitted, Unkilled
from batchsystems.commandline.dialect import Dialect, Request
from batchsystems.commandline.limits import Limits
from batchsystems.slurm import defaults, parse
from batchsystems.slurm.cluster import SlurmCluster, argv
from batchsystems.slurm.resources import asking
from batchsystems.slurm.settings import SlurmSettings
from batchsystems.slurm.tables import HOPELESS, REMEDIES, SCRUBBED
from batchsystems.transport.local import Command, CommandResult

ZONES_S = 26 * 3600.0
"""The clocks of two zones differ by no more."""


class SlurmDialect(Dialect):
    """Slurm by sbatch, squeue, scancel, and sacct where there is accounting."""

    name = "slurm"
    settings_class = SlurmSettings
    programs = ("sbatch", "squeue", "scancel")
    scrubbed = SCRUBBED
    scrubbed_names = frozenset({"JOB_ID"})
    kept = defaults.LOCATION | defaults.WISHES
    fixed = defaults.FIXED
    by_name = True
    ids = parse.IDS
    remedies = REMEDIES
    hopeless = HOPELESS
    memory_words = r"(?:StepId|JobId)={native}(?:\.\w+)?\b exceeded memory limit"
    defaults = defaults.SlurmDefaults()

    def __init__(
        self, settings: SlurmSettings | None = None, told: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(settings, told or {})
        self.cluster = cluster = SlurmCluster(self.settings)
        self.known = cluster.within(self.known)
        self._user = str(os.getuid())  # old versions have no --me

    def _command(self, verb: str, program: str, *words: str) -> Command:
        return Command(verb, argv(self.settings, program, *words))

    def submit(self, request: Request, limits: Limits) -> Command:
        """Return the sbatch for it; the script comes by stdin, so that no path need be shared."""
        output = "/dev/null" if request.output is None else request.output.replace("%", "%%")
        words = ["--parsable", f"--job-name={request.name}", "--no-requeue"]
        words += ["--open-mode=append", f"--output={output}"]
        words += ["-D", request.cwd, "--export=ALL", "--nodes=1", "--ntasks=1"]
        words += asking(self.settings, request, limits, "M")
        if request.size is not None:
            words.append(f"--array=0-{request.size - 1}")
        words += defaults.undoing(self.told, request.size, output)
        words += self.settings.directives
        env = {**request.env, **defaults.undoing_env(self.told)}
        script = request.script(self.settings, request.index("SLURM_ARRAY_TASK_ID"))
        return Command("submit", argv(self.settings, "sbatch", *words), script, env, request.cwd)

    def parse_submit(self, ran: CommandResult) -> Submitted | Rejected:
        """Read sbatch's answer."""
        return parse.read_submission(ran)

    def queue(self, names: Sequence[str] = ()) -> Command:
        """Return the squeue that shows all jobs of this user, ended ones too while it can.

        Those in partitions that are hidden, or closed to the user by now, are shown only by --all.
        """
        form = ",".join(f"{name}:{width}|" for name, width in parse.QUEUE_FIELDS)
        words = (f"--user={self._user}", "--all", "-r", "-t", "all", "-O", form)
        return self._command("queue", "squeue", *words, *_only("--name", names))

    def parse_queue(self, ran: CommandResult) -> QueryResult:
        """Read squeue's answer."""
        return parse.read_queue(ran)

    def history(self, natives: Sequence[str], names: Sequence[str], since: float) -> Command | None:
        """Return the sacct for these: all runs of requeued jobs, none older than `since`.

        It reads that time by its own zone, which a wrapper may have set.
        """
        if not self.settings.accounting:
            return None
        start = datetime.fromtimestamp(max(0.0, since - ZONES_S), UTC).strftime("%Y-%m-%dT%H:%M:%S")
        words = ["-X", "-D", "-P", f"--format={parse.HISTORY_FIELDS}", f"--starttime={start}"]
        words += [*_only("--jobs", natives), *_only("--name", names)]
        return self._command("history", "sacct", *words)

    def parse_history(self, ran: CommandResult, limits: Limits) -> QueryResult:
        """Read sacct's answer."""
        return parse.read_history(ran, limits.facts.get("preemptible", ()))

    def kill(self, natives: Sequence[str]) -> Command:
        """Return the scancel for these jobs, tasks and arrays."""
        return self._command("kill", "scancel", *natives)

    def kill_named(self, name: str) -> Command:
        """Return the scancel for this user's submission of that name."""
        return self._command("kill", "scancel", f"--user={self._user}", f"--name={name}")

    def parse_kill(self, ran: CommandResult) -> Unkilled | None:
        """Tell what came of it; scancel's exit status alone says nothing about single jobs."""
        return parse.read_kill(ran)


def _only(option: str, values: Iterable[str]) -> list[str]:
    joined = ",".join(values)
    return [f"{option}={joined}"] if joined else []
