"""Grid Engine's dialect: the commands that are given to it.

Owns argv builders; must hold no thread, no process and no clock. Rests on what Grid Engine 8.1.9
was seen to do. Read next: parse.py, where its text is parsed; resources.py, tables.py; cluster.py
and defaults.py, what Grid Engine alone needs.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from batchsystems.commandline.answers import QueryResult, Rejected, Submitted, Unkilled
from batchsystems.commandline.dialect import Dialect, Request, Validation
from batchsystems.commandline.limits import Limits
from batchsystems.commandline.reading import spans
from batchsystems.common.jobscript import private_lines
from batchsystems.sge import defaults
from batchsystems.sge.accounting import SgeRecords
from batchsystems.sge.cluster import SgeCluster, environment_of
from batchsystems.sge.parse import IDS, read_kill, read_queue, read_submission
from batchsystems.sge.pending import SgePending
from batchsystems.sge.resources import asking, environment_lines, guard_lines, is_plain
from batchsystems.sge.settings import SgeSettings
from batchsystems.sge.tables import LEFT_BY_A_JOB, NEVER, NODE_S_OWN, REMEDIES
from batchsystems.transport.local import Command, CommandResult, Private

CHECKS = {Validation.ON: "e", Validation.WHY: "v", Validation.OFF: "n"}


class SgeDialect(Dialect):
    """Grid Engine by qsub, qstat and qdel, and by its accounting file."""

    name = "sge"
    settings_class = SgeSettings
    programs = ("qsub", "qstat", "qdel")
    scrubbed = ("SGE_", "SLURM_", "SLURMD_", "PMI_", "PMIX_", "LSB_")
    scrubbed_names = LEFT_BY_A_JOB | defaults.SCRUBBED
    node_s_own = NODE_S_OWN
    kept = defaults.LOCATION | defaults.WISHES
    ids = IDS
    remedies = REMEDIES
    hopeless = f"^{NEVER}"
    pending = SgePending()
    defaults = defaults.SgeDefaults()

    def __init__(self, settings: SgeSettings | None = None, told: Sequence[str] = ()) -> None:
        super().__init__(settings, tuple(told))
        self.known = self.known.within(self.settings.queue)
        self.cluster = SgeCluster(self.settings)
        if self.settings.accounting not in ("", "none"):
            self.records = SgeRecords(self.settings)

    def submit(self, request: Request, limits: Limits) -> Command:
        """Return the qsub for it; the script comes by stdin and is not searched for options.

        What files of defaults ask for is dropped (-clear), and what of it is the user's to say
        given again. In / there is no such file.
        """
        own = self.settings
        output, cwd = request.output or "/dev/null", request.cwd
        words = ["-clear", *self.told]
        words += ["-terse", "-b", "n", "-C", "", "-S", shlex.split(own.shell)[0]]
        words += ["-N", request.name]
        words += ["-r", "n", "-m", "n", "-w", CHECKS[request.check] if own.check else "n"]
        words += ["-j", "y", "-o", output if is_plain(output) else "/dev/null"]
        words += ["-wd", cwd if is_plain(cwd) else "/"]
        if request.size is not None:
            words += ["-t", f"1-{request.size}"]
            words += ["-tc", str(own.concurrent)] if own.concurrent else []
        environment = own.pe or environment_of(limits) or "smp"
        words += asking(own, request, limits, environment)
        for directive in own.directives:
            words += shlex.split(directive)
        script, private = self._script(request)
        return Command("submit", ("qsub", *words), script, cwd="/", private=private)

    def _script(self, request: Request) -> tuple[str, Private | None]:
        """Return the job's script, and the file with that part which is not for everybody.

        The environment is in it, and not given by -V: that many sites forbid, and what it gives
        is shown to everybody by qstat and changed by login shells. Scripts themselves are for
        everybody to read where they are run: unless the caller keeps apart what is private, all
        of the environment goes into a file beside the job's output, if it has one.
        """
        head, output = [f"#!{self.settings.shell}", *guard_lines()], request.output
        if output is not None and not is_plain(output):
            head.append(f"exec >>{shlex.quote(output)} 2>&1")
        index = request.index("SGE_TASK_ID", first_task=1)
        lines = environment_lines(request, index, self.settings.setup)
        folder = os.path.dirname(output or "")
        whole = "\n".join([*head, *lines, ""])
        if request.private_env is not None or folder in ("", "/dev"):
            return whole, None
        path = os.path.join(folder, f".{request.name}.sh")
        if request.size is None:
            lines.insert(0, f"rm -f -- {shlex.quote(path)}")
        private = Private(path, "\n".join([*lines, ""]), whole)
        return "\n".join([*head, *private_lines(path, index), ""]), private

    def parse_submit(self, ran: CommandResult) -> Submitted | Rejected:
        """Read qsub's answer."""
        return read_submission(ran)

    def queue(self, names: Sequence[str] = ()) -> Command:
        """Return the qstat that shows all jobs of this user; none of them has ended."""
        return Command("queue", ("qstat", "-xml", "-u", "$user", "-s", "prs"))

    def parse_queue(self, ran: CommandResult) -> QueryResult:
        """Read qstat's answer."""
        return read_queue(ran)

    def kill(self, natives: Sequence[str]) -> Command:
        """Return the qdel for these jobs, tasks and arrays; tasks in a row become a range."""
        found = [self.ids.pattern.fullmatch(native) for native in natives]
        words = [each[1] for each in found if each and not each[2]]
        tasks: dict[str, list[int]] = {}
        for each in found:
            if each and each[2]:
                tasks.setdefault(each[1], []).append(int(each[2]))
        for submission, numbers in tasks.items():
            words += [f"{submission}.{span}" for span in spans(numbers)]
        return Command("kill", ("qdel", *words))

    def kill_named(self, name: str) -> Command | None:
        """Return the qdel for the submission of that name, which is unique."""
        return Command("kill", ("qdel", name))

    def parse_kill(self, ran: CommandResult) -> Unkilled | None:
        """Tell what came of it; the exit status says nothing about single jobs."""
        return read_kill(ran)
