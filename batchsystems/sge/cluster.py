"""What a Grid Engine has, and how many jobs it runs at once: questions and answers. Pure.

Owns the questions, and the bounds that queues, resource quotas and the scheduler set, as Grid
Engine 8.1.9 was seen to tell them; must not know jobs. Read next: dialect.py.

Each bound is an upper one: other users' jobs, and resources such as memory, leave less.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from batchsystems.commandline.dialect import ClusterQueries
from batchsystems.commandline.limits import LITTLE, Bound, Limits
from batchsystems.commandline.pacing import Timeouts
from batchsystems.interface import Resources
from batchsystems.sge.settings import SgeSettings
from batchsystems.transport.local import Command, CommandResult

QUESTIONS = (
    ("qstat", "-g", "c"),
    ("qconf", "-sq", "*"),
    ("qconf", "-ssconf"),
    ("qconf", "-srqs"),
)
QUEUES, SCHEDULER, QUOTAS = "queues", "scheduler", "quotas"


MOST_ENVIRONMENTS = 16
"""So many parallel environments are looked at, to find one for jobs of several cpus."""


def environment_of(limits: Limits) -> str | None:
    """Return a parallel environment that keeps a job on one host, None if none is known."""
    known = limits.facts.get("environments", {})
    return next((name for name, fits in known.items() if fits), None)


class SgeCluster(ClusterQueries):
    """Asks for queues, quotas and array sizes, and for an environment for jobs of several cpus.

    The fact "environments" has the names of parallel environments, and whether each keeps a job
    on one host (None: not asked yet).
    """

    def __init__(self, settings: SgeSettings) -> None:
        self._own = settings

    def discover(
        self, limits: Limits, tasks: int, asked: Resources = LITTLE
    ) -> tuple[Command, ...]:
        """Return what asks for array sizes, and for an environment for jobs of several cpus."""
        asks: list[tuple[str, ...]] = []
        if limits.tasks is None and tasks > Timeouts().tasks:
            asks.append(("qconf", "-sconf"))
        if asked.cpus > 1 and not self._own.pe:
            asks.append(("qconf", "-spl"))
            if environment_of(limits) is None:
                names = list(limits.facts.get("environments", ()))[:MOST_ENVIRONMENTS]
                asks += [("qconf", "-sp", name) for name in names]
        return tuple(Command("discover", argv) for argv in asks)

    def capacity(self, limits: Limits) -> tuple[Command, ...]:
        """Return what asks for the queues' slots, and for quotas."""
        return tuple(Command("discover", argv) for argv in QUESTIONS)

    def parse(self, command: Command, ran: CommandResult, limits: Limits) -> Limits:
        """Read qconf or qstat; what cannot be read is not known."""
        argv, text = command.argv, ran.stdout
        if not ran.whole or ran.status != 0:
            return limits
        if argv[:3] == QUESTIONS[0]:
            return limits.bounded(QUEUES, _queues(text, self._own))
        if argv[1] == "-sq":
            return limits.bounded(QUEUES, _with_times(text, limits))
        if argv[1] == "-ssconf":
            # max_u_jobs of the cell counts arrays, not their tasks: it bounds submissions
            most = re.search(r"^maxujobs\s+(\d{1,9})\s*$", text, re.M)
            found = [Bound(SCHEDULER, int(most[1]))] if most and int(most[1]) else []
            return limits.bounded(SCHEDULER, found)
        if argv[1] == "-srqs":
            return limits.bounded(QUOTAS, _quotas(text, self._own, limits.user))
        if argv[1] == "-sconf":
            size = re.search(r"^max_aj_tasks\s+(\d{1,9})\s*$", text, re.M)
            return replace(limits, tasks=int(size[1])) if size and int(size[1]) else limits
        if argv[1] == "-spl":
            names = [name for name in text.split() if re.fullmatch(r"[\w.-]+", name)]
            usual = [name for name in names if re.search(r"smp|shm|thread|openmp|share", name)]
            return limits.knowing(environments=dict.fromkeys([*usual, *names]))
        if argv[1] == "-sp":
            fits = re.search(r"^allocation_rule\s+\$pe_slots\s*$", text, re.M) is not None
            known = limits.facts.get("environments", {})
            return limits.knowing(environments={**known, argv[2]: fits})
        return limits

    def impossible(self, asked: Resources, limits: Limits) -> str:
        """Add to what the limits tell that several cpus need a parallel environment."""
        known = limits.facts.get("environments")
        looked = known is not None and None not in known.values()
        if asked.cpus > 1 and not self._own.pe and looked and environment_of(limits) is None:
            return (
                f"asks for {asked.cpus} cpus, and there is no parallel environment here that "
                "keeps a job on one host (allocation_rule $pe_slots): name one in the settings, "
                "or have one made: qconf -spl lists them"
            )
        return limits.impossible(asked)


