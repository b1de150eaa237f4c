"""What a command-line adapter finds out of how many jobs run at once: asked when asked for."""

from __future__ import annotations

import select
from dataclasses import replace

import pytest

from batchsystems.commandline.adapter import CommandLine
from batchsystems.commandline.dialect import ClusterQueries, Dialect
from batchsystems.commandline.limits import Bound, Limits, Queue
from batchsystems.interface import Resources
from batchsystems.sge.cluster import SgeCluster
from batchsystems.sge.dialect import SgeDialect
from batchsystems.sge.settings import SgeSettings
from batchsystems.slurm.cluster import SlurmCluster
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.slurm.settings import SlurmSettings
from batchsystems.transport.local import Command, CommandResult

PARTITIONS = (
    "PartitionName=short AllowQos=ALL QoS=N/A MaxCPUsPerNode=UNLIMITED Nodes=nodea[1-4] State=UP "
    "TotalCPUs=32 TotalNodes=4 TRES=cpu=32,mem=32G\n"
    "PartitionName=half AllowQos=ALL QoS=N/A MaxCPUsPerNode=4 State=UP TotalCPUs=32 TotalNodes=4\n"
    "PartitionName=limited QoS=limited MaxCPUsPerNode=UNLIMITED TotalCPUs=32 TotalNodes=4\n"
)
QOS = "normal|||||mem=1T|cpu=500\nlimited|4|10||||\nbroken\n"
ASSOCIATIONS = """Current Association Manager state

Association Records

ClusterName=local Account=root UserName= Partition= Priority=0 ID=1
    ParentAccount= Lft=1 DefAssoc=No
    GrpJobs=N(0) GrpJobsAccrue=N(0)
    GrpSubmitJobs=N(0) GrpWall=N(0.00)
    GrpTRES=cpu=24(3),mem=N(0)
    MaxJobs=1 MaxJobsAccrue= MaxSubmitJobs= MaxWallPJ=
ClusterName=local Account=lab UserName= Partition= Priority=0 ID=3
    ParentAccount=root(1) Lft=2 DefAssoc=No
    GrpJobs=30(12) GrpJobsAccrue=N(0)
    GrpTRES=cpu=N(0),mem=N(0)
    MaxJobs= MaxSubmitJobs=
ClusterName=local Account=lab UserName=ann(1000) Partition= Priority=0 ID=8
    ParentAccount= Lft=3 DefAssoc=Yes
    GrpJobs=N(0) GrpSubmitJobs=N(0)
    GrpTRES=cpu=N(0),mem=N(0)
    MaxJobs=20 MaxSubmitJobs=100
"""
GRID = """\
CLUSTER QUEUE                   CQLOAD   USED    RES  AVAIL  TOTAL aoACDS  cdsuE
--------------------------------------------------------------------------------
all.q                             0.19      0      0     12     12      0      4
short.q                           -NA-      0      0     12     12      0      0
"""
TIMES = """\
qname                 all.q
slots                 4
h_rt                  INFINITY
qname                 short.q
h_rt                  00:05:00
h_vmem                INFINITY
"""
QUOTAS = """\
{
   name         off
   enabled      FALSE
   limit        users * to slots=1
}
{
   name         others
   enabled      TRUE
   limit        users bob to slots=2
   limit        name mine users {*} queues short.q to slots=7
   limit        users {*} to slots=3
}
{
   name         hosts
   enabled      TRUE
   limit        hosts {*} to slots=$num_proc
}
{
   name         all
   enabled      TRUE
   limit        users {*,!eve} to slots=15,gpu=2
}
"""


def heard(queries: ClusterQueries, argv: tuple[str, ...], text: str) -> Limits:
    return queries.parse(Command("discover", argv), CommandResult(0, text), Limits())


def answers(dialect: Dialect, limits: Limits, user: str, *texts: str) -> Limits:
    limits = replace(limits, user=user)
    commands = dialect.cluster.capacity(limits)
    assert len(commands) == len(texts)
    for command, text in zip(commands, texts, strict=True):
        limits = dialect.cluster.parse(command, CommandResult(0, text), limits)
    return limits


def slurm(user: str = "ann", queue: str = "short", **settings: object) -> int | None:
    dialect = SlurmDialect(SlurmSettings(**settings))  # type: ignore[arg-type]
    limits = Limits(queues=(Queue(queue),))
    return answers(dialect, limits, user, PARTITIONS, ASSOCIATIONS, QOS).slots()


def test_slurm_the_least_of_partition_association_and_qos_counts() -> None:
    assert slurm() == 20, "MaxJobs of the user's own association"
    assert slurm(queue="half") == 16, "MaxCPUsPerNode on four nodes"
    assert slurm(queue="limited") == 4, "MaxJobsPerUser of the partition's QOS"
    assert slurm(qos="limited") == 4, "that of the QOS that jobs name"


