"""A SingleMachine whose process was killed, and the one that takes its jobs over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchsystems import Accepted, JobRecord, Reason, Resources, SingleMachine
from batchsystems.conformance import Watcher, end_all, sh, wait_for
from batchsystems.singlemachine.spawn import start_launcher

pytestmark = pytest.mark.usefixtures("no_stray_processes")

MASTER = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from batchsystems import Accepted, JobSpec, Resources, SingleMachine
folder = sys.argv[2]
batch = SingleMachine(folder + "/state", max_cpus=3, grace_s=0.3)
until = f"until test -e {folder}/$0.go; do sleep 0.01; done; exit 7"
specs = [
    JobSpec(name, ("/bin/sh", "-c", until, name), Resources(memory_bytes=memory))
    for name, memory in (("early", None), ("late", 300 << 20), ("dead", None), ("waiting", None))
]
ids = batch.issueJobs(specs)
told = batch.getUpdatedJobs()
print(json.dumps([told[i].native if i in told else "" for i in ids]), flush=True)
time.sleep(1000)
"""


@pytest.fixture
def natives(tmp_path: Path) -> list[str]:
    """Start jobs from another process, kill its whole process group; return what it knew."""
    root = str(Path(__file__).parents[3])
    master = subprocess.Popen(
        [sys.executable, "-c", MASTER, root, str(tmp_path)],
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert master.stdout is not None
    natives: list[str] = json.loads(master.stdout.readline())
    wait_for(lambda: len(list((tmp_path / "state").glob("*.live"))) == 3)
    os.killpg(master.pid, signal.SIGKILL)
    master.wait(30)
    master.stdout.close()
    return natives


@pytest.fixture
def heir(tmp_path: Path) -> Iterator[Watcher]:
    """A new instance on the same state directory."""
    batch = SingleMachine(str(tmp_path / "state"), max_cpus=3, grace_s=0.3)
    yield Watcher(batch)
    end_all(batch)


def test_jobs_outlive_their_master_and_are_adopted(
    tmp_path: Path, natives: list[str], heir: Watcher
):
    (tmp_path / "early.go").touch()
    wait_for(lambda: list((tmp_path / "state").glob("early.0.*.end")))
    os.kill(int(natives[2].split(":")[0]), signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{natives[2].split(':')[0]}").exists() or _zombie(natives[2]))
    names = ("early", "late", "dead", "waiting")
    records = [JobRecord(name, 0, native, 0.0) for name, native in zip(names, natives, strict=True)]
    early, late, dead, waiting = heir.batch.adopt(records)
    assert dead is None
    assert waiting is None
    assert early is not None
    assert late is not None
    assert heir.batch.getIssuedJobIDs() == {late}
    assert heir.end(early).exit_status == 7
    assert 0 < heir.batch.getRunningJobIDs()[late] < 300
    (tmp_path / "late.go").touch()
    assert heir.end(late).exit_status == 7
    heir.poll()
    assert not list((tmp_path / "state").glob("*.end"))


def test_an_adopted_job_holds_its_resources_and_can_be_killed(
    tmp_path: Path, natives: list[str], heir: Watcher
):
    records = [JobRecord(name, 0, "", 0.0) for name in ("early", "late", "dead")]
    adopted = [job for job in heir.batch.adopt(records) if job is not None]
    assert len(adopted) == 3
    assert [heir.accepted(job) for job in adopted] == natives[:3], "found by their names"
    eager = heir.batch.issueJob(sh("exit 0", "eager"))
    assert "free are 0 cpus" in heir.batch.explain([eager])[eager]
    heir.batch.killJobs(adopted[:1])
    assert heir.end(adopted[0]).reason is Reason.CANCELLED
    assert heir.end(eager).reason is Reason.OK
    heir.batch.killJobs(adopted)
    assert {end.reason for end in heir.ends(adopted).values()} == {Reason.CANCELLED}


def test_adoption_ends_nothing_that_it_was_not_told_of(
    tmp_path: Path, natives: list[str], heir: Watcher
):
    own = heir.batch.issueJob(sh("sleep 1000", "own", resources=Resources(cpus=2)))
    assert heir.accepted(own)
    (early,) = heir.batch.adopt([JobRecord("early", 0, natives[0], 0.0)])
    (late,) = heir.batch.adopt([JobRecord("late", 0, natives[1], 0.0)])
    other = SingleMachine(str(tmp_path / "state"))
    other.adopt([JobRecord("never", 0, "", 0.0)])
    other.close()
    (dead,) = heir.batch.adopt([JobRecord("dead", 0, natives[2], 0.0)])
    assert None not in (early, late, dead)
    assert heir.batch.getIssuedJobIDs() == {own, early, late, dead}
    for name in ("early", "late", "dead"):
        (tmp_path / f"{name}.go").touch()
    ends = heir.ends([early, late, dead])  # type: ignore[list-item]
    assert {end.exit_status for end in ends.values()} == {7}
    heir.batch.killJobs([own])
    assert heir.end(own).reason is Reason.CANCELLED


def test_strays_are_told_and_left_to_the_caller(tmp_path: Path, natives: list[str], heir: Watcher):
    (tmp_path / "early.go").touch()
    wait_for(lambda: list((tmp_path / "state").glob("early.0.*.end")))
    own = heir.batch.issueJob(sh("sleep 1000", "own", resources=Resources(cpus=1)))
    heir.accepted(own)
    (late,) = heir.batch.adopt([JobRecord("late", 0, natives[1], 0.0)])
    assert late is not None
    strays = heir.batch.strays()
    assert sorted((s.name, s.index, s.native) for s in strays) == [
        ("dead", 0, natives[2]),
        ("early", 0, natives[0]),
    ]
    assert all(abs(stray.submitted - time.time()) < 300 for stray in strays)
    adopted = [job for job in heir.batch.adopt(strays) if job is not None]
    assert heir.batch.strays() == []
    heir.batch.killJobs(adopted)
    assert {end.reason for end in heir.ends(adopted).values()} == {Reason.FAILED, Reason.CANCELLED}
    heir.poll()
    heir.batch.killJobs([own, late])
    heir.ends([own, late])
    heir.poll()
    assert list((tmp_path / "state").iterdir()) == [], "no record of a job that was told is left"


def test_an_end_nobody_asked_for_is_there_for_a_later_instance(
    tmp_path: Path, natives: list[str], heir: Watcher
):
    (tmp_path / "early.go").touch()
    wait_for(lambda: list((tmp_path / "state").glob("early.0.*.end")))
    between = SingleMachine(str(tmp_path / "state"))
    assert between.adopt([JobRecord("never", 0, "", 0.0)]) == [None]
    between.getUpdatedJobs()
    between.close()
    adopted = heir.batch.adopt([JobRecord(n, 0, "", 0.0) for n in ("early", "late", "dead")])
    assert adopted[0] is not None
    assert heir.end(adopted[0]).exit_status == 7


def test_a_recycled_pid_or_another_boot_is_not_adopted(
    tmp_path: Path, natives: list[str], heir: Watcher
):
    pid, start, boot = natives[0].split(":")
    strange = [f"{pid}:{int(start) + 1}:{boot}", f"{pid}:{start}:another-boot", f"1:2:{boot}", "x"]
    assert (
        heir.batch.adopt([JobRecord("early", 0, native, 0.0) for native in strange]) == [None] * 4
    )
    rest = heir.batch.adopt([JobRecord(name, 0, "", 0.0) for name in ("early", "late", "dead")])
    assert None not in rest


def test_a_launcher_too_young_to_have_written_anything_is_found(tmp_path: Path, heir: Watcher):
    state = tmp_path / "state"
    order = {"job": "young.3", "state": state, "cpus": 2, "memory": 7, "grace": 0}
    identity = start_launcher(order, ["/bin/sleep", "1000"], os.environ)
    (job,) = heir.batch.adopt([JobRecord("young", 3, "", time.time())])
    assert job is not None
    assert heir.news.get(job) is None
    assert heir.batch.getUpdatedJobs() == {job: Accepted(identity.native)}
    assert heir.batch.getIssuedJobIDs() == {job}


def test_what_a_dead_launcher_left_is_killed_by_adopt(
    tmp_path: Path, natives: list[str], heir: Watcher
):
    end_all(heir.batch)
    (tmp_path / "script").write_text(f"setsid sh -c ': >{tmp_path}/on; sleep 1000' & sleep 1000")
    first = SingleMachine(str(tmp_path / "state2"))
    watcher = Watcher(first)
    job = first.issueJob(sh(f". {tmp_path}/script", resources=Resources()))
    native = watcher.accepted(job)
    wait_for((tmp_path / "on").exists)
    first.close()
    os.kill(int(native.split(":")[0]), signal.SIGKILL)
    wait_for(lambda: _zombie(native))
    second = SingleMachine(str(tmp_path / "state2"))
    assert second.adopt([JobRecord("job", 0, native, 0.0)]) == [None]
    second.close()
    os.waitpid(int(native.split(":")[0]), 0)
    third = SingleMachine(str(tmp_path / "state"), grace_s=0.3)
    third.adopt([JobRecord(name, 0, "", 0.0) for name in ("early", "late", "dead")])
    end_all(third)


def _zombie(native: str) -> bool:
    from batchsystems.singlemachine.processes import Identity

    identity = Identity.parse(native)
    return identity is not None and not identity.is_alive()
