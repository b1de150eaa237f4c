"""The Slurm adapter over a real Slurm: the contract, and what only a real one can show.

Owns the adapter alone; whole trees and their rescue are tested elsewhere. Read next: lab.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from batchsystems import (
    INDEX,
    Accepted,
    Ambiguous,
    BatchSystem,
    JobEnd,
    JobRecord,
    JobSpec,
    Reason,
    Refused,
    Resources,
)
from batchsystems.commandline.adapter import CommandLine
from batchsystems.commandline.factory import AdapterOf
from batchsystems.commandline.pacing import Pace, Timeouts
from batchsystems.conformance import Conformance, Watcher, end_all, sh
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.slurm.settings import SlurmSettings
from tests.live.slurm.lab import Lab
from tests.live.thousand import MANY, assert_few_commands
from tests.live.waiting import eventually

QUICK = Pace(20, queries_per_minute=600, poll_s=2.0)
BRIEF = replace(Timeouts(), absence_s=5.0, history_pause_s=1.0, hold_s=1.0, hold_most_s=2.0)


@pytest.fixture
def make(slurm: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CommandLine]:
    """Return what makes an adapter of the test's cluster."""
    monkeypatch.setenv("SLURM_CONF", slurm.env["SLURM_CONF"])

    def made(settings: SlurmSettings | None = None, **timeouts: float) -> CommandLine:
        return AdapterOf(SlurmDialect)(settings, QUICK, replace(BRIEF, **timeouts))  # type: ignore[arg-type]

    return made


class TestSlurm(Conformance):
    checks_names = True

    @pytest.fixture
    def make(self, make: Callable[..., CommandLine]) -> Callable[[], BatchSystem]:
        return make


def kinds(watcher: Watcher, job: int) -> list[type]:
    return [type(update) for update in watcher.news[job]]


def test_exit_statuses_are_exact(watcher: Watcher):
    codes = (1, 3, 70, 75, 99, 100, 127, 128, 137, 255)
    jobs = watcher.batch.issueJobs([sh(f"exit {code}", f"exit{code}") for code in codes])
    ends = watcher.ends(jobs)
    assert [ends[job].exit_status for job in jobs] == list(codes)
    assert {ends[job].reason for job in jobs} == {Reason.FAILED}


def test_memory_beyond_the_limit_is_told_as_such(slurm: Lab, watcher: Watcher, tmp_path: Path):
    script = "exec python3 -c 'x = bytearray(400 << 20); import time; time.sleep(60)'"
    asked = Resources(memory_bytes=100 << 20)
    output = str(tmp_path / "output")
    end = watcher.end(watcher.batch.issueJob(sh(script, resources=asked, output=output)))
    print("with cgroups" if slurm.cgroup else "without cgroups, by the words in the output")
    assert end.reason is Reason.OUT_OF_MEMORY, end


def test_a_missing_output_directory_is_a_failed_launch(watcher: Watcher):
    end = watcher.end(watcher.batch.issueJob(sh("exit 0", output="/proc/nowhere/x")))
    assert end.reason is Reason.LAUNCH_FAILED
    assert "output" in " ".join(end.evidence)


def test_a_partition_is_found_for_a_job_too_long_for_the_default(slurm: Lab, watcher: Watcher):
    job = watcher.batch.issueJob(sh("exit 0", resources=Resources(time_s=3600.0)))
    assert watcher.end(job).reason is Reason.OK


def test_a_job_that_waits_for_ever_is_explained(slurm: Lab, make: Callable[..., CommandLine]):
    default = slurm.run("sinfo", "-h", "-o", "%R|%l|%P").stdout.splitlines()
    name = next(line.partition("|")[0] for line in default if line.endswith("*"))
    batch = make(SlurmSettings(partition=name, queues=()))
    watcher = Watcher(batch)
    cluster = batch._engine.cluster  # the limits are taken away, as where sinfo tells nothing
    cluster._asked.update(command.argv for command in cluster._unasked(1, Resources()))
    job = batch.issueJob(sh("exit 0", resources=Resources(time_s=864000.0)))
    watcher.accepted(job)
    watcher.until(lambda: "PartitionTimeLimit" in batch.explain([job]).get(job, ""), "the reason")
    assert "lower its time" in batch.explain([job])[job]
    end_all(batch)


def test_a_node_that_fails_is_told_as_such(slurm: Lab, watcher: Watcher):
    job = watcher.batch.issueJob(sh("sleep 1000"))
    native = watcher.accepted(job)
    slurm.wait(native, "RUNNING")
    node = slurm.node_of(native)
    slurm.run("scontrol", "update", f"node={node}", "state=down", "reason=test")
    end = watcher.end(job)
    assert (end.reason, end.node) == (Reason.NODE_FAILED, node)


