"""SlurmProbe: what a Slurm reveals of itself, for `site init`. Pure.

Owns what is asked and how the answers are read and weighed, as Slurm 22.05 was seen to answer
(tests/data/slurm); must not run anything. Read next: ../probe.py, tables.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from batchsystems.commandline.limits import Queue
from batchsystems.commandline.reading import seconds
from batchsystems.errors import Unobtainable
from batchsystems.probe import Probe
from batchsystems.site.draft import PACKED, Draft, Line, Table
from batchsystems.site.writing import write_size, write_time, write_value
from batchsystems.slurm.cluster import SHAPES, read_partitions
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.transport.local import CommandResult

ASSOCIATION = ("account", "user", "partition", "defaultqos", "maxsubmitjobs", "grpsubmitjobs")
QOS = ("name", "maxsubmitjobsperuser", "maxsubmitjobsperaccount", "grpsubmitjobs")
SHORT_MEMORY_S = 60.0
"""A queue that forgets ended jobs sooner than this must be looked at more often than usual."""

NAMES_SHOWN = 8


class Partition(NamedTuple):
    """A partition, and the largest of its nodes. shapes: of how many kinds they are."""

    name: str
    words: Mapping[str, str]
    most: Queue
    shapes: int


class ClusterFacts(NamedTuple):
    """All that Slurm told; a part that it did not is empty, or None."""

    config: Mapping[str, str]
    partitions: Sequence[Partition]
    accounting: bool | None
    accounts: Sequence[str]
    default_account: str
    gpus: Sequence[str]
    """what gpus are called, `gpu` and `gpu:a100`"""
    submit_limits: Mapping[str, int]
    """the most jobs this user may have submitted, by who says so"""


class SlurmProbe(Probe):
    """Asks scontrol, sinfo, sacct and sacctmgr."""

    programs = ("sbatch", "scontrol", "sinfo")
    scrubbed = SlurmDialect.scrubbed
    scrubbed_names = SlurmDialect.scrubbed_names
    kept = SlurmDialect.kept
    fixed = SlurmDialect.fixed

    def questions(self, user: str) -> Mapping[str, tuple[str, ...]]:
        """Return seven commands, all of which any user may run."""
        manager = ("sacctmgr", "--noheader", "--parsable2", "show")
        return {
            "config": ("scontrol", "show", "config"),
            "partitions": ("scontrol", "--oneliner", "show", "partition"),
            "shapes": ("sinfo", "-h", "-e", "-o", SHAPES),
            "history": ("sacct", "--noheader", "-X", "-P", "--format=JobID"),
            "associations": (*manager, "assoc", f"user={user}", f"format={','.join(ASSOCIATION)}"),
            "user": (*manager, "user", user, "format=user,defaultaccount"),
            "qos": (*manager, "qos", f"format={','.join(QOS)}"),
        }

    def draft(self, answers: Mapping[str, CommandResult]) -> Draft:
        """Return the draft. Raises Unobtainable if not even the configuration was told."""
        config = answers["config"]
        found = read(answers)
        if not found.config:
            raise Unobtainable(
                "Slurm gave no answer",
                where="scontrol show config",
                why=config.words(),
                fix="see that this is a host from which jobs are submitted, and that "
                "`scontrol ping` calls the controller UP;\nor ask another batch system, by "
                "--batchSystem NAME",
            )
        tables = [_slurm(found), *_queues(found), PACKED, *_limits(found), *_pacing(found)]
        largest = max((p.most.memory_bytes or 0 for p in found.partitions), default=0)
        if largest:
            cap = Line("memory_cap", write_size(largest), "what the largest node has", False)
            retry = (Line("retry_count", "1", live=False), cap)
            about = ("How often to try again, and with how much more.",)
            tables.append(Table("retry", retry, about))
        unknown = tuple(_unknown(found))
        return Draft("slurm", _about(found), tuple(tables), tuple(_remarks(found)), unknown)


# ---- reading ---------------------------------------------------------------------------------


def read(answers: Mapping[str, CommandResult]) -> ClusterFacts:
    """Return what the answers say; one that failed says nothing."""
    said = {name: ran.stdout if _good(ran) else "" for name, ran in answers.items()}
    config = dict(re.findall(r"^(\w[\w\[\]]*) *= (.*?) *$", said["config"], re.M))
    accounts, limits = _associations(said["associations"], said["qos"])
    default = said["user"].partition("\n")[0].partition("|")[2]
    history = answers["history"]
    accounting: bool | None = True if _good(history) else None
    if "accounting storage is disabled" in history.stderr or not history.started:
        accounting = False
    kinds = sorted(set(re.findall(r"\b(gpu(?::[\w.-]+)?):\d", said["shapes"])))
    partitions = _partitions(said["partitions"], said["shapes"])
    return ClusterFacts(config, partitions, accounting, accounts, default, kinds, limits)


def _good(ran: CommandResult) -> bool:
    return ran.whole and ran.status == 0


def _partitions(text: str, shapes: str) -> list[Partition]:
    nodes: dict[str, list[Queue]] = {}
    for shape in read_partitions(shapes, "gpu"):
        nodes.setdefault(shape.name, []).append(shape)
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        words = dict(re.findall(r"(\w+)=(\S*)", line))
        name = words.get("PartitionName", "")
        if name:
            kinds = nodes.get(name, [])
            found[name] = Partition(name, words, _most(name, words, kinds), len(kinds))
    tiers = [_number(each.words.get("PriorityTier", "")) or 0 for each in found.values()]
    return [each._replace(most=_weigh(each, max(tiers))) for each in found.values()]


def _most(name: str, words: Mapping[str, str], kinds: Sequence[Queue]) -> Queue:
    """Return the most of each thing that a node of a partition has and a job may ask for."""
    memory_bytes = [kind.memory_bytes for kind in kinds if kind.memory_bytes]
    cap = _number(words.get("MaxMemPerNode", ""))
    memory_bytes = [min(each, cap * 2**20) if cap else each for each in memory_bytes]
    cpus = [kind.cpus for kind in kinds if kind.cpus]
    most_cpus = _number(words.get("MaxCPUsPerNode", ""))
    return Queue(
        name,
        max((min(each, most_cpus or each) for each in cpus), default=None),
        max(memory_bytes, default=None),
        max((kind.gpus or 0 for kind in kinds), default=None),
        seconds(words.get("MaxTime", "")),
        preferred=words.get("Default") == "YES",
    )


def _weigh(partition: Partition, highest: int) -> Queue:
    """Return its limits, and whether others preempt it: those of a higher tier do."""
    mode = partition.words.get("PreemptMode", "OFF")
    tier = _number(partition.words.get("PriorityTier", "")) or 0
    most = partition.most
    preemptible = mode != "OFF" and tier < highest
    return Queue(
        *(most.name, most.cpus, most.memory_bytes, most.gpus, most.time_s),
        preferred=most.preferred,
        preemptible=preemptible,
    )


def _associations(text: str, qos: str) -> tuple[list[str], dict[str, int]]:
    """Return this user's accounts, and what limits how much he may have submitted."""
    accounts: list[str] = []
    limits: dict[str, int] = {}
    used: set[str] = set()
    for line in text.splitlines():
        row = dict(zip(ASSOCIATION, line.split("|"), strict=False))
        account = row.get("account", "")
        if account and account not in accounts:
            accounts.append(account)
        used.add(row.get("defaultqos", ""))
        for field in ("maxsubmitjobs", "grpsubmitjobs"):
            if number := _number(row.get(field, "")):
                limits[f"the account {account}"] = number
    for line in qos.splitlines():
        row = dict(zip(QOS, line.split("|"), strict=False))
        numbers = [_number(row.get(field, "")) for field in QOS[1:]]
        if known := [number for number in numbers if number]:
            limits[f"the QOS {row['name']}"] = min(known)
    return accounts, {
        who: most
        for who, most in limits.items()
        if not who.startswith("the QOS ") or who.removeprefix("the QOS ") in used
    }


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,15}", text) else None


