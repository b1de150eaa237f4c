"""What goes wrong with Slurm's commands harms no job: over fake executables, by real processes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from batchsystems import (
    INDEX,
    Accepted,
    Ambiguous,
    JobEnd,
    JobRecord,
    JobSpec,
    Reason,
    Refused,
    Unobtainable,
)
from batchsystems.commandline.pacing import Patience
from batchsystems.slurm import Slurm
from batchsystems.slurmwords import SlurmSettings
from tests.conformance import Watcher, end_all, sh, wait_for
from tests.unit.fakecluster import BRIEF
from tests.unit.slurmfake import FakeSlurm, quick, use

pytestmark = pytest.mark.usefixtures("no_stray_processes")

SUBMIT_LIMIT = (
    "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: "
    "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
)
UNREACHABLE = "Unable to contact slurm controller (connect failure)"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return use(monkeypatch, tmp_path / "slurm")


@pytest.fixture
def watcher(fake: FakeSlurm):
    batch = quick()
    yield Watcher(batch)
    fake.heal()
    end_all(batch)


def kinds(watcher: Watcher, job: int) -> list[type]:
    return [type(update) for update in watcher.news[job]]


@pytest.mark.parametrize("do", ["accept-then-hang", "accept-then-error"])
def test_a_submission_that_was_accepted_unnoticed_is_found(fake: FakeSlurm, do: str, tmp_path):
    batch = quick(patience=Patience(submit_s=1.0, visibility_s=30, two_looks_s=15))
    watcher = Watcher(batch)
    fake.fault("sbatch", do)
    jobs = batch.issueJobs([sh(f"echo >> {tmp_path}/ran; exit 7", index=i) for i in range(3)])
    assert {watcher.end(job).exit_status for job in jobs} == {7}
    for job in jobs:
        assert kinds(watcher, job) == [Ambiguous, Accepted, JobEnd]
    assert (tmp_path / "ran").read_text() == "\n\n\n"
    assert len(fake.calls("sbatch")) == 1
    batch.close()


@pytest.mark.parametrize("do", ["hang", "empty", "garbage"])
def test_a_submission_that_is_nowhere_is_refused_for_now(fake: FakeSlurm, do: str):
    settings = replace(BRIEF, submit_s=1.0)
    watcher = Watcher(quick(patience=settings))
    fake.fault("sbatch", "empty" if do == "garbage" else do)
    job = watcher.batch.issueJob(sh("exit 0"))
    watcher.until(lambda: isinstance(watcher.last(job), Refused), "refusal")
    assert kinds(watcher, job) == [Ambiguous, Refused]
    refused = watcher.last(job)
    assert isinstance(refused, Refused)
    assert refused.transient
    assert watcher.batch.getIssuedJobIDs() == frozenset()
    assert len(fake.calls("squeue")) >= 2, "two complete answers"
    assert len(fake.calls("sacct")) >= 2, "of both sources"
    watcher.batch.close()


def test_a_limit_on_submissions_is_waited_for(fake: FakeSlurm, watcher: Watcher):
    fake.fault("sbatch", "error", times=2, stderr=SUBMIT_LIMIT)
    jobs = watcher.batch.issueJobs([sh("exit 0", index=i) for i in range(8)])
    watcher.until(
        lambda: "AssocMaxSubmitJobLimit" in watcher.batch.explain(jobs).get(jobs[0], ""),
        "the reason to be told",
    )
    assert {end.reason for end in watcher.ends(jobs).values()} == {Reason.OK}
    assert all(kinds(watcher, job) == [Accepted, JobEnd] for job in jobs)
    sizes = [sub["size"] or 1 for sub in fake.submissions()]
    assert sum(sizes) == 8
    assert sizes[0] == 2, "the largest that may fit is found by halving"


def test_an_unreachable_controller_is_waited_for(fake: FakeSlurm, watcher: Watcher):
    fake.fault("sbatch", "error", times=2, stderr=f"sbatch: error: failed: {UNREACHABLE}")
    job = watcher.batch.issueJob(sh("exit 0"))
    assert watcher.end(job).reason is Reason.OK
    assert kinds(watcher, job) == [Accepted, JobEnd]


def test_a_clear_refusal_is_told_in_slurm_s_words(fake: FakeSlurm):
    watcher = Watcher(quick(SlurmSettings(partition="nope")))
    job = watcher.batch.issueJob(sh("exit 0"))
    watcher.until(lambda: watcher.last(job), "refusal")
    refused = watcher.last(job)
    assert isinstance(refused, Refused)
    assert not refused.transient
    assert "Invalid partition name specified" in refused.why
    watcher.batch.close()


@pytest.mark.parametrize(
    ("do", "more"),
    [
        ("error", {"stderr": f"slurm_load_jobs error: {UNREACHABLE}"}),
        ("empty", {}),
        ("garbage", {}),
        ("truncate", {"bytes": 400}),
    ],
)
def test_an_answer_that_is_none_says_nothing_of_jobs(
    fake: FakeSlurm, watcher: Watcher, do: str, more: dict, tmp_path: Path
):
    job = watcher.batch.issueJob(sh(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 4"))
    watcher.accepted(job)
    watcher.until(lambda: job in watcher.batch.getRunningJobIDs(), "running")
    fake.fault("squeue", do, times=-1, **more)

    def unobtainable() -> bool:
        try:
            watcher.batch.getIssuedJobIDs()
        except Unobtainable:
            return True
        return False

    watcher.until(unobtainable, "the outage to be told")
    (tmp_path / "go").touch()
    time.sleep(0.5)  # an outage during which the job ends; nothing can be waited for
    watcher.poll()
    assert kinds(watcher, job) == [Accepted]
    fake.heal()
    assert watcher.end(job).exit_status == 4
    assert watcher.batch.getIssuedJobIDs() == frozenset()


def test_a_list_cut_between_two_lines_loses_no_job(
    fake: FakeSlurm, watcher: Watcher, tmp_path: Path
):
    job = watcher.batch.issueJob(sh(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 4"))
    watcher.accepted(job)
    watcher.until(lambda: job in watcher.batch.getRunningJobIDs(), "running")
    fake.fault("squeue", "truncate", times=-1, lines=1)
    before = len(fake.calls("sacct"))
    watcher.until(lambda: len(fake.calls("sacct")) > before, "a second opinion")
    deadline = time.monotonic() + 3 * BRIEF.absence_s
    while time.monotonic() < deadline:
        watcher.poll()
        assert kinds(watcher, job) == [Accepted]
    (tmp_path / "go").touch()
    assert watcher.end(job).exit_status == 4, "from the history, though the queue has it not"


def test_an_end_the_queue_has_forgotten_comes_from_the_history(fake: FakeSlurm, watcher: Watcher):
    fake.configure(min_job_age=0)
    jobs = watcher.batch.issueJobs([sh(f"exit {code}") for code in (0, 3, 137)])
    ends = watcher.ends(jobs)
    assert [ends[job].exit_status for job in jobs[:2]] == [0, 3]
    third = ends[jobs[2]]
    assert third.exit_status == 9
    assert "may stand for 137" in " ".join(third.evidence)


def test_a_job_that_is_nowhere_is_lost_and_never_done(fake: FakeSlurm, watcher: Watcher):
    fake.configure(rate=0.001)
    job = watcher.batch.issueJob(sh("exit 0"))
    fake.forget(watcher.accepted(job))
    end = watcher.end(job)
    assert end.reason is Reason.LOST
    assert len(end.evidence) == 2


def test_without_accounting_a_job_that_is_gone_has_ended_somehow(fake: FakeSlurm, watcher: Watcher):
    fake.configure(accounting=False, min_job_age=0)
    end = watcher.end(watcher.batch.issueJob(sh("exit 0")))
    assert end.reason is Reason.ENDED
    assert end.exit_status is None


def test_an_id_that_was_given_to_another_job_is_not_taken_for_ours(
    fake: FakeSlurm, watcher: Watcher
):
    fake.configure(rate=0.001)
    job = watcher.batch.issueJob(sh("exit 0", "ours"))
    native = watcher.accepted(job)
    path = fake.top / "jobs" / f"{native}.json"
    path.write_text(path.read_text().replace('"ours"', '"theirs"'))
    assert watcher.end(job).reason is Reason.LOST
    assert not fake.calls("scancel"), "the other's job is left alone"


def test_an_adopted_id_must_have_the_name_too(fake: FakeSlurm, watcher: Watcher):
    job = watcher.batch.issueJob(sh("sleep 1000", "ours"))
    native = watcher.accepted(job)
    heir = quick()
    assert heir.adopt([JobRecord("theirs", 0, native, time.time())]) == [None]
    heir.close()


def test_a_submission_no_acceptance_of_which_was_kept_is_adopted_by_name(
    fake: FakeSlurm, watcher: Watcher
):
    jobs = watcher.batch.issueJobs([sh("sleep 1000", "named", index=i) for i in range(3)])
    natives = [watcher.accepted(job) for job in jobs]
    heir = Watcher(quick())
    records = [JobRecord("named", i, "", time.time()) for i in range(3)]
    adopted = heir.batch.adopt(records)
    assert None not in adopted
    assert [heir.accepted(job) for job in adopted if job] == natives
    heir.batch.close()


def test_adoption_during_an_outage_keeps_everything(fake: FakeSlurm, watcher: Watcher):
    job = watcher.batch.issueJob(sh("sleep 1000", "ours"))
    native = watcher.accepted(job)
    fake.fault("squeue", "error", times=-1, stderr=UNREACHABLE)
    fake.fault("sacct", "error", times=-1, stderr="sacct: error: Connection refused")
    heir = Watcher(quick())
    known = [JobRecord("ours", 0, native, time.time()), JobRecord("gone", 0, "77", time.time())]
    ours, gone = heir.batch.adopt(known)
    assert ours is not None
    assert gone is not None
    fake.heal()
    heir.until(lambda: isinstance(heir.last(gone), JobEnd), "the end of the one that is not there")
    assert heir.batch.getIssuedJobIDs() == {ours}
    heir.batch.killJobs([ours])
    assert heir.end(ours).reason is Reason.CANCELLED
    heir.batch.close()


def test_an_unknown_node_to_be_avoided_is_no_hindrance(fake: FakeSlurm, watcher: Watcher):
    watcher.batch.exclude(["nosuchnode.example.org"])
    assert watcher.end(watcher.batch.issueJob(sh("exit 0"))).reason is Reason.OK
    first, second = fake.calls("sbatch")
    assert "--exclude=nosuchnode" in first
    assert not any(word.startswith("--exclude") for word in second)


def test_arrays_larger_than_allowed_are_cut_and_keep_their_indices(
    fake: FakeSlurm, watcher: Watcher, tmp_path: Path
):
    fake.configure(max_array=4)
    argv = ("/bin/sh", "-c", f"echo $1 > {tmp_path}/$1.out", "sh", INDEX)
    jobs = watcher.batch.issueJobs([JobSpec("cut", argv, index=i) for i in range(10)])
    watcher.ends(jobs)
    assert {p.stem for p in tmp_path.glob("*.out")} == {str(i) for i in range(10)}
    names = [sub["name"] for sub in fake.submissions()]
    assert names[0] == "cut"
    assert len(set(names)) == len(names)


def test_a_kill_that_did_not_arrive_is_sent_again(fake: FakeSlurm, watcher: Watcher):
    job = watcher.batch.issueJob(sh("sleep 1000"))
    watcher.accepted(job)
    fake.fault("scancel", "error", stderr=f"scancel: error: Kill job error: {UNREACHABLE}")
    watcher.batch.killJobs([job])
    assert watcher.end(job).reason is Reason.CANCELLED
    assert len(fake.calls("scancel")) == 2


def test_a_whole_array_is_killed_by_one_id(fake: FakeSlurm, watcher: Watcher):
    jobs = watcher.batch.issueJobs([sh("sleep 1000", index=i) for i in range(12)])
    native = watcher.accepted(jobs[0]).partition("_")[0]
    for job in jobs:
        watcher.accepted(job)
    watcher.batch.killJobs(jobs)
    watcher.ends(jobs)
    assert fake.calls("scancel") == [["scancel", native]]


def test_what_an_enclosing_job_left_in_the_environment_goes_nowhere(
    fake: FakeSlurm, watcher: Watcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for name in ("SBATCH_PARTITION", "SLURM_CPU_BIND", "SQUEUE_FORMAT", "SLURM_JOB_NAME"):
        monkeypatch.setenv(name, "nope")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    job = watcher.batch.issueJob(sh("env", output=str(tmp_path / "env")))
    assert watcher.end(job).reason is Reason.OK
    seen = (tmp_path / "env").read_text()
    assert "nope" not in seen
    assert "TZ=Asia/Tokyo\n" in seen, "the job's own environment is what the caller has"
    assert "LC_ALL=C.UTF-8\n" in seen


def test_close_sends_the_kills_that_were_asked_for(fake: FakeSlurm):
    batch = quick()
    watcher = Watcher(batch)
    job = batch.issueJob(sh("sleep 1000"))
    watcher.accepted(job)
    batch.killJobs([job])
    batch.close()
    assert len(fake.calls("scancel")) == 1
    wait_for(lambda: fake.submissions()[0]["tasks"][0]["state"] == "CANCELLED")


@pytest.mark.slow
def test_a_thousand_jobs_alike_cost_five_commands(fake: FakeSlurm):
    fake.configure(rate=47)  # what a real Slurm on this machine manages
    watcher = Watcher(Slurm())
    jobs = watcher.batch.issueJobs([sh("exit 0", index=i) for i in range(1000)])
    assert {end.reason for end in watcher.ends(jobs).values()} == {Reason.OK}
    calls = [call[0] for call in fake.calls()]
    assert len(calls) <= 5, calls
    watcher.batch.close()
