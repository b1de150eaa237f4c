"""How many jobs a Slurm runs at once for a user: what is asked, and how it is read. Pure.

Owns the bounds that partitions, associations and QOS set, as Slurm 22.05 was seen to tell them;
must not know jobs. Read next: dialect.py.

Each bound is an upper one: other users' jobs, nodes that are down and memory leave less.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from batchsystems.commandline.dialect import Bound, Limits
from batchsystems.slurm.tables import SlurmSettings

QOS_LIMITS = (
    *("maxjobsperuser", "maxsubmitjobsperuser", "grpjobs", "grpsubmitjobs"),
    *("grptres", "maxtresperuser"),
)
"""Those of a QOS that bound what one user runs."""

USUAL_QOS = "normal"
"""What jobs have that name none, unless an association says otherwise."""

PARTITIONS, ASSOCIATIONS, QOS = "partitions", "associations", "qos"


def questions(own: SlurmSettings, user: str) -> tuple[tuple[str, ...], ...]:
    """Return the commands, without the cluster; the controller answers all but the last one."""
    asks: list[tuple[str, ...]] = [("scontrol", "--oneliner", "show", "partition")]
    if user:
        asks.append(("scontrol", "show", "assoc_mgr", f"users={user}", "flags=assoc"))
    if own.accounting:
        form = f"format=name,{','.join(QOS_LIMITS)}"
        asks.append(("sacctmgr", "--noheader", "--parsable2", "show", "qos", form))
    return tuple(asks)


def read_room(program: str, text: str, own: SlurmSettings, limits: Limits) -> Limits | None:
    """Add what the answer to one of them tells; None if it is an answer to something else."""
    if "PartitionName=" in text and program == "scontrol":
        return limits.bounded(PARTITIONS, _partitions(text))
    if text.startswith("Current Association Manager state"):
        return limits.bounded(ASSOCIATIONS, _associations(text, own.account))
    if program == "sacctmgr":
        return limits.bounded(QOS, _qos(text, own.qos or USUAL_QOS, limits))
    return None


def _partitions(text: str) -> Iterator[Bound]:
    """Yield the processors of each partition, and by which QOS it is bounded (see _qos)."""
    for line in text.splitlines():
        words = dict(re.findall(r"(\w+)=(\S*)", line))
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
    records = [_association(each) for each in re.split(r"^(?=ClusterName=)", text, flags=re.M)[1:]]
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


def _association(record: str) -> Mapping[str, str]:
    return dict(re.findall(r"(\w+)=(\S*)", record))


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
