"""SingleMachine beyond the conformance suite: limits, whole trees, survivors, cost."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchsystems import (
    BatchSystemError,
    JobEnd,
    JobSpec,
    Reason,
    Refused,
    Resources,
    SingleMachine,
)
from batchsystems.conformance import Watcher, end_all, sh, wait_for

pytestmark = pytest.mark.usefixtures("no_stray_processes")
MB = 2**20


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Watcher]]:
    made: list[SingleMachine] = []

    def build(**options: object) -> Watcher:
        options = {"state_dir": str(tmp_path / "state"), "max_cpus": 4, "grace_s": 0.3, **options}
        made.append(SingleMachine(**options))  # type: ignore[arg-type]
        return Watcher(made[-1])

    yield build
    for batch in made:
        end_all(batch)


def python(script: str, **more: object) -> JobSpec:
    return JobSpec("python", (sys.executable, "-I", "-S", "-c", script), **more)  # type: ignore[arg-type]


# -- the whole tree ---------------------------------------------------------------------------


def test_a_daemonised_grandchild_ends_with_its_job(make: Callable[..., Watcher], tmp_path: Path):
    watcher = make()
    script = f"(setsid sh -c 'echo $$ >{tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; "
    script += f"sleep 1000' &) ; until test -e {tmp_path}/pid; do sleep 0.01; done"
    end = watcher.end(watcher.batch.issueJob(sh(script)))
    assert end.reason is Reason.OK
    assert any("left behind were killed" in line for line in end.evidence)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_a_job_that_ignores_sigterm_is_killed_after_the_grace(
    make: Callable[..., Watcher], tmp_path: Path
):
    watcher = make(grace_s=0.2)
    job = watcher.batch.issueJob(
        sh(f"trap '' TERM; : >{tmp_path}/on; while :; do sleep 0.01; done")
    )
    wait_for((tmp_path / "on").exists)
    asked = time.monotonic()
    watcher.batch.killJobs([job])
    end = watcher.end(job)
    assert (end.reason, end.signal) == (Reason.CANCELLED, signal.SIGKILL)
    assert time.monotonic() - asked >= 0.2


def test_a_polite_job_is_not_kept_waiting_for_the_grace(
    make: Callable[..., Watcher], tmp_path: Path
):
    watcher = make(grace_s=50.0)
    job = watcher.batch.issueJob(sh(f": >{tmp_path}/on; sleep 1000 & sleep 1000"))
    wait_for((tmp_path / "on").exists)
    asked = time.monotonic()
    watcher.batch.killJobs([job])
    assert watcher.end(job).signal == signal.SIGTERM
    assert time.monotonic() - asked < 25


def test_a_stopped_job_can_be_killed(make: Callable[..., Watcher], tmp_path: Path):
    watcher = make()
    job = watcher.batch.issueJob(sh(f": >{tmp_path}/on; kill -STOP $$; sleep 1000"))
    wait_for((tmp_path / "on").exists)
    watcher.batch.killJobs([job])
    assert watcher.end(job).reason is Reason.CANCELLED


def test_a_job_that_keeps_forking_in_new_sessions_is_killed(
    make: Callable[..., Watcher], tmp_path: Path
):
    watcher = make(grace_s=0.0)
    hydra = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"open({str(tmp_path / 'on')!r}, 'w').close()\n"
        "while True:\n"
        "    time.sleep(0.003)\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "    else:\n"
        "        os._exit(0) if os.getsid(0) == os.getpid() else time.sleep(0.02)\n"
    )
    job = watcher.batch.issueJob(python(hydra))
    wait_for((tmp_path / "on").exists)
    watcher.batch.killJobs([job])
    assert watcher.end(job).reason is Reason.CANCELLED


def test_a_killed_launcher_takes_its_job_along(make: Callable[..., Watcher], tmp_path: Path):
    watcher = make()
    job = watcher.batch.issueJob(
        sh(f"setsid sh -c ': >{tmp_path}/on; sleep 1000' & sleep 1000; echo never")
    )
    wait_for((tmp_path / "on").exists)
    os.kill(int(watcher.accepted(job).split(":")[0]), signal.SIGKILL)
    end = watcher.end(job)
    assert end.reason is Reason.LOST
    assert "killed by signal 9" in end.evidence[0]
    assert any("were killed" in line for line in end.evidence[1:])


# -- limits -----------------------------------------------------------------------------------


def test_the_time_limit(make: Callable[..., Watcher]):
    watcher = make()
    end = watcher.end(watcher.batch.issueJob(sh("sleep 1000", resources=Resources(time_s=0.2))))
    assert (end.reason, end.signal) == (Reason.TIME_LIMIT, signal.SIGTERM)
    assert end.evidence == ("it ran longer than 0.2 s",)
    assert end.wall_s is not None
    assert 0.2 <= end.wall_s < 20


def test_a_memory_hog_is_out_of_memory(make: Callable[..., Watcher]):
    watcher = make()
    hog = python(
        "import time; hoard = b'x' * (96 << 20); time.sleep(1000)",
        resources=Resources(memory_bytes=64 * MB),
    )
    end = watcher.end(watcher.batch.issueJob(hog))
    assert (end.reason, end.signal) == (Reason.OUT_OF_MEMORY, signal.SIGKILL)
    assert end.memory_bytes is not None
    assert end.memory_bytes >= 64 * MB, "it may be seen, and killed, while it still grows"
    assert "the limit was 67,108,864" in end.evidence[-1]


def test_memory_shared_by_forked_workers_counts_once(make: Callable[..., Watcher]):
    watcher = make()
    workers = python(
        "import os, time\n"
        "hoard = b'x' * (48 << 20)\n"
        "children = [os.fork() for _ in range(1)]\n"
        "children += [os.fork()] if children[0] else []\n"
        "time.sleep(0.8)\n",
        resources=Resources(memory_bytes=110 * MB),
    )
    end = watcher.end(watcher.batch.issueJob(workers))
    assert end.reason is Reason.OK, "three times 50 MB of the same pages are not 150 MB"


def test_usage_is_told_and_unknown_is_not_guessed(make: Callable[..., Watcher]):
    watcher = make()
    spin = "import time\nhoard = b'x' * (64 << 20)\nwhile time.process_time() < 0.2: pass"
    heavy, light = watcher.ends(watcher.batch.issueJobs([python(spin), sh("exit 0")])).values()
    assert heavy.memory_bytes is not None
    assert 64 * MB < heavy.memory_bytes < 128 * MB
    assert heavy.cpu_s is not None
    assert 0.2 <= heavy.cpu_s < 2
    assert light.memory_bytes is None
    assert heavy.node == light.node == os.uname().nodename


def test_the_memory_thread_ends_with_the_jobs_it_is_for(make: Callable[..., Watcher]):
    import threading

    watcher = make()
    watcher.end(watcher.batch.issueJob(sh("exit 0", resources=Resources(memory_bytes=64 * MB))))
    wait_for(lambda: all(thread.name != "memory" for thread in threading.enumerate()))


# -- launching --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"argv": ("/proc/nowhere",)}, "cannot start /proc/nowhere: No such file"),
        ({"argv": ("/etc/passwd",)}, "cannot start /etc/passwd: Permission denied"),
        ({"cwd": "/proc/nowhere"}, "cannot enter its directory /proc/nowhere"),
        ({"output": "/proc/nowhere/out"}, "cannot open its output file /proc/nowhere"),
    ],
)
def test_what_cannot_be_launched_says_why(
    make: Callable[..., Watcher], change: dict[str, object], told: str
):
    watcher = make()
    spec: dict[str, object] = {"name": "wrong", "argv": ("/bin/true",), **change}
    end = watcher.end(watcher.batch.issueJob(JobSpec(**spec)))  # type: ignore[arg-type]
    assert (end.reason, end.exit_status) == (Reason.LAUNCH_FAILED, None)
    assert told in end.evidence[0]


def test_a_state_directory_that_cannot_be_written_fails_the_launch(
    make: Callable[..., Watcher], tmp_path: Path
):
    watcher = make()
    (tmp_path / "state").rmdir()
    end = watcher.end(watcher.batch.issueJob(sh(f": >{tmp_path}/ran")))
    assert end.reason is Reason.LAUNCH_FAILED
    assert "full or not writable" in end.evidence[0]
    assert not (tmp_path / "ran").exists()


def test_a_record_that_cannot_be_written_leaves_the_job_lost(
    make: Callable[..., Watcher], tmp_path: Path
):
    watcher = make()
    end = watcher.end(watcher.batch.issueJob(sh(f"rm -r {tmp_path}/state")))
    assert end.reason is Reason.LOST
    assert "could not write its record" in end.evidence[0]


def test_an_argv_too_long_for_the_kernel_is_refused(make: Callable[..., Watcher]):
    watcher = make()
    job = watcher.batch.issueJob(JobSpec("long", ("/bin/true", "x" * (1 << 20))))
    watcher.poll()
    refused = watcher.last(job)
    assert isinstance(refused, Refused)
    assert "Argument list too long" in refused.why
    assert watcher.end(watcher.batch.issueJob(sh("exit 0"))).reason is Reason.OK


def test_jobs_inherit_no_descriptor_and_no_ignored_signal(
    make: Callable[..., Watcher], tmp_path: Path
):
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    old = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    watcher = make()
    output = tmp_path / "output"
    script = "ls /proc/self/fd | wc -l; grep -E 'SigBlk|SigIgn' /proc/self/status"
    watcher.end(watcher.batch.issueJob(sh(script, output=str(output))))
    signal.signal(signal.SIGUSR2, old)
    os.close(reader)
    os.close(writer)
    descriptors, *masks = output.read_text().split("\n")
    assert int(descriptors) == 4, "standard ones and that of ls itself"
    assert [int(mask.split()[1], 16) & 0x7FFFFFFF for mask in masks if mask] == [0, 0]


def test_gpus_are_granted_one_by_one(
    make: Callable[..., Watcher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-aa,7")
    watcher = make()
    assert watcher.batch.capacity().largest.gpus == 3
    script = (
        f"echo $CUDA_VISIBLE_DEVICES >{tmp_path}/$$.new; mv {tmp_path}/$$.new {tmp_path}/$$.gpu; "
    )
    script += f"until test -e {tmp_path}/go; do sleep 0.01; done"
    specs = [sh(script, f"gpu{n}", resources=Resources(gpus=n)) for n in (2, 1)]
    jobs = watcher.batch.issueJobs(specs)
    wait_for(lambda: len(list(tmp_path.glob("*.gpu"))) == 2)
    (tmp_path / "go").touch()
    watcher.ends(jobs)
    granted = ",".join(path.read_text().strip() for path in tmp_path.glob("*.gpu"))
    assert sorted(granted.split(",")) == ["3", "7", "GPU-aa"]
    assert watcher.end(watcher.batch.issueJob(specs[0])).reason is Reason.OK


def test_the_refusal_names_both_numbers(make: Callable[..., Watcher]):
    watcher = make(max_memory_bytes=2 << 30)
    job = watcher.batch.issueJob(sh("exit", resources=Resources(2, 900 << 30, 1)))
    watcher.poll()
    refused = watcher.last(job)
    assert isinstance(refused, Refused)
    assert "2 cpus, 900 GB of memory, 1 gpu" in refused.why
    assert "this machine has 4 cpus, 2 GB of memory" in refused.why


# -- the queue --------------------------------------------------------------------------------


def test_waiting_jobs_are_explained(make: Callable[..., Watcher]):
    watcher = make(max_cpus=1)
    first, second, third = watcher.batch.issueJobs([sh("sleep 1000", index=i) for i in range(3)])
    told = watcher.batch.explain([first, second, third, 99])
    assert set(told) == {second, third}
    assert told[second].startswith("is next: needs 1 cpu, free are 0 cpus")


def test_20000_queued_jobs_cost_little_per_event(make: Callable[..., Watcher]):
    watcher = make(max_cpus=1)
    batch = watcher.batch
    began = time.process_time()
    jobs = batch.issueJobs([JobSpec("many", ("/bin/true",), index=i) for i in range(20_000)])
    assert time.process_time() - began < 2
    watcher.ends(jobs[:3])
    began = time.process_time()
    watcher.ends(jobs[3:6])
    assert (time.process_time() - began) / 3 < 0.1
    assert len(batch.getIssuedJobIDs()) <= 20_000 - 6
    batch.killJobs(batch.getIssuedJobIDs())
    watcher.until(lambda: not batch.getIssuedJobIDs(), "all cancelled")
    watcher.poll()


def test_nothing_stays_in_the_state_directory(make: Callable[..., Watcher], tmp_path: Path):
    watcher = make()
    watcher.ends(watcher.batch.issueJobs([sh("exit 0", index=i) for i in range(5)]))
    watcher.batch.getUpdatedJobs()
    assert list((tmp_path / "state").iterdir()) == []


def test_a_private_state_directory_goes_with_the_instance():
    batch = SingleMachine()
    assert Path(batch.state_dir).is_dir()
    batch.close()
    assert not Path(batch.state_dir).exists()


def test_calls_after_close_are_harmless(make: Callable[..., Watcher]):
    batch = make(max_cpus=1, grace_s=0.0).batch
    running, waiting = batch.issueJobs([sh("exit 0", index=i) for i in range(2)])
    batch.close()
    batch.killJobs([running, waiting])
    with pytest.raises(BatchSystemError, match="JT268"):
        batch.issueJob(sh("exit 0", resources=Resources(gpus=99)))
    batch.getUpdatedJobs()
    assert batch.getIssuedJobIDs() == frozenset()
    assert batch.fileno() is None


def test_the_descriptor_wakes_the_caller(make: Callable[..., Watcher], tmp_path: Path):
    import select

    watcher = make()
    descriptor = watcher.batch.fileno()
    assert descriptor is not None
    assert select.select([descriptor], [], [], 0)[0] == []
    job = watcher.batch.issueJob(sh("exit 0"))
    for expected in ("Accepted", "JobEnd"):
        assert select.select([descriptor], [], [], 30)[0] == [descriptor]
        assert type(watcher.batch.getUpdatedJobs()[job]).__name__ == expected
    assert select.select([descriptor], [], [], 0)[0] == []


def test_without_pidfds_it_polls(make: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch):
    def missing(pid: int, flags: int = 0) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", missing)
    watcher = make()
    quick, long = watcher.batch.issueJobs([sh("exit 4", "quick"), sh("sleep 1000", "long")])
    assert watcher.batch.fileno() is None
    assert watcher.end(quick).exit_status == 4
    watcher.batch.killJobs([long])
    end = watcher.end(long)
    assert isinstance(end, JobEnd)
    assert end.reason is Reason.CANCELLED