# ---- weighing --------------------------------------------------------------------------------


def _about(found: ClusterFacts) -> str:
    config = found.config
    return (
        f"the cluster {config.get('ClusterName', '?')} "
        f"(Slurm {config.get('SLURM_VERSION', 'of an unknown version')})"
    )


def _slurm(found: ClusterFacts) -> Table:
    return Table("slurm", tuple(_keys(found)), ("Slurm itself.",))


def _keys(found: ClusterFacts) -> Iterator[Line]:
    config = found.config
    yield _account(found)
    yield Line("qos", write_value("normal"), "as sbatch --qos", False)
    yield _memory(found)
    yield _gres(found)
    if found.accounting is not None:
        why = "sacct answers" if found.accounting else "sacct says that accounting is off"
        yield Line("accounting", write_value(found.accounting), why)
    size = _number(config.get("MaxArraySize", ""))
    if size:
        yield Line("array_size", str(size), "Slurm's MaxArraySize, which is asked", False)


def _account(found: ClusterFacts) -> Line:
    enforced = "associations" in found.config.get("AccountingStorageEnforce", "")
    yours = _listed(found.accounts)
    default = found.default_account or (found.accounts[0] if found.accounts else "")
    why = "wrong accounts are refused" if enforced else "accounts are not checked"
    if yours:
        why += f"; yours are {yours}; without the key it is {default}"
    return Line("account", write_value(default or "lab"), why, False)


def _memory(found: ClusterFacts) -> Line:
    config = found.config
    kind, how = config.get("SelectType", ""), config.get("SelectTypeParameters", "")
    if kind.endswith("/linear") or _all_exclusive(found):
        return Line("memory", '"none"', "each job has its nodes for itself, and all their memory")
    if "MEMORY" in how.upper():
        per_cpu = _number(config.get("MaxMemPerCPU", ""))
        if per_cpu:
            why = (
                f'shared by {how}; "cpu" if jobs get more cpus than asked (MaxMemPerCPU={per_cpu})'
            )
            return Line("memory", '"job"', why)
        return Line("memory", '"job"', f"memory is handed out ({how}), so it is asked for")
    return Line("memory", '"job"', f"only nodes with so much are taken: memory is shared ({how})")


