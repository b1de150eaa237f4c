"""The Grid Engine adapter over a real cell: the contract, and what only a real one can show.

Owns the adapter alone; whole trees and their rescue are tested elsewhere. Read next: lab.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from batchsystems import (
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
from batchsystems.conformance import Conformance, Watcher, end_all, gated, sh
from batchsystems.sge.dialect import SgeDialect
from batchsystems.sge.settings import SgeSettings
from tests.live.sge.lab import Lab
from tests.live.waiting import eventually
from tests.unit.commandline.commandfaults import kinds, refusal

QUICK = Pace(submits_per_s=20, queries_per_minute=600, poll_s=2.0)
BRIEF = replace(
    Timeouts(),
    absence_s=8.0,
    history_pause_s=1.0,
    hold_s=1.0,
    hold_most_s=2.0,
    held_s=3.0,
    reason_s=2.0,
)
LATE = {"absence_s": 120.0}
"""For records that come as late as those of a host that has to reconnect first."""

RECONNECT_S = 150.0
"""Hosts look for a master that is back every half minute, and may miss it once or twice."""

GIB = 2**30
Make = Callable[..., CommandLine]


@pytest.fixture
def make(sge: Lab, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return what makes an adapter of the test's cell."""
    sge.lead(monkeypatch)

    def made(settings: SgeSettings | None = None, **timeouts: float) -> CommandLine:
        return AdapterOf(SgeDialect)(settings, QUICK, replace(BRIEF, **timeouts))  # type: ignore[arg-type]

    return made


class TestSge(Conformance):
    checks_names = True

    @pytest.fixture
    def make(self, make: Make) -> Callable[[], BatchSystem]:
        return make


def begun(sge: Lab, watcher: Watcher, name: str = "job", **more: object) -> tuple[int, str]:
    """Submit a job that stays, and wait until it runs; return it and its id.

    Adapters call running what is only on its way to a host, too.
    """
    job = watcher.batch.issueJob(sh("sleep 1000", name, **more))
    native = watcher.accepted(job)
    sge.wait(native, "r")
    return job, native


# ---- ends ----------------------------------------------------------------------------------


def test_exit_statuses_are_exact_and_jobs_run_once(watcher: Watcher, tmp_path: Path):
    codes = (1, 3, 70, 75, 99, 100, 127, 128, 137, 255)
    scripts = [(f"echo >> {tmp_path}/{code}; exit {code}", f"exit{code}") for code in codes]
    jobs = watcher.batch.issueJobs([sh(script, name) for script, name in scripts])
    ends = watcher.ends(jobs)
    assert [ends[job].exit_status for job in jobs] == list(codes)
    assert {ends[job].reason for job in jobs} == {Reason.FAILED}
    assert {(tmp_path / str(code)).read_text() for code in codes} == {"\n"}


def test_limits_that_are_exceeded_are_told_apart(watcher: Watcher):
    part = 'python3 -c "x = bytearray(150 << 20); import time; time.sleep(60)"'
    hungry = f"{part} & {part} & wait"
    asked = Resources(memory_bytes=200 << 20, time_s=600)
    memory = watcher.batch.issueJob(sh(hungry, "hungry", resources=asked))
    long = watcher.batch.issueJob(sh("sleep 600", "long", resources=Resources(time_s=2.0)))
    assert watcher.end(memory).reason is Reason.OUT_OF_MEMORY
    assert watcher.end(long).reason is Reason.TIME_LIMIT


@pytest.mark.parametrize("what", ["output", "cwd"])
def test_what_cannot_be_launched_is_told_with_the_cause_and_leaves_the_queue(
    sge: Lab, watcher: Watcher, what: str
):
    place = {"output": "/proc/nowhere/x"} if what == "output" else {"cwd": "/proc/nowhere"}
    job = watcher.batch.issueJob(sh("exit 0", **place))
    native = watcher.accepted(job)
    end = watcher.end(job)
    assert end.reason is Reason.LAUNCH_FAILED
    assert end.node in sge.hosts
    assert "/proc/nowhere" in " ".join(end.evidence)
    assert sge.state(native) == ""


