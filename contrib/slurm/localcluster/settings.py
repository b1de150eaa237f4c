"""What a local cluster is: its settings, its places, and Slurm's configuration files.

Owns every line of configuration; must not start, read or write anything.
Read next: cluster.py, which writes the files and starts the daemons.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

PORT = 20100
"""Where the first cluster's block of ports begins."""

PORT_STEP = 100

PARTITIONS: Mapping[str, str] = {
    "short": "MaxTime=00:05:00 DefaultTime=00:02:00 PriorityTier=5 PreemptMode=OFF",
    "long": "MaxTime=1-00:00:00 DefaultTime=01:00:00 PriorityTier=5 PreemptMode=OFF",
    "low": "MaxTime=1-00:00:00 DefaultTime=00:10:00 PriorityTier=1 PreemptMode=REQUEUE",
    "lowkill": "MaxTime=1-00:00:00 DefaultTime=00:10:00 PriorityTier=1 PreemptMode=CANCEL",
    "high": "MaxTime=1-00:00:00 DefaultTime=00:10:00 PriorityTier=10 PreemptMode=OFF",
    "limited": "MaxTime=00:05:00 DefaultTime=00:02:00 PriorityTier=5 PreemptMode=OFF QOS=limited",
}
"""The partitions there can be; jobs in `high` preempt those in `low` and `lowkill`."""

LIMITED = {"MaxSubmitJobsPerUser": 10, "MaxJobsPerUser": 4}
"""What the partition `limited` allows each user, by a QOS; it needs accounting."""

GPUS = 2
"""How many each node seems to have."""


@dataclass(frozen=True)
class Settings:
    """One cluster's settings, kept in cluster.json for as long as it exists.

    memory_mib: of each node. root: daemons run as root, so every user can submit.
    conf: lines of slurm.conf, KEY=VALUE, that win over those made here.
    """

    user: str
    root: bool
    port: int
    nodes: int = 4
    cpus: int = 8
    memory_mib: int = 8192
    prefix: str = "node"
    cgroup: bool = False
    accounting: bool = False
    partitions: tuple[str, ...] = ("short", "long", "low", "lowkill", "high", "limited")
    conf: tuple[str, ...] = ()

    @property
    def node_names(self) -> tuple[str, ...]:
        """Return the nodes' names, in order."""
        return tuple(f"{self.prefix}{number}" for number in range(1, self.nodes + 1))

    @property
    def ports(self) -> range:
        """Return every port that the cluster listens on, or may."""
        return ports(self.port, self.nodes)

    def to_json(self) -> str:
        """Return it as text for from_json."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Read what to_json wrote; ValueError, TypeError or KeyError if it did not."""
        values = json.loads(text)
        values["partitions"] = tuple(values["partitions"])
        values["conf"] = tuple(values["conf"])
        return cls(**values)


def ports(first: int, nodes: int) -> range:
    """Return a cluster's ports: controller, accounting, eight spare ones, then the nodes."""
    return range(first, first + 10 + nodes)


@dataclass(frozen=True)
class Places:
    """Where things are in a cluster's directory."""

    top: Path
    conf: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "conf", self.top / "etc" / "slurm.conf")

    def __truediv__(self, name: str) -> Path:
        """Return a path below the directory."""
        return self.top / name

    @property
    def settings(self) -> Path:
        """Return where the settings are kept; a directory with this file holds a cluster."""
        return self.top / "cluster.json"

    @property
    def munge_socket(self) -> Path:
        """Return munged's socket, the longest path that must fit into 108 bytes."""
        return self.top / "munge" / "munge.socket"

    @property
    def database_socket(self) -> Path:
        """Return MariaDB's socket."""
        return self.top / "mysql" / "sock"


def slurm_conf(settings: Settings, places: Places) -> str:
    """Return slurm.conf.

    Times are short, so that what takes minutes on a cluster takes seconds here; README.md says
    which of these lines an administrator should and should not copy.
    """
    values = _base(settings, places) | _times() | _scheduling() | _tracking(settings)
    if settings.accounting:
        values |= _accounting(settings, places)
    else:
        values["AccountingStorageType"] = "accounting_storage/none"
    extra = []
    for line in settings.conf:
        key, _, value = line.partition("=")
        if key in ("NodeName", "PartitionName"):
            extra.append(line)
        else:
            values[key] = value
    lines = [f"{key}={value}" for key, value in values.items()]
    lines += [_node_line(settings), *_partition_lines(settings), *extra]
    return "\n".join(lines) + "\n"


