"""What goes wrong with Slurm's commands harms no job: over fake executables, by real processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchsystems import Accepted, BatchSystem, JobEnd, Reason
from batchsystems.commandline.factory import AdapterOf
from batchsystems.conformance import Watcher, end_all, gated, sh
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.slurm.settings import SlurmSettings
from tests.unit.commandline.commandfaults import CommandFaults, Quick, kinds, refusal
from tests.unit.commandline.fakecluster import BRIEF
from tests.unit.slurm.fake import FakeSlurm, quick, use

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
def watcher(fake: FakeSlurm) -> Iterator[Watcher]:
    batch = quick()
    yield Watcher(batch)
    fake.heal()
    end_all(batch)


class TestCommands(CommandFaults):
    submitter, lister, killer, historian = "sbatch", "squeue", "scancel", "sacct"
    cut_bytes = 400
    smallest_limit = {"max_array": 3}  # noqa: RUF012 - never changed
    unreachable = {  # noqa: RUF012 - never changed
        "sbatch": {"stderr": f"sbatch: error: failed: {UNREACHABLE}"},
        "squeue": {"stderr": f"slurm_load_jobs error: {UNREACHABLE}"},
        "scancel": {"stderr": f"scancel: error: Kill job error: {UNREACHABLE}"},
        "sacct": {"stderr": "sacct: error: Connection refused"},
    }

    @pytest.fixture
    def fake(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
        return use(monkeypatch, tmp_path / "slurm")

    @pytest.fixture
    def quick(self, fake: FakeSlurm) -> Quick:
        return quick

    @pytest.fixture
    def whole(self, fake: FakeSlurm) -> BatchSystem:
        return AdapterOf(SlurmDialect)()

    def test_what_an_enclosing_job_left_in_the_environment_goes_nowhere(
        self, watcher: Watcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        left = ("SBATCH_TIMELIMIT", "SLURM_CPU_BIND", "SQUEUE_FORMAT", "SLURM_JOB_NAME")
        self.job_environment(watcher, monkeypatch, tmp_path, *left)


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


def test_a_clear_refusal_is_told_in_slurm_s_words(fake: FakeSlurm):
    watcher = Watcher(quick(SlurmSettings(partition="nope")))
    job = watcher.batch.issueJob(sh("exit 0"))
    refused = refusal(watcher, job)
    assert not refused.transient
    assert "Invalid partition name specified" in refused.why
    watcher.batch.close()


def test_a_list_cut_between_two_lines_loses_no_job(
    fake: FakeSlurm, watcher: Watcher, tmp_path: Path
):
    job = watcher.batch.issueJob(gated(tmp_path / "go", 4))
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
    jobs = watcher.batch.issueJobs([sh(f"exit {code}", index=code) for code in (0, 3, 137)])
    ends = watcher.ends(jobs)
    assert [ends[job].exit_status for job in jobs[:2]] == [0, 3]
    third = ends[jobs[2]]
    assert third.exit_status == 9
    assert "may stand for 137" in " ".join(third.evidence)


def test_without_accounting_a_job_that_is_gone_has_ended_somehow(fake: FakeSlurm, watcher: Watcher):
    fake.configure(accounting=False, min_job_age=0)
    end = watcher.end(watcher.batch.issueJob(sh("exit 0")))
    assert end.reason is Reason.ENDED
    assert end.exit_status is None


def test_an_unknown_node_to_be_avoided_is_no_hindrance(fake: FakeSlurm, watcher: Watcher):
    watcher.batch.exclude(["nosuchnode.example.org"])
    assert watcher.end(watcher.batch.issueJob(sh("exit 0"))).reason is Reason.OK
    first, second = fake.calls("sbatch")
    assert "--exclude=nosuchnode" in first
    assert not any(word.startswith("--exclude") for word in second)


def test_200_000_jobs_of_another_tree_hide_none(fake: FakeSlurm, watcher: Watcher, tmp_path: Path):
    """The first answer is 67 MB long; then only what bears own names is asked for."""
    fake.configure(others=200_000)
    job = watcher.batch.issueJob(gated(tmp_path / "go", 4))
    watcher.accepted(job)
    watcher.until(lambda: job in watcher.batch.getRunningJobIDs(), "running")
    watcher.until(lambda: any("--name=" in " ".join(c) for c in fake.calls("squeue")), "by name")
    (tmp_path / "go").touch()
    end = watcher.end(job)
    assert (end.reason, end.exit_status) == (Reason.FAILED, 4)
    assert watcher.batch.troubles() == []
    whole = [call for call in fake.calls("squeue") if "--name=" not in " ".join(call)]
    assert len(whole) == 1
