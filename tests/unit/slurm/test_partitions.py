"""Which partition a job goes to, of what sinfo and scontrol tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsystems.commandline.limits import Limits, Queue
from batchsystems.interface import Resources
from batchsystems.slurm.cluster import read_partitions
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.slurm.settings import SlurmSettings
from tests.unit.slurm.captured import (
    DATA,
    ran,
)


def test_partitions_and_array_sizes_are_read():
    dialect = SlurmDialect()
    sinfo, config = dialect.cluster.discover(Limits(), 5000)
    limits = dialect.cluster.parse(sinfo, ran((DATA / "sinfo.txt").read_text()), Limits())
    assert [queue.name for queue in limits.queues] == ["short", "long", "low", "lowkill", "high"]
    assert limits.queues[0] == Queue("short", 4, 4 * 2**30, 2, 300.0, preferred=True, tier=5)
    assert [queue.name for queue in limits.queues if queue.preemptible] == ["low", "lowkill"]
    limits = dialect.cluster.parse(config, ran((DATA / "scontrol.txt").read_text()), limits)
    assert limits.tasks == 100001
    assert dialect.cluster.discover(Limits(), 1000) == (sinfo,), (
        "a small array needs not be asked for"
    )


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (Resources(time_s=60), "short"),
        (Resources(time_s=600), "long"),
        (Resources(gpus=2, time_s=86400), "long"),
        (Resources(cpus=5), None),
        (Resources(memory_bytes=5 * 2**30), None),
        (Resources(time_s=1e6), None),
    ],
)
def test_a_partition_is_chosen_that_holds_the_job(asked: Resources, chosen: str | None):
    dialect = SlurmDialect()
    (sinfo,) = dialect.cluster.discover(Limits(), 1)
    limits = dialect.cluster.parse(sinfo, ran((DATA / "sinfo.txt").read_text()), Limits())
    queue = limits.choose(asked)
    assert (queue and queue.name) == chosen
    assert bool(limits.impossible(asked)) == (chosen is None)


def test_only_partitions_the_settings_allow_are_chosen():
    dialect = SlurmDialect(SlurmSettings(partition="low,high"))
    (sinfo,) = dialect.cluster.discover(Limits(), 1)
    limits = dialect.cluster.parse(sinfo, ran((DATA / "sinfo.txt").read_text()), Limits())
    assert [queue.name for queue in limits.queues] == ["low", "high"]
    queue = limits.choose(Resources())
    assert queue is not None
    assert queue.name == "high"


# ---- choosing a partition ----------------------------------------------------------------------

USUAL = """\
gpu|1-00:00:00|64|512000|gpu:a100:4|OFF|gpu|5|up|no|UNLIMITED
scavenge|7-00:00:00|32|128000|(null)|REQUEUE|scavenge|1|up|no|UNLIMITED
short|1:00:00|32|128000|(null)|OFF|short*|5|up|no|UNLIMITED
week|7-00:00:00|32|128000|(null)|OFF|week|5|up|no|UNLIMITED
day|1-00:00:00|32|128000|(null)|OFF|day|5|up|no|UNLIMITED
big|1-00:00:00|96|1500000|(null)|OFF|big|5|up|no|8
urgent|2-00:00:00|32|128000|(null)|OFF|urgent|10|up|no|UNLIMITED
admin|7-00:00:00|96|1500000|(null)|OFF|admin|20|up|yes|UNLIMITED
broken|7-00:00:00|96|9500000|(null)|OFF|broken|5|drain|no|UNLIMITED
"""
"""A cluster's partitions in sinfo's order: the gpus stand first."""

HOUR, DAY = 3600.0, 86400.0


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (Resources(time_s=HOUR), "short"),
        (Resources(), "short"),
        (Resources(time_s=2 * HOUR), "day"),
        (Resources(time_s=2 * DAY), "week"),
        (Resources(time_s=3 * DAY), "week"),
        (Resources(time_s=HOUR, gpus=1), "gpu"),
        (Resources(time_s=2 * HOUR, cpus=48), "gpu"),
        (Resources(time_s=2 * HOUR, memory_bytes=10**12), "big"),
        (Resources(time_s=2 * HOUR, memory_bytes=10**12, cpus=9), "broken"),
        (Resources(time_s=2 * HOUR, memory_bytes=8 * 10**12), "broken"),
    ],
)
def test_a_partition_is_chosen_as_a_person_would(asked: Resources, chosen: str):
    limits = Limits(queues=read_partitions(USUAL, "gpu"))
    queue = limits.choose(asked)
    assert queue is not None
    assert queue.name == chosen, [q.drawbacks(asked) for q in limits.queues]


def test_where_nobody_is_preempted_a_higher_tier_is_just_served_first():
    text = "a|1:00|8|8000|(null)|OFF|a*|1|up|no|UNLIMITED\n"
    text += "b|2:00|8|8000|(null)|OFF|b|1|up|no|UNLIMITED\n"
    text += "c|3:00|8|8000|(null)|OFF|c|9|up|no|UNLIMITED\n"
    queue = Limits(queues=read_partitions(text, "gpu")).choose(Resources(time_s=100))
    assert queue is not None
    assert queue.name == "c"


@given(
    st.text(
        st.characters(exclude_characters="\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"),
        min_size=1,
        max_size=12,
    )
)
def test_a_partition_s_name_may_have_the_separator_in_it(name: str):
    text = f"{name}|1:00|8|8000|gpu:2|OFF|{name}|7|up|no|4\n"
    (queue,) = read_partitions(text, "gpu")
    assert (queue.name, queue.cpus, queue.gpus, queue.tier) == (name, 4, 2, 7)


PARTITIONS = """\
PartitionName=day AllowGroups=ALL AllowAccounts=physics,lab AllowQos=ALL MinNodes=0 State=UP
PartitionName=week AllowGroups=ALL AllowAccounts=ALL AllowQos=long MinNodes=0 State=UP
PartitionName=urgent AllowGroups=ALL DenyAccounts=lab AllowQos=ALL MinNodes=4 State=UP
PartitionName=short AllowGroups=ALL AllowAccounts=physics AllowQos=ALL MinNodes=0 State=UP
PartitionName=big AllowAccounts=ALL AllowQos=ALL MinNodes=0 MaxMemPerNode=1000 State=UP
"""


@pytest.mark.parametrize(
    ("settings", "closed"),
    [
        (SlurmSettings(), {"day", "week", "urgent"}),
        (SlurmSettings(account="lab"), {"short", "week", "urgent"}),
        (SlurmSettings(account="physics", qos="long"), {"urgent"}),
    ],
)
def test_a_partition_for_others_is_known_before_a_job_is_refused(
    settings: SlurmSettings, closed: set[str]
):
    dialect = SlurmDialect(settings)
    (sinfo,) = dialect.cluster.discover(Limits(), 1)
    limits = dialect.cluster.parse(sinfo, ran(USUAL), Limits())
    assert dialect.cluster.discover(limits, 1) == (sinfo,), (
        "jobs go to the default: there is no choice"
    )
    _, show = dialect.cluster.discover(limits, 1, Resources(time_s=2 * HOUR))
    assert show.argv[-2:] == ("show", "partition")
    limits = dialect.cluster.parse(show, ran(PARTITIONS), limits)
    assert {q.name for q in limits.queues if q.closed} == closed | {"admin", "broken"}
    assert next(q.memory_bytes for q in limits.queues if q.name == "big") == 1000 << 20


@pytest.mark.parametrize(
    "shut",
    ["AllowAccounts=others State=UP", "State=DOWN", "MaxMemPerNode=1000 State=UP"],
)
def test_a_partition_is_open_again_when_the_site_opens_it(shut: str):
    cluster = SlurmDialect().cluster
    (sinfo,) = cluster.discover(Limits(), 1)
    first = cluster.parse(sinfo, ran("a|1:00|8|8000|(null)|OFF|a|1|up|no|UNLIMITED\n"), Limits())
    show = cluster.capacity(first)[0]
    limits = cluster.parse(show, ran(f"PartitionName=a {shut}\n"), first)
    assert limits.queues != first.queues
    limits = cluster.parse(show, ran("PartitionName=a AllowAccounts=ALL State=UP\n"), limits)
    assert limits.queues == first.queues
