"""What a DRMAA library may do to the adapter, and what becomes of the jobs: over the fake one.

Read next: tests/fakebin/drmaa, the fake; tests/live/sge/test_drmaa.py, the same on a real one.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import pytest

from batchsystems import Accepted, Ambiguous, JobEnd, JobRecord, Reason, Refused, Resources
from batchsystems.conformance import Watcher, end_all, gated, sh
from batchsystems.drmaa.settings import DrmaaSettings
from tests.unit.commandline.commandfaults import kinds, refusal
from tests.unit.commandline.fakecluster import BRIEF
from tests.unit.drmaa.fake import FakeDrmaa

pytestmark = pytest.mark.usefixtures("no_stray_processes")


# ---- submissions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "words", "told"),
    [
        ("DeniedByDrmException", 'code 17: unknown resource "gpu"', "qconf -sc"),
        ("DeniedByDrmException", "code 17: error: no suitable queues", "sge.check = false"),
        ("InvalidArgumentException", "code 4: The input value is invalid.", "invalid"),
    ],
)
def test_a_denial_is_a_refusal_with_a_remedy(
    fake: FakeDrmaa, watcher: Watcher, kind: str, words: str, told: str
):
    fake.fault("runJob", "raise", kind=kind, words=words)
    refused = refusal(watcher, watcher.batch.issueJob(sh("exit 0")))
    assert told in refused.why
    assert not refused.transient


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("TryLaterException", "code 16: try later"),
        ("DeniedByDrmException", "code 17: unable to contact qmaster"),
        (
            "DeniedByDrmException",
            "code 17: slurm_load_jobs error: Socket timed out, try again later",
        ),
    ],
)
def test_a_submission_that_is_to_be_made_later_is(
    fake: FakeDrmaa, watcher: Watcher, kind: str, words: str
):
    fake.fault("runJob", "raise", times=2, kind=kind, words=words)
    job = watcher.batch.issueJob(sh("exit 3"))
    assert watcher.end(job).exit_status == 3
    assert kinds(watcher, job) == [Accepted, JobEnd]
    assert len(fake.calls("runJob")) == 3


@pytest.mark.parametrize("do", ["hang", "die", "accept-then-hang", "accept-then-die"])
def test_a_submission_without_an_answer_is_refused_for_now(
    fake: FakeDrmaa, watcher: Watcher, do: str
):
    """DRMAA has no list of jobs in which it could be found; the next ones are none the worse."""
    fake.fault("runJob", do)
    job = watcher.batch.issueJob(sh("exit 0"))
    assert refusal(watcher, job).transient
    assert kinds(watcher, job) == [Ambiguous, Refused]
    assert watcher.end(watcher.batch.issueJob(sh("exit 3", "next"))).exit_status == 3
    assert len(fake.calls("runJob")) == 2


def test_a_twin_of_a_submission_without_an_answer_finds_no_script(
    fake: FakeDrmaa, watcher: Watcher
):
    fake.configure(slots=0)
    fake.fault("runJob", "accept-then-die")
    job = watcher.batch.issueJob(sh("exit 0"))
    assert refusal(watcher, job).transient
    assert fake.states() == ["PENDING"]
    assert not list((fake.records / "drmaa").glob("*.sh"))
    fake.forget("1")


def test_a_session_that_cannot_begin_has_submissions_wait(fake: FakeDrmaa, watcher: Watcher):
    words = "code 2: unable to contact qmaster"
    fake.fault("initialize", "raise", times=2, kind="DrmCommunicationException", words=words)
    job = watcher.batch.issueJob(sh("exit 3"))
    watcher.until(lambda: "qmaster" in watcher.batch.explain([job]).get(job, ""), "the reason")
    assert watcher.end(job).exit_status == 3
    assert kinds(watcher, job) == [Accepted, JobEnd]


# ---- looks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("do", ["hang", "die"])
def test_a_library_that_hangs_or_dies_is_loaded_anew_and_goes_on(
    fake: FakeDrmaa, watcher: Watcher, tmp_path: Path, do: str
):
    job = watcher.batch.issueJob(gated(tmp_path / "go", 5))
    watcher.until(lambda: job in watcher.batch.getRunningJobIDs(), "running")
    fake.fault("wait", do)
    watcher.until(lambda: len(fake.calls("initialize")) >= 2, "another session")
    (tmp_path / "go").touch()
    assert watcher.end(job).exit_status == 5
    assert kinds(watcher, job) == [Accepted, JobEnd]


def test_many_jobs_that_run_cost_no_request_each(fake: FakeDrmaa, tmp_path: Path):
    fake.configure(slots=40)
    watcher = Watcher(fake.quick())
    jobs = watcher.batch.issueJobs([gated(tmp_path / "go", 5, index=i) for i in range(40)])
    watcher.until(lambda: len(watcher.batch.getRunningJobIDs()) == 40, "all running")
    before, looks = len(fake.calls("jobStatus")), len(fake.calls("wait"))
    watcher.until(lambda: len(fake.calls("wait")) >= looks + 3, "three looks")
    assert len(fake.calls("jobStatus")) - before <= len(fake.calls("wait")) - looks + 1
    (tmp_path / "go").touch()
    assert {end.exit_status for end in watcher.ends(jobs).values()} == {5}
    watcher.batch.close()


def test_no_more_states_are_asked_for_in_one_look_than_the_site_allows(fake: FakeDrmaa):
    fake.configure(slots=0)
    watcher = Watcher(fake.quick(DrmaaSettings(statuses=3, arrays=False)))
    jobs = watcher.batch.issueJobs([sh("exit 0", index=i) for i in range(12)])
    for job in jobs:
        watcher.accepted(job)
    watcher.until(lambda: len(fake.calls("wait")) > 20, "some looks")
    calls = [call[0] for call in fake.calls() if call[0] in ("wait", "jobStatus")]
    runs = "".join("w" if call == "wait" else "s" for call in calls).split("w")
    assert max(map(len, runs)) == 3
    end_all(watcher.batch)


# ---- ends ------------------------------------------------------------------------------------


def test_what_is_killed_while_it_waits_has_no_usage_and_no_name(fake: FakeDrmaa):
    fake.configure(slots=0)
    watcher = Watcher(fake.quick())
    jobs = watcher.batch.issueJobs([sh("exit 0", index=i) for i in range(6)])
    for job in jobs:
        watcher.accepted(job)
    watcher.batch.killJobs(jobs[2:4])
    assert {end.reason for end in watcher.ends(jobs[2:4]).values()} == {Reason.CANCELLED}
    assert watcher.batch.getIssuedJobIDs() == {*jobs[:2], *jobs[4:]}
    assert len(fake.calls("control")) == 2
    watcher.batch.killJobs(jobs)
    watcher.ends(jobs)
    watcher.batch.close()


def test_what_is_aborted_and_stays_in_error_is_deleted(
    fake: FakeDrmaa, watcher: Watcher, tmp_path: Path
):
    nowhere = watcher.batch.issueJob(sh("exit 0", "nowhere", cwd=str(tmp_path / "none")))
    held = watcher.batch.issueJob(sh("exit 100", "held"))
    mute = watcher.batch.issueJob(sh("exit 0", "mute", output=str(tmp_path / "none" / "x")))
    assert watcher.end(nowhere).reason is Reason.LAUNCH_FAILED
    assert watcher.end(mute).reason is Reason.LAUNCH_FAILED
    assert (watcher.end(held).reason, watcher.end(held).exit_status) == (Reason.FAILED, 100)
    watcher.until(lambda: "ERROR" not in fake.states(), "their deletion")


def test_limits_are_told_by_what_was_used(fake: FakeDrmaa, watcher: Watcher):
    fake.configure(usage={"maxvmem": str(99 << 20), "start_time": "1000.0", "end_time": "1007.0"})
    asked = Resources(memory_bytes=100 << 20, time_s=600)
    memory = watcher.batch.issueJob(sh("kill -9 $$", "memory", resources=asked))
    timed = watcher.batch.issueJob(sh("kill -9 $$", "timed", resources=Resources(time_s=5.0)))
    plain = watcher.batch.issueJob(sh("kill -9 $$", "plain", resources=Resources(time_s=60.0)))
    assert watcher.end(memory).reason is Reason.OUT_OF_MEMORY
    assert watcher.end(timed).reason is Reason.TIME_LIMIT
    assert (watcher.end(plain).reason, watcher.end(plain).signal) == (Reason.FAILED, 9)


# ---- sessions and records --------------------------------------------------------------------


@pytest.mark.parametrize("spoil", ["refused", "malformed", "torn", "garbage"])
def test_a_session_that_cannot_be_gone_on_with_costs_no_job(
    fake: FakeDrmaa, tmp_path: Path, spoil: str, caplog: pytest.LogCaptureFixture
):
    first = Watcher(fake.quick())
    job = first.batch.issueJob(gated(tmp_path / "go", 5, "gated"))
    first.until(lambda: job in first.batch.getRunningJobIDs(), "running")
    native = first.accepted(job)
    first.batch.close()
    journal = fake.records / "drmaa" / "journal"
    if spoil == "refused":
        fake.configure(forget=True)
    else:
        more = {
            "malformed": '{"contact":"?"}\n',
            "torn": '{"taken":"x","at',
            "garbage": "\0\n[1]\n",
        }
        journal.write_text(journal.read_text() + more[spoil])
    with caplog.at_level(logging.WARNING):
        heir = Watcher(fake.quick())
        (adopted,) = heir.batch.adopt([JobRecord("gated", 0, native, time.time())])
    assert adopted is not None
    assert heir.end(heir.batch.issueJob(sh("exit 3", "new"))).exit_status == 3
    (tmp_path / "go").touch()
    attached = spoil in ("torn", "garbage")
    assert heir.end(adopted).exit_status == (5 if attached else None)
    told = "is damaged, and left out" if attached else "cannot be gone on with"
    assert told in caplog.text
    heir.batch.close()


def test_records_are_kept_small_and_for_their_owner(fake: FakeDrmaa, watcher: Watcher):
    secret = {"PATH": "/usr/bin:/bin", "SECRET": "1"}
    fake.configure(slots=0)
    job = watcher.batch.issueJob(sh("exit 0", env=secret))
    watcher.accepted(job)
    records = fake.records / "drmaa"
    assert records.stat().st_mode & 0o777 == 0o700
    (script,) = records.glob("*.sh")
    assert script.stat().st_mode & 0o777 == 0o600
    watcher.batch.killJobs([job])
    watcher.end(job)
    watcher.until(lambda: not list(records.glob("*.sh")), "no script left")
    entries = [json.loads(line) for line in (records / "journal").read_text().splitlines()]
    assert [next(iter(entry)) for entry in entries][-2:] == ["taken", "end"]


def test_a_private_directory_is_gone_with_its_last_job(
    fake: FakeDrmaa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from batchsystems.drmaa.adapter import Drmaa
    from tests.unit.commandline.fakecluster import QUICK

    monkeypatch.chdir(tmp_path)
    watcher = Watcher(Drmaa(pace=QUICK, timeouts=BRIEF))
    assert len(list(tmp_path.glob(".drmaa-*"))) == 1
    watcher.end(watcher.batch.issueJob(sh("exit 0")))
    watcher.batch.close()
    assert list(tmp_path.glob(".drmaa-*")) == []