def test_slurm_an_account_above_bounds_too_and_its_own_users_do_not() -> None:
    said = ASSOCIATIONS.replace("MaxJobs=20", "MaxJobs=")
    limits = heard(SlurmCluster(SlurmSettings()), ("scontrol",), said)
    assert limits.slots() == 24, "cpu=24 of the account root; its MaxJobs=1 is of single users"


def test_slurm_an_account_that_is_named_and_not_there_bounds_nothing() -> None:
    limits = heard(SlurmCluster(SlurmSettings(account="x")), ("scontrol",), ASSOCIATIONS)
    assert limits.slots() is None


def test_slurm_without_accounting_or_user_less_is_asked() -> None:
    own = SlurmSettings(accounting=False)
    assert [ask.argv[0] for ask in SlurmCluster(own).capacity(Limits())] == ["scontrol"]


def test_a_later_answer_takes_the_place_of_an_earlier_one() -> None:
    limits = Limits(bounds=(Bound("a", 5), Bound("b", 9)))
    assert limits.slots() == 5
    assert limits.bounded("a", [Bound("a", 7)]).slots() == 7
    assert limits.bounded("a", []).slots() == 9


def grid(user: str = "ann", lasts_s: float | None = None, **settings: object) -> int | None:
    dialect = SgeDialect(SgeSettings(**settings))  # type: ignore[arg-type]
    limits = dialect.known
    told = answers(dialect, limits, user, GRID, TIMES, "maxujobs    0\n", QUOTAS)
    return told.slots(Resources(time_s=lasts_s))


def test_grid_engine_the_least_of_queues_quotas_and_scheduler_counts() -> None:
    assert grid() == 15, "the quota that is for each user"
    assert grid(user="eve") == 20, "slots of queues that are not disabled"
    assert grid(user="eve", lasts_s=301.0) == 8, "short.q takes no longer ones"
    assert grid(user="bob") == 2, "the first rule that fits"
    assert grid(queue="all.q") == 8, "the slots of the queue that may be used"
    assert grid(queue="short.q", queues=(Queue("short.q"),)) == 7, "a quota of that queue"


def test_grid_engine_the_scheduler_s_maxujobs_counts() -> None:
    limits = heard(SgeCluster(SgeSettings()), ("qconf", "-ssconf"), "maxujobs                 6\n")
    assert limits.slots() == 6


@pytest.mark.parametrize("text", ["", "garbage\n", "PartitionName= TotalCPUs=x\n", "{\nlimit\n}\n"])
def test_nonsense_is_no_bound(text: str) -> None:
    for dialect in (SlurmDialect(), SgeDialect()):
        for command in dialect.cluster.capacity(Limits(user="ann")):
            limits = dialect.cluster.parse(command, CommandResult(0, text), Limits())
            assert limits.slots() is None


# ---- asking ----------------------------------------------------------------------------------


class Scheduler:
    """A transport behind which a Slurm answers, or one that is out of order."""

    def __init__(self, works: bool) -> None:
        self.works, self.asked = works, []  # type: ignore[var-annotated]

    def run(self, command: Command, timeout_s: float) -> CommandResult:
        self.asked.append(command.argv)
        if not self.works:
            return CommandResult(1, "", "Unable to contact slurm controller")
        said = {"sinfo": "short|5:00|8|8192|gpu:2|OFF|short*|1|up|no|UNLIMITED\n", "sacctmgr": QOS}
        control = ASSOCIATIONS if "assoc_mgr" in command.argv else PARTITIONS
        return CommandResult(0, said.get(command.argv[0], control))

    def missing(self, programs: object) -> list[str]:
        return []

    def cancel(self) -> None:
        return None


@pytest.mark.parametrize("works", [True, False])
def test_the_first_to_ask_for_the_capacity_has_the_scheduler_asked(works: bool) -> None:
    scheduler = Scheduler(works)
    batch = CommandLine(SlurmDialect(), transport=scheduler)  # type: ignore[arg-type]
    try:
        first = batch.capacity()
        assert not first.told
        descriptor = batch.fileno()
        assert descriptor is not None
        assert select.select([descriptor], [], [], 30)[0], "an answer is news"
        assert batch.getUpdatedJobs() == {}
        assert not select.select([descriptor], [], [], 0)[0]
        found = batch.capacity()
        assert found.told
        assert found.slots == (20 if works else None)
        assert found.largest == (
            Resources(8, 8192 * 2**20, 2, 300.0) if works else Resources(cpus=2**31)
        )
        assert len(scheduler.asked) == len(set(scheduler.asked)), "each is asked once"
    finally:
        batch.close()