def test_jobs_deleted_by_hand(sge: Lab, watcher: Watcher):
    runs, native = begun(sge, watcher, "runs")
    sge.run("qdel", native)
    end = watcher.end(runs)
    assert (end.reason, end.signal) == (Reason.FAILED, 9)
    wide = Resources(memory_bytes=15 * GIB)
    full = [begun(sge, watcher, f"b{i}", resources=wide)[0] for i in range(len(sge.hosts))]
    waits = watcher.batch.issueJob(sh("exit 0", "waits", resources=wide))
    sge.run("qdel", watcher.accepted(waits))
    assert watcher.end(waits).reason is Reason.LOST, "of what waits nothing is recorded"
    watcher.batch.killJobs(full)
    assert {end.reason for end in watcher.ends(full).values()} == {Reason.CANCELLED}


# ---- what is asked for -----------------------------------------------------------------------


def test_what_no_queue_could_ever_run_is_refused_with_the_reasons(watcher: Watcher):
    job = watcher.batch.issueJob(sh("exit 0", resources=Resources(memory_bytes=900 * GIB)))
    refused = refusal(watcher, job)
    assert not refused.transient
    assert "because it offers only hc:h_vmem" in refused.why
    job = watcher.batch.issueJob(sh("exit 0", "wide", resources=Resources(cpus=900)))
    assert "cannot run in PE" in refusal(watcher, job).why


def test_what_waits_in_vain_is_recognised_soon(make: Make):
    batch = make(SgeSettings(check=False))
    watcher = Watcher(batch)
    job = batch.issueJob(sh("exit 0", resources=Resources(memory_bytes=900 * GIB)))
    watcher.accepted(job)
    watcher.until(lambda: "no queue could ever" in batch.explain([job]).get(job, ""), "the reason")
    assert "lower what it asks for" in batch.explain([job])[job]
    end_all(batch)


def test_several_cpus_on_one_host(sge: Lab, watcher: Watcher, tmp_path: Path):
    output = tmp_path / "slots"
    asked = Resources(cpus=2, memory_bytes=GIB)
    job = watcher.batch.issueJob(sh("echo $NSLOTS", resources=asked, output=str(output)))
    assert watcher.end(job).reason is Reason.OK
    assert output.read_text() == "2\n"


def test_an_unknown_queue_environment_or_project_is_refused(make: Make):
    for settings in (
        SgeSettings(queue="nosuch.q"),
        SgeSettings(pe="nosuch"),
        SgeSettings(project="nosuch"),
    ):
        batch = make(settings)
        watcher = Watcher(batch)
        job = batch.issueJob(sh("exit 0", resources=Resources(cpus=2)))
        refused = refusal(watcher, job)
        assert "nosuch" in refused.why
        assert not refused.transient
        batch.close()


def test_excluded_hosts_get_no_job(machines: Lab, watcher: Watcher):
    watcher.batch.exclude([*machines.hosts[1:], "nosuchnode"])
    jobs = watcher.batch.issueJobs([sh("exit 0", "bad", index=i) for i in range(8)])
    assert {end.node for end in watcher.ends(jobs).values()} == {machines.hosts[0]}


def test_words_and_environment_arrive_as_they_are(watcher: Watcher, tmp_path: Path):
    words = ("a  b", "c'd", '"', "$HOME", "`x`", "\\", "e\n#$ -q nosuch.q\nf", "", "*")
    argv = ("printf", "%s|", *words)
    env = {"PATH": "/usr/bin:/bin", "GREETING": "multi\nline 'x'", "BASH_FUNC_f%%": "() { :; }"}
    output = tmp_path / "o$HOME,u:t"
    job = watcher.batch.issueJob(JobSpec("words", argv, env=env, output=str(output)))
    assert watcher.end(job).reason is Reason.OK
    assert output.read_text() == "".join(f"{word}|" for word in words)
    seen = tmp_path / "seen"
    job = watcher.batch.issueJob(JobSpec("env", ("env",), env=env, output=str(seen)))
    assert watcher.end(job).reason is Reason.OK
    lines = seen.read_text()
    assert "GREETING=multi\nline 'x'\n" in lines
    assert "BASH_FUNC_f%%=() { :; }\n" in lines
    assert "\nPATH=/usr/bin:/bin\n" in lines
    assert "\nHOME=" not in lines
    assert "\nTMP=/" in lines, "the node's"