def test_excluded_nodes_get_no_job(slurm: Lab, watcher: Watcher, tmp_path: Path):
    watcher.batch.exclude([*slurm.nodes[1:], "nosuchnode"])
    job = watcher.batch.issueJob(sh("exit 0", "unknown"))
    assert watcher.end(job).reason is Reason.OK, "an unknown node is no hindrance"
    watcher.batch.exclude(slurm.nodes[1:])
    jobs = watcher.batch.issueJobs([sh("exit 0", "bad", index=i) for i in range(8)])
    assert {end.node for end in watcher.ends(jobs).values()} == {slurm.nodes[0]}


def test_a_submission_while_the_controller_is_frozen_is_found(slurm: Lab, watcher: Watcher):
    watcher.end(watcher.batch.issueJob(sh("exit 0", "before")))
    slurm.fault("freeze-controller")
    job = watcher.batch.issueJob(sh("exit 5", "frozen"))
    watcher.until(lambda: watcher.last(job), "some word")
    slurm.fault("thaw-controller")
    assert watcher.end(job).exit_status == 5
    assert kinds(watcher, job) == [Ambiguous, Accepted, JobEnd]

    def accounted() -> list[str]:
        return slurm.run("sacct", "-XDnP", "--name=frozen", "-o", "JobID").stdout.split()

    assert len(eventually("the job in accounting", accounted)) == 1


def test_a_job_cancelled_by_hand(slurm: Lab, watcher: Watcher):
    job = watcher.batch.issueJob(sh("sleep 1000"))
    slurm.run("scancel", watcher.accepted(job))
    assert watcher.end(job).reason is Reason.CANCELLED


def test_an_array_is_adopted_by_name_alone(watcher: Watcher, make: Callable[..., CommandLine]):
    jobs = watcher.batch.issueJobs([sh("sleep 1000", "named", index=i) for i in range(5)])
    natives = [watcher.accepted(job) for job in jobs]
    heir = Watcher(make())
    adopted = heir.batch.adopt([JobRecord("named", i, "", time.time()) for i in range(5)])
    assert None not in adopted
    assert [heir.accepted(job) for job in adopted if job] == natives
    heir.batch.close()


def test_an_unknown_account_or_partition_is_refused(make: Callable[..., CommandLine]):
    batch = make(SlurmSettings(partition="nosuch"))
    watcher = Watcher(batch)
    job = batch.issueJob(sh("exit 0"))
    watcher.until(lambda: watcher.last(job), "refusal")
    refused = watcher.last(job)
    assert isinstance(refused, Refused)
    assert not refused.transient
    batch.close()


def test_a_thousand_like_jobs_as_fast_as_slurm_itself(slurm: Lab, make: Callable[..., CommandLine]):
    with slurm.configured(MinJobAge="300"):  # Slurm's own default: what ended is remembered
        began = time.monotonic()
        bare = slurm.submit("-a", f"0-{MANY - 1}", "--wrap", "true")
        eventually(
            "the end of a bare array",
            lambda: not slurm.run("squeue", "-h", "-j", f"{bare},{bare}").stdout,
            every_s=0.5,
            limit_s=400,
        )
        bare_s = time.monotonic() - began
        assert_few_commands(lambda transport: AdapterOf(SlurmDialect)(transport=transport), bare_s)


def test_more_jobs_than_an_array_may_have_are_several_arrays(slurm: Lab, watcher: Watcher) -> None:
    for node in slurm.nodes:
        slurm.fault("drain", node)
    specs = [JobSpec("large", ("true", INDEX), index=i) for i in range(2500)]
    jobs = watcher.batch.issueJobs(specs)
    natives = [watcher.accepted(job) for job in jobs]
    sizes = Counter(native.partition("_")[0] for native in natives)
    assert sorted(sizes.values()) == [498, 1001, 1001]
    assert [native.partition("_")[2] for native in natives[1000:1003]] == ["1000", "0", "1"]
    watcher.batch.killJobs(jobs)
    assert {end.reason for end in watcher.ends(jobs).values()} <= {Reason.CANCELLED, Reason.LOST}


def test_a_stopped_controller_is_waited_for(slurm: Lab, watcher: Watcher):
    job = watcher.batch.issueJob(sh("sleep 5; exit 4", "early"))
    slurm.wait(watcher.accepted(job), "RUNNING")
    slurm.fault("stop-controller")
    late = watcher.batch.issueJob(sh("exit 6", "late"))
    watcher.until(lambda: "connect failure" in watcher.batch.explain([late]).get(late, ""), "words")
    slurm.fault("start-controller")
    assert watcher.end(job).exit_status == 4
    assert watcher.end(late).exit_status == 6
    assert kinds(watcher, late) == [Accepted, JobEnd]
