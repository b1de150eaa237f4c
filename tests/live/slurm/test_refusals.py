"""Submissions that a real Slurm turns down: what passes is waited for, all else is told and ends.

Owns a site's own plugin and limits of a QOS. Read next: batchsystems/slurm/tables.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from batchsystems import JobSpec, Refused, Resources
from batchsystems.commandline.adapter import CommandLine
from batchsystems.commandline.factory import AdapterOf
from batchsystems.commandline.pacing import Timeouts
from batchsystems.conformance import Watcher, end_all, sh
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.slurm.settings import SlurmSettings
from tests.live.slurm.lab import Lab
from tests.live.slurm.test_adapter import BRIEF, QUICK
from tests.live.waiting import eventually

PLUGIN = """
function slurm_job_submit(job, parts, uid)
    if string.find(job.name, "plain") then
        slurm.log_user("You must name a %s, see https://hpc.example.org/%s", "project", "memory")
        return slurm.ERROR
    end
    return slurm.SUCCESS
end
function slurm_job_modify(job, record, parts, uid)
    return slurm.SUCCESS
end
"""


@pytest.fixture
def submit(slurm: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CommandLine]:
    """Return what makes an adapter of the test's cluster."""
    monkeypatch.setenv("SLURM_CONF", slurm.env["SLURM_CONF"])
    return lambda settings=None: AdapterOf(SlurmDialect)(settings, QUICK, BRIEF)


def told(batch: CommandLine, spec: JobSpec) -> object:
    """Return the first that is heard of a job beside that all is unclear."""
    watcher = Watcher(batch)
    job = batch.issueJob(spec)
    watcher.until(lambda: watcher.news.get(job), "an answer")
    return watcher.news[job][0]


@contextmanager
def plugin(slurm: Lab) -> Iterator[None]:
    path = slurm.top / "etc" / "job_submit.lua"
    path.write_text(PLUGIN)
    try:
        with slurm.configured(JobSubmitPlugins="lua"):
            yield
    finally:
        path.unlink()


def test_a_plugins_own_words_are_a_refusal_that_is_told(
    slurm: Lab, submit: Callable[..., CommandLine]
) -> None:
    with plugin(slurm):
        batch = submit()
        update = told(batch, sh("exit 0", "plain"))
        assert isinstance(update, Refused), update
        assert not update.transient
        assert "You must name a project, see https://hpc.example.org/memory" in update.why
        assert f"({Timeouts().tries} times)" in update.why
        watcher = Watcher(batch)
        watcher.end(batch.issueJob(sh("exit 0", "other")))
        end_all(batch)


@contextmanager
def qos(slurm: Lab, *limits: str) -> Iterator[str]:
    """Make a QOS of such limits that everybody may use."""
    who = ("user", "where", "name=root")
    slurm.run("sacctmgr", "-i", "add", "qos", "tight")
    slurm.run("sacctmgr", "-i", "modify", "qos", "tight", "set", "flags=DenyOnLimit", *limits)
    slurm.run("sacctmgr", "-i", "modify", *who, "set", "qos+=tight")
    trial = ("sbatch", "--test-only", "--qos=tight", "--wrap=true")
    eventually(
        "the controller to know of it",
        lambda: slurm.run(*trial, check=False).stderr,
        lambda said: "Invalid qos" not in said,
    )
    try:
        yield "tight"
    finally:
        slurm.run("sacctmgr", "-i", "modify", *who, "set", "qos-=tight")
        slurm.run("sacctmgr", "-i", "delete", "qos", "tight")


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("maxtresperjob=mem=50M", "QOSMaxMemoryPerJob"),
        ("maxtresperuser=mem=50M", "QOSMaxMemoryPerUser"),
        ("mintresperjob=cpu=4", "QOSMinCpuNotSatisfied"),
        ("mintresperjob=gres/gpu=1", "QOSMinGRES"),
        ("maxtrespernode=cpu=1", "QOSMaxCpuPerNode"),
        ("grptres=cpu=1", "QOSGrpCpuLimit"),
        ("maxwall=00:01:00", "QOSMaxWallDurationPerJobLimit"),
    ],
)
def test_what_no_waiting_cures_is_refused_with_the_limit_s_name(
    slurm: Lab, submit: Callable[..., CommandLine], limit: str, reason: str
) -> None:
    asked = Resources(cpus=2, memory_bytes=100 << 20, time_s=240.0)
    with qos(slurm, limit) as name:
        batch = submit(SlurmSettings(qos=name))
        update = told(batch, sh("exit 0", resources=asked))
        assert isinstance(update, Refused), update
        assert not update.transient
        assert reason in update.why
        end_all(batch)


def test_a_limit_on_the_number_of_jobs_is_waited_for(
    slurm: Lab, submit: Callable[..., CommandLine]
) -> None:
    with qos(slurm, "maxsubmitjobsperuser=2") as name:
        batch = submit(SlurmSettings(qos=name))
        watcher = Watcher(batch)
        jobs = batch.issueJobs([sh("exit 0", "many", index=i) for i in range(5)])
        ends = watcher.ends(jobs)
        assert {end.exit_status for end in ends.values()} == {0}
        end_all(batch)