def _queues(text: str, own: SgeSettings) -> Iterator[Bound]:
    """Yield the slots of each queue that are not disabled or in error."""
    wanted = own.queue.split(",") if own.queue else None
    for line in text.splitlines():
        found = re.fullmatch(r"(\S+)\s+\S+\s+\d+\s+\d+\s+\d+\s+(\d+)\s+\d+\s+(\d+)\s*", line)
        if found is None or (wanted is not None and found[1] not in wanted):
            continue
        yield Bound(QUEUES, max(0, int(found[2]) - int(found[3])), found[1], shared=True)


def _with_times(text: str, limits: Limits) -> Iterator[Bound]:
    """Yield the queues known, with how long jobs in them may be; host groups may differ in it."""
    found = re.findall(r"^qname\s+(\S+)$|^h_rt\s+(\d+):(\d+):(\d+)$", text, re.M)
    times: dict[str, float] = {}
    name = ""
    for named, *parts in found:
        name = named or name
        if not named:
            hours, minutes, seconds = map(int, parts)
            times[name] = 60.0 * (60 * hours + minutes) + seconds
    for bound in limits.bounds:
        if bound.source == QUEUES:
            yield replace(bound, time_s=times.get(bound.queue))


def _quotas(text: str, own: SgeSettings, user: str) -> Iterator[Bound]:
    """Yield the slots that resource quota sets leave a user: of each the first rule that fits."""
    for rules in re.findall(r"^\{(.*?)^\}", text, re.M | re.S):
        if not re.search(r"^\s*enabled\s+TRUE", rules, re.M | re.I):
            continue
        for filters, amounts in re.findall(
            r"^\s*limit\s+(.*?)\s*\bto\b\s+(.+?)\s*$", rules.replace("\\\n", " "), re.M
        ):
            queues = _scope(filters, own, user)
            if queues is None:
                continue
            slots = re.search(r"(?:^|,)\s*slots=(\d{1,9})\b(?!\*)", amounts)
            if slots:
                yield from (Bound(QUOTAS, int(slots[1]), queue) for queue in queues)
            break


def _scope(filters: str, own: SgeSettings, user: str) -> list[str] | None:
    """Return the queues that a rule is for ([""]: all), [] if it is by host; None: for others."""
    words = filters.split()
    if words and words[0] == "name":
        words = words[2:]
    said = dict(zip(words[::2], words[1::2], strict=False))
    if not _fits(said.get("users"), user) or not _fits(said.get("projects"), own.project):
        return None
    if said.get("pes", "") not in ("", "NONE"):
        return None
    if "hosts" in said:
        return []
    if "queues" not in said or said["queues"].strip("{}") == "*":
        return [""]
    return [
        name for name in said["queues"].strip("{}").split(",") if re.fullmatch(r"[\w.-]+", name)
    ]


def _fits(names: str | None, name: str) -> bool:
    """Tell whether a filter is for somebody of this name; lists are not looked into."""
    if names is None:
        return True
    listed = names.strip("{}").split(",")
    return bool(name) and f"!{name}" not in listed and ("*" in listed or name in listed)
