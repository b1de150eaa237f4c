"""What clusters are asked for through a DRMAA library, each in its own words: over the fake one.

Read next: batchsystems/drmaa/resources.py, which has the words.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from batchsystems import INDEX, BatchSystemError, JobSpec, Resources
from batchsystems.conformance import Watcher, sh
from batchsystems.drmaa.settings import DrmaaSettings
from batchsystems.sge.settings import SgeSettings
from tests.unit.drmaa.fake import FakeDrmaa, use

pytestmark = pytest.mark.usefixtures("no_stray_processes")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDrmaa:
    return use(monkeypatch, tmp_path / "drm")


def test_what_grid_engine_is_asked_for(fake: FakeDrmaa):
    own = DrmaaSettings(native=("-p -10", "-l mem={memory_mib}"))
    watcher = Watcher(fake.quick(own, sge=SgeSettings(pe="smp", project="lab")))
    asked = Resources(cpus=2, memory_bytes=200 << 20, time_s=60)
    watcher.end(watcher.batch.issueJob(sh("exit 0", resources=asked)))
    said = "-r n -w e -l h_rt=60,h_vmem=100M -pe smp 2 -P lab -p -10 -l mem=200"
    assert fake.asked == said
    assert fake.submissions()[-1]["limit"] is None
    watcher.batch.close()


def test_what_slurm_is_asked_for(fake: FakeDrmaa, tmp_path: Path):
    fake.configure(drms="SLURM 22.05", variable="SLURM_ARRAY_TASK_ID")
    watcher = Watcher(fake.quick())
    asked = Resources(cpus=2, memory_bytes=200 << 20, time_s=90, gpus=1)
    argv = ("/bin/sh", "-c", "exit $0", INDEX)
    jobs = watcher.batch.issueJobs([JobSpec("a", argv, asked, index=i) for i in range(3)])
    assert [watcher.end(job).exit_status for job in jobs] == [0, 1, 2]
    assert fake.asked == (
        "--no-requeue --nodes=1 --ntasks=1 --cpus-per-task=2 --mem=200 --time=2 --gres=gpu:1"
    )
    watcher.batch.close()


def test_a_cluster_nobody_knows_is_asked_in_the_site_s_words_and_job_by_job(fake: FakeDrmaa):
    fake.configure(drms="PBS Professional")
    own = DrmaaSettings(native=("-l mem={memory_mib}mb", "-l ngpus={gpus}"))
    watcher = Watcher(fake.quick(own))
    asked = Resources(memory_bytes=200 << 20, time_s=90)
    argv = ("/bin/sh", "-c", "exit $0", INDEX)
    jobs = watcher.batch.issueJobs([JobSpec("a", argv, asked, index=i) for i in range(3)])
    assert [watcher.end(job).exit_status for job in jobs] == [0, 1, 2]
    assert fake.asked == "-l mem=200mb"
    assert fake.submissions()[-1]["limit"] == 90
    assert not fake.calls("runBulkJobs")
    watcher.batch.close()


def test_an_array_without_a_number_says_so(fake: FakeDrmaa, tmp_path: Path):
    fake.configure(variable="SOMETHING_ELSE")
    watcher = Watcher(fake.quick())
    output = tmp_path / "output"
    specs = [sh("exit 0", index=i, output=str(output)) for i in range(2)]
    ends = watcher.ends(watcher.batch.issueJobs(specs))
    assert {end.exit_status for end in ends.values()} == {70}
    assert "no number of a task in: SGE_TASK_ID" in output.read_text()
    watcher.batch.close()


def test_settings_that_are_wrong_are_told(fake: FakeDrmaa):
    for wrong in (
        {"native": ("-l mem={mem}",)},
        {"task_variables": ("A B",)},
        {"library": "a\nb"},
        {"statuses": 0},
    ):
        with pytest.raises(BatchSystemError, match="JT203"):
            DrmaaSettings(**wrong)
