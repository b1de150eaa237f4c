"""What may go wrong with any scheduler's commands, as tests that every adapter's fake goes through.

Owns the faults all schedulers have; what only one does is tested beside its adapter. Read next:
../slurm/test_faults.py.

    class TestMine(CommandFaults):
        submitter, lister, killer = "msub", "mstat", "mdel"     # and what they say, below
        @pytest.fixture
        def fake(self, tmp_path, monkeypatch): ...
        @pytest.fixture
        def quick(self, fake): ...                              # makes an adapter
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

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
)
from batchsystems.commandline.pacing import Timeouts
from batchsystems.conformance import Watcher, end_all, gated, sh, wait_for
from tests.unit.commandline.fakecluster import BRIEF, FakeCluster

Quick = Callable[..., BatchSystem]


def kinds(watcher: Watcher, job: int) -> list[type]:
    """Return the types of the updates told of a job."""
    return [type(update) for update in watcher.news[job]]


def refusal(watcher: Watcher, job: int) -> Refused:
    """Wait until a job is refused."""
    watcher.until(lambda: isinstance(watcher.last(job), Refused), "refusal")
    refused = watcher.last(job)
    assert isinstance(refused, Refused)
    return refused


@pytest.mark.usefixtures("no_stray_processes")
class CommandFaults:
    """Inherit, name the commands, and give it the fixtures `fake` and `quick`."""

    submitter = lister = killer = ""
    historian = ""
    """The command that tells of jobs no longer queued, if it is a command."""
    unreachable: dict[str, dict[str, Any]]
    """What each of these commands says of a scheduler that cannot be reached."""
    cut_bytes: int
    """How much of an answer of the lister is left by a fault that cuts it: no whole answer."""
    smallest_limit: dict[str, int]
    """The fake's configuration in which an array has 3 tasks at most."""

    @pytest.fixture
    def fake(self) -> FakeCluster:
        raise NotImplementedError

    @pytest.fixture
    def quick(self) -> Quick:
        raise NotImplementedError

    @pytest.fixture
    def watcher(self, fake: FakeCluster, quick: Quick) -> Iterator[Watcher]:
        batch = quick()
        yield Watcher(batch)
        fake.heal()
        end_all(batch)

    def down(self, fake: FakeCluster, command: str, times: int = 1) -> None:
        """Have a command say that its scheduler cannot be reached."""
        fake.fault(command, "error", times=times, **self.unreachable[command])

    # -- submissions ------------------------------------------------------------------------------

    @pytest.mark.parametrize("do", ["accept-then-hang", "accept-then-error"])
    def test_a_submission_that_was_accepted_unnoticed_is_found(
        self, fake: FakeCluster, quick: Quick, do: str, tmp_path: Path
    ):
        batch = quick(timeouts=Timeouts(submit_s=3.0, visibility_s=30, two_looks_s=15))
        watcher = Watcher(batch)
        fake.fault(self.submitter, do)
        jobs = batch.issueJobs([sh(f"echo >> {tmp_path}/ran; exit 7", index=i) for i in range(3)])
        assert {watcher.end(job).exit_status for job in jobs} == {7}
        for job in jobs:
            assert kinds(watcher, job) == [Ambiguous, Accepted, JobEnd]
        assert (tmp_path / "ran").read_text() == "\n\n\n"
        assert len(fake.calls(self.submitter)) == 1
        batch.close()

    @pytest.mark.parametrize("do", ["hang", "empty"])
    def test_a_submission_that_is_nowhere_is_refused_for_now(
        self, fake: FakeCluster, quick: Quick, do: str
    ):
        watcher = Watcher(quick(timeouts=replace(BRIEF, submit_s=1.0)))
        fake.fault(self.submitter, do)
        job = watcher.batch.issueJob(sh("exit 0"))
        assert refusal(watcher, job).transient
        assert kinds(watcher, job) == [Ambiguous, Refused]
        assert watcher.batch.getIssuedJobIDs() == frozenset()
        assert len(fake.calls(self.lister)) >= 2, "two complete answers"
        if self.historian:
            assert len(fake.calls(self.historian)) >= 2, "of both sources"
        watcher.batch.close()

    def test_an_unreachable_controller_is_waited_for(self, fake: FakeCluster, watcher: Watcher):
        self.down(fake, self.submitter, times=2)
        job = watcher.batch.issueJob(sh("exit 0"))
        assert watcher.end(job).reason is Reason.OK
        assert kinds(watcher, job) == [Accepted, JobEnd]

    def test_arrays_larger_than_allowed_are_cut_and_keep_their_indices(
        self, fake: FakeCluster, watcher: Watcher, tmp_path: Path
    ):
        fake.configure(**self.smallest_limit)
        argv = ("/bin/sh", "-c", f"echo $1 > {tmp_path}/$1.out", "sh", INDEX)
        jobs = watcher.batch.issueJobs([JobSpec("cut", argv, index=i) for i in range(10)])
        watcher.ends(jobs)
        assert {p.stem for p in tmp_path.glob("*.out")} == {str(i) for i in range(10)}
        names = [sub["name"] for sub in fake.submissions()]
        assert names[0] == "cut"
        assert len(set(names)) == len(names)

    # -- answers that are none --------------------------------------------------------------------

    @pytest.mark.parametrize("do", ["unreachable", "empty", "garbage", "truncate"])
    def test_an_answer_that_is_none_says_nothing_of_jobs(
        self, fake: FakeCluster, watcher: Watcher, do: str, tmp_path: Path
    ):
        job = watcher.batch.issueJob(gated(tmp_path / "go", 4))
        watcher.accepted(job)
        watcher.until(lambda: job in watcher.batch.getRunningJobIDs(), "running")
        if do == "unreachable":
            self.down(fake, self.lister, times=-1)
        else:
            fake.fault(self.lister, do, times=-1, bytes=self.cut_bytes)
        watcher.until(lambda: not watcher.obtainable(), "the outage to be told")
        (tmp_path / "go").touch()
        time.sleep(0.5)  # an outage during which the job ends; nothing can be waited for
        watcher.poll()
        assert kinds(watcher, job) == [Accepted]
        fake.heal()
        assert watcher.end(job).exit_status == 4
        assert watcher.batch.getIssuedJobIDs() == frozenset()

    def test_a_job_that_is_nowhere_is_lost_and_never_done(
        self, fake: FakeCluster, watcher: Watcher
    ):
        fake.configure(rate=0.001)
        job = watcher.batch.issueJob(sh("exit 0"))
        fake.forget(watcher.accepted(job))
        end = watcher.end(job)
        assert end.reason is Reason.LOST
        assert len(end.evidence) == 2

    def test_an_id_that_was_given_to_another_job_is_not_taken_for_ours(
        self, fake: FakeCluster, watcher: Watcher
    ):
        fake.configure(rate=0.001)
        job = watcher.batch.issueJob(sh("exit 0", "ours"))
        fake.rename(watcher.accepted(job), "theirs")
        assert watcher.end(job).reason is Reason.LOST
        assert not fake.calls(self.killer), "the other's job is left alone"

    # -- adoption ---------------------------------------------------------------------------------

    def test_an_adopted_id_must_have_the_name_too(
        self, fake: FakeCluster, watcher: Watcher, quick: Quick
    ):
        job = watcher.batch.issueJob(sh("sleep 1000", "ours"))
        native = watcher.accepted(job)
        heir = quick()
        assert heir.adopt([JobRecord("theirs", 0, native, time.time())]) == [None]
        heir.close()

    def test_a_submission_no_acceptance_of_which_was_kept_is_adopted_by_name(
        self, fake: FakeCluster, watcher: Watcher, quick: Quick
    ):
        jobs = watcher.batch.issueJobs([sh("sleep 1000", "named", index=i) for i in range(3)])
        natives = [watcher.accepted(job) for job in jobs]
        heir = Watcher(quick())
        adopted = heir.batch.adopt([JobRecord("named", i, "", time.time()) for i in range(3)])
        assert None not in adopted
        assert [heir.accepted(job) for job in adopted if job] == natives
        heir.batch.close()

    def test_adoption_during_an_outage_keeps_everything(
        self, fake: FakeCluster, watcher: Watcher, quick: Quick
    ):
        job = watcher.batch.issueJob(sh("sleep 1000", "ours"))
        native = watcher.accepted(job)
        for command in {self.lister, self.historian} - {""}:
            self.down(fake, command, times=-1)
        heir = Watcher(quick())
        known = [JobRecord("ours", 0, native, time.time()), JobRecord("gone", 0, "77", time.time())]
        ours, gone = heir.batch.adopt(known)
        assert ours is not None
        assert gone is not None
        fake.heal()
        heir.until(lambda: isinstance(heir.last(gone), JobEnd), "the end of the one not there")
        assert heir.batch.getIssuedJobIDs() == {ours}
        heir.batch.killJobs([ours])
        assert heir.end(ours).reason is Reason.CANCELLED
        heir.batch.close()

    # -- kills ------------------------------------------------------------------------------------

    def test_a_kill_that_did_not_arrive_is_sent_again(self, fake: FakeCluster, watcher: Watcher):
        job = watcher.batch.issueJob(sh("sleep 1000"))
        watcher.accepted(job)
        self.down(fake, self.killer)
        watcher.batch.killJobs([job])
        assert watcher.end(job).reason is Reason.CANCELLED
        assert len(fake.calls(self.killer)) == 2

    def test_a_whole_array_is_killed_by_one_id(self, fake: FakeCluster, watcher: Watcher):
        jobs = watcher.batch.issueJobs([sh("sleep 1000", index=i) for i in range(12)])
        for job in jobs:
            watcher.accepted(job)
        watcher.batch.killJobs(jobs)
        watcher.ends(jobs)
        (submission,) = fake.submissions()
        assert fake.calls(self.killer) == [[self.killer, str(submission["id"])]]

    def test_close_sends_the_kills_that_were_asked_for(self, fake: FakeCluster, quick: Quick):
        batch = quick()
        watcher = Watcher(batch)
        job = batch.issueJob(sh("sleep 1000"))
        watcher.accepted(job)
        batch.killJobs([job])
        batch.close()
        assert len(fake.calls(self.killer)) == 1
        wait_for(lambda: fake.states() == ["CANCELLED"])

    # -- surroundings -----------------------------------------------------------------------------

    def job_environment(
        self, watcher: Watcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *names: str
    ) -> str:
        """Return what `env` prints in a job of a caller to whom an enclosing job left these."""
        for name in names:
            monkeypatch.setenv(name, "nope")
        for name in ("JOB_ID_MINE", "JOB_MINE", "SLURMY"):
            monkeypatch.setenv(name, "kept")
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        monkeypatch.setenv("LC_ALL", "C.UTF-8")
        monkeypatch.setenv("CALLER_S", "own")
        job = watcher.batch.issueJob(sh("env", output=str(tmp_path / "env")))
        assert watcher.end(job).reason is Reason.OK
        seen = (tmp_path / "env").read_text()
        assert "nope" not in seen
        assert "TZ=Asia/Tokyo\n" in seen, "the job's own environment is what the caller has"
        assert "LC_ALL=C.UTF-8\n" in seen
        assert "CALLER_S=own\n" in seen
        assert seen.count("=kept\n") >= 3, "no scheduler leaves variables of such names"
        return seen

    def test_variables_given_with_a_job_reach_it_whatever_their_names(
        self, watcher: Watcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        names = ("JOB_ID", "JOB_NAME", "QUEUE", "SLURM_JOB_ID", "SBATCH_ACCOUNT", "SGE_CELL")
        given = {name: f"given {name} 'x'" for name in (*names, "JOB_ID_MINE", "TMPDIR", "PE")}
        left = {"SLURM_CPU_BIND": "nope", "SGE_O_WORKDIR": "nope", "SGE_TASK_LAST": "nope"}
        for name, value in left.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SLURM_JOB_ID", "the caller's")
        env = {"PATH": "/usr/bin:/bin"} | left | given
        seen = tmp_path / "seen"
        argv = ("/bin/sh", "-c", f'env >{seen}.$1; exit "$1"', "sh", INDEX)
        jobs = watcher.batch.issueJobs([JobSpec("given", argv, index=i, env=env) for i in (0, 1)])
        assert [watcher.end(job).exit_status for job in jobs] == [0, 1]
        for index in (0, 1):
            text = Path(f"{seen}.{index}").read_text()
            for name, value in given.items():
                assert f"{name}={value}\n" in text
            assert "nope" not in text, "copied from the caller, to whom another job left it"

    @pytest.mark.slow
    def test_a_thousand_jobs_alike_cost_five_commands(self, fake: FakeCluster, whole: BatchSystem):
        fake.configure(rate=47)  # what a real scheduler on this machine manages
        watcher = Watcher(whole)
        jobs = watcher.batch.issueJobs([sh("exit 0", index=i) for i in range(1000)])
        assert {end.reason for end in watcher.ends(jobs).values()} == {Reason.OK}
        calls = [call[0] for call in fake.calls()]
        assert len(calls) <= 5, calls
        watcher.batch.close()

    @pytest.fixture
    def whole(self, fake: FakeCluster) -> BatchSystem:
        """Return an adapter as a user has it, with no setting changed."""
        raise NotImplementedError
