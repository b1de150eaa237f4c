"""What a Slurm has, and how many jobs it runs at once for a user: questions and answers. Pure.

Owns the questions, and the bounds that partitions, associations and QOS set, as Slurm 22.05 was
seen to tell them; must not know jobs. Read next: dialect.py.

Each bound is an upper one: other users' jobs, nodes that are down and memory leave less.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from batchsystems.commandline.dialect import ClusterQueries
from batchsystems.commandline.limits import LITTLE, Bound, Limits, Queue
from batchsystems.commandline.pacing import Timeouts
from batchsystems.commandline.reading import pairs, seconds
from batchsystems.interface import Resources
from batchsystems.slurm.settings import SlurmSettings
from batchsystems.transport.local import Command, CommandResult

QOS_LIMITS = (
    *("maxjobsperuser", "maxsubmitjobsperuser", "grpjobs", "grpsubmitjobs"),
    *("grptres", "maxtresperuser"),
)
"""Those of a QOS that bound what one user runs."""

USUAL_QOS = "normal"
"""What jobs have that name none, unless an association says otherwise."""

SHAPES = "%R|%l|%c|%m|%G|%M|%P|%p|%a|%r|%B"
"""What sinfo is to tell of the nodes of each partition, a line for each shape of them."""

SHOW_PARTITIONS = ("scontrol", "--oneliner", "show", "partition")

PARTITIONS, ASSOCIATIONS, QOS = "partitions", "associations", "qos"


def argv(own: SlurmSettings, program: str, *words: str) -> tuple[str, ...]:
    """Return a command for the cluster of the settings."""
    return (program, *((f"--clusters={own.cluster}",) if own.cluster else ()), *words)


class SlurmCluster(ClusterQueries):
    """Asks the controller for partitions and associations, and the database for QOS."""

    def __init__(self, settings: SlurmSettings) -> None:
        self._own = settings

    def _ask(self, *words: str) -> Command:
        return Command("discover", argv(self._own, *words))

    def discover(
        self, limits: Limits, tasks: int, asked: Resources = LITTLE
    ) -> tuple[Command, ...]:
        """Return what asks for the partitions, and for array sizes before a large array.

        Whom a partition is for is asked where a job does not go to the default one.
        """
        asks = []
        if not self._own.queues:
            asks.append(self._ask("sinfo", "-h", "-e", "-o", SHAPES))
            chosen = limits.choose(asked)
            if chosen is not None and not chosen.preferred:  # it matters which are open to whom
                asks.append(self._ask(*SHOW_PARTITIONS))
        if limits.tasks is None and tasks > Timeouts().tasks:
            asks.append(self._ask("scontrol", "show", "config"))
        return tuple(asks)

    def capacity(self, limits: Limits) -> tuple[Command, ...]:
        """Return what asks for the partitions' sizes, and for the user's own limits."""
        asks = [self._ask(*SHOW_PARTITIONS)]
        if limits.user:
            user = f"users={limits.user}"
            asks.append(self._ask("scontrol", "show", "assoc_mgr", user, "flags=assoc"))
        if self._own.accounting:
            form = f"format=name,{','.join(QOS_LIMITS)}"
            asks.append(self._ask("sacctmgr", "--noheader", "--parsable2", "show", "qos", form))
        return tuple(asks)

    def parse(self, command: Command, ran: CommandResult, limits: Limits) -> Limits:
        """Read sinfo, scontrol or sacctmgr; what cannot be read is not known."""
        own, text, program = self._own, ran.stdout, command.argv[0]
        if not ran.whole or ran.status != 0:
            return limits
        if "PartitionName=" in text and program == "scontrol":
            if not own.queues:
                shapes = limits.facts.get("shapes", limits.queues)
                queues = close_partitions(text, shapes, own.account, own.qos)
                limits = replace(limits, queues=tuple(queues))
            return limits.bounded(PARTITIONS, _partitions(text))
        if text.startswith("Current Association Manager state"):
            return limits.bounded(ASSOCIATIONS, _associations(text, own.account))
        if program == "sacctmgr":
            return limits.bounded(QOS, _qos(text, own.qos or USUAL_QOS, limits))
        if program == "scontrol":
            size = re.search(r"^MaxArraySize\s*=\s*(\d+)\s*$", text, re.M)
            return replace(limits, tasks=int(size[1])) if size and int(size[1]) else limits
        limits = self.within(replace(limits, queues=read_partitions(text, own.gres)))
        return limits.knowing(shapes=limits.queues)  # scontrol's answers close them anew

    def within(self, limits: Limits) -> Limits:
        """Keep the partitions that the settings allow, and note which of all are preemptible."""
        preemptible = frozenset(q.name for q in limits.queues if q.preemptible)
        return limits.within(self._own.partition).knowing(preemptible=preemptible)


def _partitions(text: str) -> Iterator[Bound]:
    """Yield the processors of each partition, and by which QOS it is bounded (see _qos)."""
    for line in text.splitlines():
        words = pairs(line)
        name, cpus = words.get("PartitionName", ""), _number(words.get("TotalCPUs", ""))
        if not name or cpus is None:
            continue
        nodes = _number(words.get("TotalNodes", ""))
        most_cpus = _number(words.get("MaxCPUsPerNode", ""))
        if nodes and most_cpus:
            cpus = min(cpus, nodes * most_cpus)
        yield Bound(PARTITIONS, cpus, name, words.get("QoS", ""))


def _associations(text: str, account: str) -> Iterator[Bound]:
    """Yield what bounds a user's association, and the accounts above it."""
    records = [pairs(each) for each in re.split(r"^(?=ClusterName=)", text, flags=re.M)[1:]]
    mine = [each for each in records if each.get("UserName") and not each.get("Partition")]
    named = [each for each in mine if each.get("Account") == account]
    usual = [each for each in mine if each.get("DefAssoc") == "Yes"]
    chosen = next(iter([*named, *(() if account else usual)]), None)
    accounts = {each.get("Account", ""): each for each in records if not each.get("UserName")}
    seen: set[str] = set()
    own = True
    while chosen is not None:
        yield from (Bound(ASSOCIATIONS, most) for most in _numbers(chosen, own))
        above = chosen.get("Account", "") if own else chosen.get("ParentAccount", "")
        above = above.partition("(")[0]
        own = False
        if above in seen:
            return
        seen.add(above)
        chosen = accounts.get(above)


