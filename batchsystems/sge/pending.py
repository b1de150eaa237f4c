"""Why jobs of Grid Engine wait: qstat and qalter are asked, as the list of jobs does not say it.

Owns both questions and the reading of their answers; pure. Read next: dialect.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from batchsystems.commandline.dialect import PendingQueries
from batchsystems.sge.parse import some
from batchsystems.sge.tables import NEVER, UNJUDGED
from batchsystems.transport.local import Command, CommandResult


class SgePending(PendingQueries):
    """qstat for reasons as of now, and qalter for what can never run."""

    def commands(self, natives: Sequence[str]) -> tuple[Command, ...]:
        """Return both."""
        if not natives:
            return ()
        return (
            Command("queue", ("qstat", "-j", ",".join(natives))),
            Command("queue", ("qalter", "-w", "v", *natives)),
        )

    def parse(self, command: Command, ran: CommandResult) -> Mapping[str, str]:
        """Read the answer of either."""
        return read_details(ran) if command.argv[0] == "qstat" else read_checks(ran)


def read_details(ran: CommandResult) -> Mapping[str, str]:
    """Read `qstat -j`: what is said of why each job waits, or what put it into error."""
    found: dict[str, str] = {}
    for section in re.split(r"^=+\n", ran.stdout if ran.whole else "", flags=re.M):
        number = re.search(r"^job_number:\s+(\d{1,12})$", section, re.M)
        if number is None:
            continue
        errors = re.findall(
            r"^error reason\s+\d+:\s+(?:\S+ \S+ \[\d+:\d+\]: )?(.+)$", section, re.M
        )
        reasons = errors or sorted(_scheduling(section), key=_generality)
        if reasons:
            found[number[1]] = some(reasons)
    return found


def _scheduling(section: str) -> Iterator[str]:
    """Return the lines of the scheduler's own reasons, if it collects them."""
    info = re.search(r"^scheduling info:[ \t]+(.+(?:\n[ \t]+.+)*)", section, re.M)
    for line in info[1].split("\n") if info else ():
        if "information is turned off" not in line:
            yield line.strip()


def _generality(reason: str) -> bool:
    """Tell whether a reason is the cell's rather than the job's: the job's are told first."""
    return re.search(r"^queue instance|^All queues dropped", reason) is not None


def read_checks(ran: CommandResult) -> Mapping[str, str]:
    """Read `qalter -w v`: the jobs that no queue could ever run, even if all were idle."""
    reasons: dict[str, list[str]] = {}
    said = f"{ran.stdout}\n{ran.stderr}" if ran.whole else ""
    for number, reason in re.findall(r"^Job (\d{1,12}) (.+)$", said, re.M):
        reasons.setdefault(number, []).append(reason)
    return {
        number: f"{NEVER}: {some(told)}"
        for number, told in reasons.items()
        if not all(UNJUDGED in reason for reason in told)
    }
