"""To which partition of a real Slurm jobs go that name none, where one with gpus stands first.

Owns a cluster of its own, whose partitions it changes. Read next: batchsystems/slurm/parse.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from batchsystems import Resources
from batchsystems.commandline.factory import AdapterOf
from batchsystems.conformance import Watcher, end_all, sh
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.slurm.settings import SlurmSettings
from tests.live.slurm.conftest import temporary_cluster
from tests.live.slurm.lab import Lab
from tests.live.slurm.test_adapter import BRIEF, QUICK

MINUTE_S, DAY_S = 60.0, 86400.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Lab]:
    """Bring up a cluster of which one node has gpus, in a partition that stands first."""
    with temporary_cluster() as lab:
        path = lab.top / "etc" / "slurm.conf"
        path.write_text("\n".join(with_gpus_first(path.read_text(), lab.nodes)) + "\n")
        lab.run("scontrol", "reconfigure")
        yield lab


def with_gpus_first(text: str, nodes: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of slurm.conf, all gpus in the first node and its partition."""
    first, others = nodes[0], ",".join(nodes[1:])
    for line in text.splitlines():
        found = re.search(r"^NodeName=\S+ (.*)Port=\[(\d+)-(\d+)\](.*)", line)
        if found:
            about, port, last, more = found.groups()
            yield f"NodeName={first} {about}Port={port}{more}"
            bare = re.sub(r" Gres=\S+", "", more)
            yield f"NodeName={others} {about}Port=[{int(port) + 1}-{last}]{bare}"
            yield f"PartitionName=accel Nodes={first} MaxTime=2-0 PriorityTier=5 PreemptMode=OFF"
        else:
            yield line.replace("Nodes=ALL", f"Nodes={others}")


@pytest.fixture(autouse=True)
def _here(cluster: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", cluster.env["SLURM_CONF"])


def partition_of(lab: Lab, asked: Resources, settings: SlurmSettings | None = None) -> str:
    """Return the partition in which Slurm has a job that asks for this."""
    watcher = Watcher(AdapterOf(SlurmDialect)(settings, QUICK, BRIEF))
    native = watcher.accepted(watcher.batch.issueJob(sh("sleep 1000", resources=asked)))
    found = lab.run("squeue", "-h", "-j", native, "-o", "%P").stdout.strip()
    end_all(watcher.batch)
    watcher.batch.close()
    return found


@pytest.mark.parametrize(
    ("asked", "partition"),
    [
        (Resources(time_s=MINUTE_S), "short"),
        (Resources(time_s=10 * MINUTE_S), "long"),
        (Resources(time_s=MINUTE_S, gpus=1), "accel"),
        (Resources(time_s=1.5 * DAY_S), "accel"),
    ],
)
def test_a_job_goes_where_a_person_would_send_it(cluster: Lab, asked: Resources, partition: str):
    first = cluster.run("sinfo", "-h", "-o", "%R").stdout.split()[0]
    assert first == "accel", "in Slurm's own order"
    assert partition_of(cluster, asked) == partition


def test_the_site_s_word_and_the_user_s_count_before_any_choice(
    cluster: Lab, monkeypatch: pytest.MonkeyPatch
):
    asked = Resources(time_s=10 * MINUTE_S)
    monkeypatch.setenv("SBATCH_PARTITION", "low")
    assert partition_of(cluster, asked) == "low"
    assert partition_of(cluster, asked, SlurmSettings(partition="accel")) == "accel"


def test_a_partition_for_other_accounts_is_left_to_them(cluster: Lab):
    cluster.run("sacctmgr", "-i", "add", "account", "guests", "Description=x", check=False)
    cluster.run("scontrol", "update", "partition=long", "AllowAccounts=guests")
    asked = Resources(time_s=10 * MINUTE_S)
    try:
        assert partition_of(cluster, asked) == "high", "and none whose jobs are pushed out"
    finally:
        cluster.run("scontrol", "update", "partition=long", "AllowAccounts=ALL")
    assert partition_of(cluster, asked) == "long"
