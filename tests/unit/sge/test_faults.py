"""What goes wrong with Grid Engine harms no job: over fake executables, by real processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from batchsystems import Accepted, BatchSystem, JobEnd, JobSpec, Reason, Resources
from batchsystems.commandline.factory import AdapterOf
from batchsystems.conformance import Watcher, end_all, sh
from batchsystems.sge.dialect import SgeDialect
from batchsystems.sge.settings import SgeSettings
from tests.unit.commandline.commandfaults import CommandFaults, Quick, kinds, refusal
from tests.unit.commandline.fakecluster import BRIEF
from tests.unit.sge.fake import FakeSge, quick, use

pytestmark = pytest.mark.usefixtures("no_stray_processes")

COMMLIB = "error: commlib error: got select error (Connection refused)"
UNSENT = 'unable to send message to qmaster using port 6444 on host "m": got send error'
TOO_MANY = "job rejected: only 2 jobs are allowed per user (current job count: 2)"
GIB = 2**30


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSge:
    return use(monkeypatch, tmp_path / "sge")


@pytest.fixture
def watcher(fake: FakeSge) -> Iterator[Watcher]:
    batch = quick()
    yield Watcher(batch)
    fake.heal()
    end_all(batch)


class TestCommands(CommandFaults):
    submitter, lister, killer = "qsub", "qstat", "qdel"
    cut_bytes = 100
    smallest_limit = {"max_tasks": 3}  # noqa: RUF012 - never changed
    unreachable = {  # noqa: RUF012 - never changed
        "qsub": {"stderr": f"{COMMLIB}\nUnable to run job: {UNSENT}\nExiting."},
        "qstat": {"stderr": f"{COMMLIB}\nerror: {UNSENT}"},
        "qdel": {"stderr": COMMLIB, "stdout": f"{UNSENT}\n"},
    }

    @pytest.fixture
    def fake(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSge:
        return use(monkeypatch, tmp_path / "sge")

    @pytest.fixture
    def quick(self, fake: FakeSge) -> Quick:
        return quick

    @pytest.fixture
    def whole(self, fake: FakeSge) -> BatchSystem:
        return AdapterOf(SgeDialect)()

    def test_what_an_enclosing_job_left_in_the_environment_goes_nowhere(
        self, watcher: Watcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        monkeypatch.setenv("QUEUE_URL", "kept")
        left = ("SGE_O_WORKDIR", "PE_HOSTFILE", "JOB_NAME", "QUEUE", "SGE_TASK_LAST")
        seen = self.job_environment(watcher, monkeypatch, tmp_path, *left)
        assert "QUEUE_URL=kept\n" in seen
        assert f"HOME={os.environ['HOME']}\n" in seen
        assert f"SGE_ROOT={os.environ['SGE_ROOT']}\n" in seen


# ---- submissions ---------------------------------------------------------------------------


def test_a_limit_on_jobs_is_waited_for_and_cuts_no_array(fake: FakeSge, watcher: Watcher):
    said = f"Unable to run job: {TOO_MANY}\nExiting."
    fake.fault("qsub", "error", times=2, stderr=said, status=25)
    jobs = watcher.batch.issueJobs([sh("exit 0", index=i) for i in range(8)])
    watcher.until(
        lambda: "only 2 jobs are allowed" in watcher.batch.explain(jobs).get(jobs[0], ""),
        "the reason to be told",
    )
    assert {end.reason for end in watcher.ends(jobs).values()} == {Reason.OK}
    assert [sub["size"] for sub in fake.submissions()] == [8]


def test_what_no_queue_could_ever_run_is_refused_in_sge_s_words(fake: FakeSge, watcher: Watcher):
    job = watcher.batch.issueJob(sh("exit 0", resources=Resources(memory_bytes=900 * GIB)))
    refused = refusal(watcher, job)
    assert not refused.transient
    assert 'cannot run at host "fake1" because it offers only hc:h_vmem=16.000G' in refused.why
    assert "lower what it asks for" in refused.why
    assert [call[call.index("-w") + 1] for call in fake.calls("qsub")] == ["e", "v"]
    assert fake.submissions() == []


def test_a_resource_that_the_check_cannot_judge_hinders_nobody(fake: FakeSge):
    watcher = Watcher(quick(SgeSettings(memory=("virtual_free",))))
    job = watcher.batch.issueJob(sh("exit 0", resources=Resources(memory_bytes=GIB)))
    assert watcher.end(job).reason is Reason.OK
    assert [call[call.index("-w") + 1] for call in fake.calls("qsub")] == ["e", "v", "n"]
    watcher.batch.close()


def test_what_waits_in_vain_is_recognised_though_nothing_was_checked(fake: FakeSge, caplog):
    never = '(-l h_vmem=900G) cannot run at host "fake1" because it offers only hc:h_vmem=16.000G'
    fake.configure(slots=0, never=never, why=never)
    watcher = Watcher(quick(SgeSettings(check=False)))
    batch = watcher.batch
    job = batch.issueJob(sh("exit 0"))
    watcher.until(lambda: "no queue could ever" in batch.explain([job]).get(job, ""), "the reason")
    assert "lower what it asks for" in batch.explain([job])[job]
    assert len([r for r in caplog.records if "will not start by itself" in r.message]) == 1
    end_all(batch)


def test_what_waits_for_others_is_explained(fake: FakeSge, watcher: Watcher):
    fake.configure(slots=0, why="execution time not reached")
    batch = watcher.batch
    job = batch.issueJob(sh("exit 0"))
    watcher.until(lambda: "not reached" in batch.explain([job]).get(job, ""), "the reason")
    assert "it may not begin before a set time" in batch.explain([job])[job]


def test_several_cpus_need_an_environment_on_one_host(fake: FakeSge, watcher: Watcher):
    job = watcher.batch.issueJob(sh("exit 0", resources=Resources(cpus=2)))
    assert watcher.end(job).reason is Reason.OK
    (call,) = fake.calls("qsub")
    assert call[call.index("-pe") :][:3] == ["-pe", "smp", "2"]


def test_without_such_an_environment_it_says_what_to_do(fake: FakeSge, watcher: Watcher):
    fake.configure(rule="$fill_up")
    job = watcher.batch.issueJob(sh("exit 0", resources=Resources(cpus=2)))
    assert "allocation_rule $pe_slots" in refusal(watcher, job).why
    assert not fake.calls("qsub")


def test_an_unknown_queue_or_environment_is_refused(fake: FakeSge):
    for settings, said in (
        (SgeSettings(queue="nosuch.q"), 'unknown queue "nosuch.q"'),
        (SgeSettings(pe="nosuch"), 'parallel environment "nosuch" does not exist'),
    ):
        watcher = Watcher(quick(settings))
        job = watcher.batch.issueJob(sh("exit 0", resources=Resources(cpus=2)))
        refused = refusal(watcher, job)
        assert said in refused.why
        assert not refused.transient
        watcher.batch.close()


# ---- ends ----------------------------------------------------------------------------------


def test_statuses_that_mean_something_to_sge_are_told_as_they_are(fake: FakeSge, watcher: Watcher):
    codes = (1, 75, 99, 100, 127, 137, 255)
    jobs = [watcher.batch.issueJob(sh(f"exit {code}", f"exit{code}")) for code in codes]
    ends = watcher.ends(jobs)
    assert [ends[job].exit_status for job in jobs] == list(codes)
    assert {ends[job].reason for job in jobs} == {Reason.FAILED}


def test_a_job_runs_once_whatever_it_exits_with(fake: FakeSge, watcher: Watcher, tmp_path: Path):
    job = watcher.batch.issueJob(sh(f"echo >> {tmp_path}/ran; exit 99"))
    watcher.end(job)
    assert (tmp_path / "ran").read_text() == "\n"


@pytest.mark.parametrize("what", ["output", "cwd"])
def test_what_cannot_be_launched_is_deleted_and_told_with_the_cause(
    fake: FakeSge, watcher: Watcher, what: str
):
    place = {"output": "/proc/nowhere/x"} if what == "output" else {"cwd": "/proc/nowhere"}
    job = watcher.batch.issueJob(sh("exit 0", **place))
    end = watcher.end(job)
    assert (end.reason, end.node, end.exit_status) == (Reason.LAUNCH_FAILED, "fake1", None)
    assert "/proc/nowhere" in " ".join(end.evidence)
    assert fake.states() == ["CANCELLED"], "it does not stay in the queue in error"


def test_a_record_that_comes_late_is_waited_for(fake: FakeSge):
    fake.configure(accounting="late")
    watcher = Watcher(quick(timeouts=replace(BRIEF, absence_s=30)))
    job = watcher.batch.issueJob(sh("exit 4"))
    watcher.until(lambda: fake.states() == ["FAILED"], "its end")
    before = len(fake.calls("qstat"))
    watcher.until(lambda: len(fake.calls("qstat")) >= before + 3, "three more answers")
    assert kinds(watcher, job) == [Accepted]
    record = fake.accounting.with_suffix(".late").read_text()
    with fake.accounting.open("a") as file:
        file.write(record)
    assert watcher.end(job).exit_status == 4
    watcher.batch.close()


def test_without_accounting_a_job_that_is_gone_has_ended_somehow(fake: FakeSge, watcher: Watcher):
    fake.configure(accounting=False)
    fake.accounting.unlink()
    end = watcher.end(watcher.batch.issueJob(sh("exit 0")))
    assert end.reason is Reason.ENDED
    assert end.exit_status is None


def test_accounting_that_cannot_be_read_is_not_asked_for(fake: FakeSge):
    watcher = Watcher(quick(SgeSettings(accounting="none")))
    assert watcher.end(watcher.batch.issueJob(sh("exit 0"))).reason is Reason.ENDED
    watcher.batch.close()


def test_a_waiting_job_deleted_by_hand_is_lost(fake: FakeSge, watcher: Watcher):
    fake.configure(slots=0)
    job = watcher.batch.issueJob(sh("exit 0"))
    fake.forget(watcher.accepted(job))
    assert watcher.end(job).reason is Reason.LOST


def test_a_forced_deletion_is_no_success(fake: FakeSge, watcher: Watcher):
    job = watcher.batch.issueJob(sh("sleep 1000"))
    native = watcher.accepted(job)
    watcher.until(lambda: job in watcher.batch.getRunningJobIDs(), "running")
    (submission,) = fake.submissions()
    pid = submission["tasks"][0]["pid"]
    at = int(submission["submit"])
    record = f"all.q:fake1:users:user:job:{native}:sge:0:{at}:{at}:{at + 60}:0:0:0:"
    record += "0.000000:0.000000:0.000000:0:0:0:0:0:0:0:0.000000:0:0:0:0:0:0:NONE:d:NONE:1:0:"
    record += "0.000000:0.000000:0.000000:NONE:0.000000:NONE:0.000000:0:0\n"
    fake.forget(native)
    with fake.accounting.open("a") as file:
        file.write(record)
    assert watcher.end(job).reason is Reason.ENDED
    os.killpg(pid, signal.SIGKILL)


# ---- kills and arguments ---------------------------------------------------------------------


def test_tasks_of_an_array_are_killed_as_ranges(fake: FakeSge, watcher: Watcher):
    jobs = watcher.batch.issueJobs([sh("sleep 1000", index=i) for i in range(12)])
    native = watcher.accepted(jobs[0]).partition(".")[0]
    for job in jobs:
        watcher.accepted(job)
    watcher.batch.killJobs([*jobs[1:4], jobs[7]])
    ends = watcher.ends([*jobs[1:4], jobs[7]])
    assert {end.reason for end in ends.values()} == {Reason.CANCELLED}
    assert fake.calls("qdel") == [["qdel", f"{native}.2-4", f"{native}.8"]]
    assert watcher.batch.getIssuedJobIDs() == set(jobs) - ends.keys()


def test_arguments_that_look_like_options_of_qsub_are_none(
    fake: FakeSge, watcher: Watcher, tmp_path: Path
):
    words = ("a\n#$ -q nosuch.q\nb", "$HOME", "`x`", 'a"b', "a'b", "*", "")
    argv = ("/bin/sh", "-c", 'for word; do printf "%s|" "$word"; done', "sh", *words)
    output = tmp_path / "out,put $HOME:1"
    job = watcher.batch.issueJob(JobSpec("words", argv, output=str(output)))
    assert watcher.end(job).reason is Reason.OK
    assert output.read_text() == "".join(f"{word}|" for word in words)
    assert isinstance(watcher.last(job), JobEnd)


class TestPrivateEnvironment:
    """Scripts are for everybody to read: what a job is given stands in a file of its own."""

    @pytest.mark.parametrize("size", [1, 3])
    def test_it_reaches_the_job_and_is_gone_with_it(self, fake: FakeSge, tmp_path: Path, size: int):
        gate, output = tmp_path / "gate", tmp_path / "output"
        watcher = Watcher(quick())
        env = {"PATH": os.environ["PATH"], "MY_TOKEN": "s3cr3t", "JOB_NAME": "s3cr3t-too"}
        script = f'while [ ! -e {gate} ]; do sleep 0.05; done; echo "$MY_TOKEN $JOB_NAME"'
        argv = ("/bin/sh", "-c", script)
        specs = [JobSpec("j", argv, index=i, env=env, output=str(output)) for i in range(size)]
        jobs = watcher.batch.issueJobs(specs)
        kept = tmp_path / ".j.sh"
        watcher.until(lambda: fake.states() == ["RUNNING"] * size, "all running")
        for path in fake.top.rglob("*"):
            assert not path.is_file() or b"s3cr3t" not in path.read_bytes(), path
        if size > 1:
            assert kept.stat().st_mode & 0o777 == 0o600
        gate.touch()
        assert [watcher.end(job).exit_status for job in jobs] == [0] * size
        assert output.read_text() == "s3cr3t s3cr3t-too\n" * size
        watcher.batch.getUpdatedJobs()
        assert not kept.exists()
        watcher.batch.close()