def _base(settings: Settings, places: Places) -> dict[str, str]:
    return {
        "ClusterName": "local",
        "SlurmctldHost": "localhost",
        "SlurmUser": settings.user,
        "SlurmdUser": settings.user,
        "SlurmctldPort": str(settings.port),
        "AuthType": "auth/munge",
        "CredType": "cred/munge",
        # A requeued job starts again only when its first credential has expired: 120 s else.
        "AuthInfo": f"socket={places.munge_socket},cred_expire=5",
        "CommunicationParameters": "NoInAddrAny,NoCtldInAddrAny",
        "StateSaveLocation": str(places / "state"),
        "SlurmdSpoolDir": str(places / "spool" / "%n"),
        "SlurmctldPidFile": str(places / "run" / "slurmctld.pid"),
        "SlurmdPidFile": str(places / "run" / "%n.pid"),
        "SlurmctldLogFile": str(places / "log" / "slurmctld.log"),
        "SlurmdLogFile": str(places / "log" / "%n.log"),
        "SlurmctldDebug": "info",
        "SlurmdDebug": "info",
        "PlugStackConfig": str(places / "etc" / "plugstack.conf"),
        "SwitchType": "switch/none",
        "MpiDefault": "none",
        "MailProg": "/bin/true",
        "ReturnToService": "2",
        "SlurmdParameters": "config_overrides",  # nodes may claim more than this machine has
        "GresTypes": "gpu",
        "MaxArraySize": "1001",
        "MaxJobCount": "20000",
        "JobRequeue": "1",
        "DefMemPerCPU": "256",
    }


def _times() -> dict[str, str]:
    return {
        "SlurmctldTimeout": "10",
        "SlurmdTimeout": "10",
        "InactiveLimit": "0",
        "MinJobAge": "30",
        "KillWait": "3",
        "WaitTime": "0",
        "MessageTimeout": "10",
        "BatchStartTimeout": "10",
        "CompleteWait": "0",
        "TCPTimeout": "2",
        "UnkillableStepTimeout": "20",
    }


def _scheduling() -> dict[str, str]:
    return {
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "sched_interval=2,sched_min_interval=0,batch_sched_delay=0,"
        "default_queue_depth=10000,bf_interval=2,bf_continue,bf_max_job_test=2000",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "PriorityType": "priority/multifactor",
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "REQUEUE",
    }


def _tracking(settings: Settings) -> dict[str, str]:
    found = {
        "JobAcctGatherType": "jobacct_gather/linux",
        "JobAcctGatherFrequency": "task=1",
        "JobCompType": "jobcomp/none",
    }
    if settings.cgroup:
        return found | {"ProctrackType": "proctrack/cgroup", "TaskPlugin": "task/cgroup"}
    return found | {
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherParams": "OverMemoryKill",
    }


def _accounting(settings: Settings, places: Places) -> dict[str, str]:
    return {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": "localhost",
        "AccountingStoragePort": str(settings.port + 1),
        "AccountingStoragePass": str(places.munge_socket),
        "AccountingStorageEnforce": "associations,limits,qos",
        "AccountingStoreFlags": "job_comment",
        "AccountingStorageTRES": "gres/gpu",
    }


def _node_line(settings: Settings) -> str:
    """Return the nodes: all on this host, told apart by their ports."""
    first = settings.port + 10
    return (
        f"NodeName={_hostlist(settings)} NodeHostname=localhost NodeAddr=127.0.0.1 "
        f"Port=[{first}-{first + settings.nodes - 1}] CPUs={settings.cpus} Boards=1 "
        f"SocketsPerBoard=1 CoresPerSocket={settings.cpus} ThreadsPerCore=1 "
        f"RealMemory={settings.memory_mib} TmpDisk=1000 Gres=gpu:{GPUS} State=UNKNOWN"
    )


def _partition_lines(settings: Settings) -> list[str]:
    names = [name for name in settings.partitions if name != "limited" or settings.accounting]
    return [
        f"PartitionName={name} Nodes=ALL Default={'YES' if name == names[0] else 'NO'} State=UP "
        f"{PARTITIONS[name]}"
        for name in names
    ]


def _hostlist(settings: Settings) -> str:
    return f"{settings.prefix}[1-{settings.nodes}]"


def gres_conf(settings: Settings, places: Places) -> str:
    """Return gres.conf: GPUs that are links to /dev/null, since Slurm wants device files."""
    files = places / "dev" / f"gpu[0-{GPUS - 1}]"
    return f"AutoDetect=off\nNodeName={_hostlist(settings)} Name=gpu File={files}\n"


def cgroup_conf() -> str:
    """Return cgroup.conf: memory is limited by the kernel, for version 1 of cgroups."""
    return (
        "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nCgroupMountpoint=/sys/fs/cgroup\n"
        "ConstrainCores=no\nConstrainRAMSpace=yes\nConstrainSwapSpace=no\nConstrainDevices=no\n"
        "AllowedRAMSpace=100\n"
    )


def slurmdbd_conf(settings: Settings, places: Places, password: str) -> str:
    """Return slurmdbd.conf."""
    return (
        f"AuthType=auth/munge\nAuthInfo=socket={places.munge_socket},cred_expire=5\n"
        f"DbdHost=localhost\nDbdAddr=127.0.0.1\nDbdPort={settings.port + 1}\n"
        "CommunicationParameters=NoInAddrAny\n"
        f"SlurmUser={settings.user}\nLogFile={places / 'log' / 'slurmdbd.log'}\n"
        f"PidFile={places / 'run' / 'slurmdbd.pid'}\nDebugLevel=info\nCommitDelay=0\n"
        "StorageType=accounting_storage/mysql\nStorageHost=localhost\n"
        f"StorageUser=slurm\nStoragePass={password}\nStorageLoc=slurm_acct_db\n"
    )