def _all_exclusive(found: ClusterFacts) -> bool:
    modes = [partition.words.get("OverSubscribe", "") for partition in found.partitions]
    return bool(modes) and all(mode == "EXCLUSIVE" for mode in modes)


def _gres(found: ClusterFacts) -> Line:
    kinds = _listed([f'"{kind}"' for kind in found.gpus])
    why = f"what a gpu is called; here are {kinds}" if found.gpus else "there are no gpus"
    return Line("gres", '"gpu"', why, False)


def _queues(found: ClusterFacts) -> Iterator[Table]:
    """Yield a table for each partition, as a comment for one that takes no jobs."""
    first = (
        "The partitions. Of those that a job fits, the preferred one is taken; else one without "
        "gpus for a job that needs none, that is not preemptible, with the shortest max_time that "
        "holds it. Remove what jobs should not go to; without any of these "
        "tables Slurm is asked at each run."
    )
    for partition in found.partitions:
        state, remarks = partition.words.get("State", "UP"), [first] if first else []
        first = ""
        live = state == "UP" and partition.words.get("RootOnly") != "YES"
        if not live:
            remarks.append(f"{partition.name} takes no jobs now: state {state}")
        remarks += _peculiar(partition)
        yield Table("slurm.queue[]", tuple(_queue(partition.most)), tuple(remarks), live)


def _peculiar(partition: Partition) -> Iterator[str]:
    words, name = partition.words, partition.name
    for key in ("AllowAccounts", "AllowGroups", "AllowQos"):
        if words.get(key, "ALL") != "ALL":
            yield f"{name} is for some alone: {key}={words[key]}"
    if words.get("QoS", "N/A") != "N/A":
        yield f"{name} has the limits of the QOS {words['QoS']}"
    if words.get("OverSubscribe") == "EXCLUSIVE":
        yield f"{name} gives whole nodes"
    if partition.shapes > 1:
        yield (
            f"{name} has {partition.shapes} kinds of nodes; these are the most of each thing, "
            "which one node may not have together"
        )


def _queue(most: Queue) -> Iterator[Line]:
    yield Line("name", write_value(most.name), why="")
    if most.time_s:
        yield Line("max_time", write_time(most.time_s), why="")
    if most.cpus:
        yield Line("max_cpus", str(most.cpus), why="")
    if most.memory_bytes:
        yield Line("max_memory", write_size(most.memory_bytes), why="")
    if most.gpus is not None:
        yield Line("max_gpus", str(most.gpus), why="")
    if most.preferred:
        yield Line("preferred", "true", "Slurm's default")
    if most.preemptible:
        yield Line("preemptible", "true", "jobs of partitions of a higher tier may take its nodes")


def _limits(found: ClusterFacts) -> Iterator[Table]:
    """Yield how much may be out, if Slurm would refuse more."""
    if not found.submit_limits:
        return
    who, most = min(found.submit_limits.items(), key=lambda item: item[1])
    line = Line("max_jobs", str(most), f"{who} takes no more")
    yield Table("limits", (line,), ("How much of one tree may be out at once.",))


def _pacing(found: ClusterFacts) -> Iterator[Table]:
    """Yield how often to look, if the queue alone tells how jobs ended, and only for a while."""
    kept = _number(found.config.get("MinJobAge", "").partition(" ")[0])
    if found.accounting is False and kept is not None and 0 < kept < SHORT_MEMORY_S:
        why = f"the queue forgets jobs {kept} s after their end, and there is no accounting"
        line = Line("poll_interval", write_time(max(1, kept // 3)), why)
        yield Table("pacing", (line,), ("How much load one tree may put on the scheduler.",))


def _remarks(found: ClusterFacts) -> Iterator[str]:
    config = found.config
    if "cgroup" not in config.get("TaskPlugin", "") or config.get("ConstrainRAMSpace") == "no":
        yield (
            "Memory is not limited by cgroups here: a job that exceeds its memory is killed late, "
            "or not at all. See contrib/slurm/README.md, which settings help."
        )


def _unknown(found: ClusterFacts) -> Iterator[str]:
    if not found.partitions:
        yield "the partitions: scontrol did not tell them; Slurm is asked again at each run"
    if found.accounting is None:
        yield (
            "whether there is accounting: sacct gave no answer; if there never is one, set "
            "slurm.accounting = false"
        )
    if found.accounting is not False:
        if not found.accounts:
            yield "your accounts: sacctmgr lists none; set slurm.account if sbatch wants one"
        if not found.submit_limits:
            yield "how many jobs you may have submitted: no limit is to be seen (limits.max_jobs)"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{shown}, and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else shown