def _numbers(record: Mapping[str, str], own: bool) -> Iterator[int]:
    """Yield the limits of an association; those on single users only of the user's own."""
    keys = ("GrpJobs", "GrpSubmitJobs", *(("MaxJobs", "MaxSubmitJobs") if own else ()))
    for key in keys:
        number = _number(record.get(key, "").partition("(")[0])
        if number is not None:
            yield number
    cpus = re.search(r"(?:^|,)cpu=(\d+)\(", record.get("GrpTRES", ""))
    if cpus:
        yield int(cpus[1])


def _qos(text: str, usual: str, limits: Limits) -> Iterator[Bound]:
    """Yield what the QOS of jobs bounds, and what those of partitions do there."""
    known: dict[str, int] = {}
    for line in text.splitlines():
        name, *cells = line.split("|")
        if len(cells) != len(QOS_LIMITS):
            continue
        numbers = [number for cell in cells[:4] if (number := _number(cell)) is not None]
        numbers += [int(each) for cell in cells[4:] for each in re.findall(r"\bcpu=(\d+)", cell)]
        if numbers:
            known[name] = min(numbers)
    if usual in known:
        yield Bound(QOS, known[usual])
    for bound in limits.bounds:
        if bound.source == PARTITIONS and bound.by in known:
            yield Bound(QOS, known[bound.by], bound.queue)


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,12}", text) else None


# ---- partitions ------------------------------------------------------------------------------

_SHAPE = re.compile(
    r"(?P<name>.+)\|(?P<limit>[^|]*)\|(?P<cpus>\d+)\+?\|(?P<memory>\d+)\+?\|(?P<gres>[^|]*)"
    r"\|(?P<preempts>[^|]*)\|(?P=name)(?P<default>\*?)\|(?P<tier>\d+)\|(?P<state>[^|]*)"
    r"\|(?P<root>[^|]*)\|(?P<most>[^|]*)"
)


def read_partitions(text: str, gres: str) -> tuple[Queue, ...]:
    """Read sinfo's answer; a row that cannot be read is left out.

    Where tiers differ, those of the highest are preempted by nobody. Above the default's tier jobs
    may push others out, if any can be pushed out at all.
    """
    rows = [row for line in text.splitlines() if (row := _SHAPE.fullmatch(line))]
    tiers = {int(row["tier"]) for row in rows}
    usual = min((int(row["tier"]) for row in rows if row["default"]), default=0)
    preempted = {row["name"] for row in rows if row["preempts"] not in ("OFF", "")}
    if len(tiers) > 1:
        preempted -= {row["name"] for row in rows if int(row["tier"]) == max(tiers)}
    return tuple(_partition(row, gres, usual, preempted) for row in rows)


def _partition(row: re.Match[str], gres: str, usual: int, preempted: Collection[str]) -> Queue:
    """Read a row of sinfo: the shape of some nodes of a partition."""
    pattern = rf"(?:^|,){re.escape(gres)}(?::[^:,(]+)?:(\d+)"
    cpus = int(row["cpus"])
    return Queue(
        row["name"],
        min(cpus, int(row["most"])) if re.fullmatch(r"\d{1,9}", row["most"]) else cpus,
        int(row["memory"]) * 2**20,
        sum(int(count) for count in re.findall(pattern, row["gres"])),
        seconds(row["limit"]),
        preferred=bool(row["default"]),
        preemptible=row["name"] in preempted,
        pushes=bool(preempted) and int(row["tier"]) > usual,
        tier=int(row["tier"]),
        closed=row["state"] != "up" or row["root"] == "yes",
    )


def close_partitions(text: str, queues: Iterable[Queue], account: str, qos: str) -> list[Queue]:
    """Return the queues, those closed that `scontrol show partition` says are not for everybody.

    One that is for some accounts or QOS is open to a user who names one of them; the default is
    open to one who names none.
    """
    told = {}
    for line in text.splitlines():
        words = pairs(line)
        told[words.get("PartitionName", "")] = words
    return [_closed(queue, told.get(queue.name, {}), account, qos) for queue in queues]


def _closed(queue: Queue, words: Mapping[str, str], account: str, qos: str) -> Queue:
    closed = queue.closed
    if "State" in words:  # sinfo is asked once
        closed = words["State"] != "UP" or words.get("RootOnly") == "YES"
    for kind, own in (("Accounts", account), ("Qos", qos)):
        allowed, denied = words.get(f"Allow{kind}", "ALL"), words.get(f"Deny{kind}", "")
        others = allowed.upper() != "ALL" and own not in allowed.split(",")
        closed = closed or (others and not (queue.preferred and not own))
        closed = closed or (own != "" and own in denied.split(","))
    few = words.get("MinNodes", "")
    closed = closed or (few.isdecimal() and int(few) > 1)
    most = words.get("MaxMemPerNode", "")
    memory_bytes = queue.memory_bytes
    if memory_bytes is not None and re.fullmatch(r"\d{1,12}", most):
        memory_bytes = min(memory_bytes, int(most) * 2**20)
    return replace(queue, closed=closed, memory_bytes=memory_bytes)