# ---- faults ----------------------------------------------------------------------------------


def test_a_killed_shepherd_is_no_success(machines: Lab, make: Make):
    watcher = Watcher(make(**LATE))
    job, native = begun(machines, watcher)
    machines.fault("kill-shepherd", native)
    end = watcher.end(job)
    assert (end.reason, end.exit_status) == (Reason.NODE_FAILED, None)
    end_all(watcher.batch)


def test_a_host_that_dies_and_comes_back(machines: Lab, make: Make):
    watcher = Watcher(make(**LATE))
    job, native = begun(machines, watcher)
    host = machines.host_of(native)
    machines.fault("kill-host", host)
    machines.fault("start-host", host)
    end = watcher.end(job)
    assert (end.reason, end.node) == (Reason.NODE_FAILED, host)
    end_all(watcher.batch)


def test_a_failing_prolog_costs_a_job_nothing(machines: Lab, watcher: Watcher):
    host = machines.hosts[0]
    watcher.batch.exclude(machines.hosts[1:])
    machines.fault("fail-prolog", host)
    job = watcher.batch.issueJob(sh("exit 3"))
    watcher.accepted(job)
    eventually("the queue in error", lambda: machines.queue_state(host), lambda state: "E" in state)
    machines.fault("mend-prolog", host)
    end = watcher.end(job)
    assert (end.reason, end.exit_status, end.node) == (Reason.FAILED, 3, host)


def test_a_master_that_is_away_for_a_while_loses_nothing(sge: Lab, make: Make, tmp_path: Path):
    watcher = Watcher(make(stale_s=1.0, **LATE))
    gate = tmp_path / "go"
    job = watcher.batch.issueJob(gated(gate, 5, "before"))
    sge.wait(watcher.accepted(job), "r")
    sge.fault("kill-master")
    gate.touch()
    during = watcher.batch.issueJob(sh("exit 6", "during"))
    watcher.until(
        lambda: "commlib error" in watcher.batch.explain([during]).get(during, ""), "the outage"
    )
    sge.fault("start-master")
    ends = [watcher.end(each, RECONNECT_S) for each in (job, during)]
    assert [end.exit_status for end in ends] == [5, 6]
    assert kinds(watcher, during) == [Accepted, JobEnd]
    end_all(watcher.batch)


def test_a_submission_while_the_master_is_frozen_happens_once_or_not_at_all(sge: Lab, make: Make):
    watcher = Watcher(make(submit_s=2.0, visibility_s=10.0, two_looks_s=2.0))
    watcher.end(watcher.batch.issueJob(sh("exit 0", "before")))
    sge.fault("freeze-master")
    job = watcher.batch.issueJob(sh("exit 5", "frozen"))
    watcher.until(lambda: watcher.last(job), "some word")
    sge.fault("thaw-master")
    watcher.until(lambda: isinstance(watcher.last(job), JobEnd | Refused), "an end of it")
    last = watcher.last(job)
    assert kinds(watcher, job)[0] is Ambiguous
    if isinstance(last, JobEnd):
        assert last.exit_status == 5
    else:
        assert isinstance(last, Refused)
        assert last.transient
    end_all(watcher.batch)


# ---- adoption, and many ----------------------------------------------------------------------


def test_an_array_is_adopted_by_name_alone(watcher: Watcher, make: Make):
    jobs = watcher.batch.issueJobs([sh("sleep 1000", "named", index=i) for i in range(5)])
    natives = [watcher.accepted(job) for job in jobs]
    heir = Watcher(make())
    adopted = heir.batch.adopt([JobRecord("named", i, "", time.time()) for i in range(5)])
    assert None not in adopted
    assert [heir.accepted(job) for job in adopted if job] == natives
    heir.batch.close()
