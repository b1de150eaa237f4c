"""The launcher alone, as a process: its records, its exit status, what it needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batchsystems import JobEnd, Reason
from batchsystems.conformance import wait_for
from batchsystems.singlemachine import launcher, records
from batchsystems.singlemachine.processes import Identity

pytestmark = pytest.mark.usefixtures("no_stray_processes")


def start(state: Path, *argv: str, **order: object) -> subprocess.Popen[bytes]:
    words = [f"{key}={value}" for key, value in {"job": "job.0", "state": state, **order}.items()]
    command = [sys.executable, "-I", "-S", launcher.__file__, *words, "--", *argv]
    return subprocess.Popen(command, start_new_session=True)


def run(state: Path, *argv: str, **order: object) -> JobEnd:
    process = start(state, *argv, **order)
    assert process.wait(60) == 0
    (path,) = state.iterdir()
    end = records.read_end(str(state), path.name.removesuffix(".end"))
    assert end is not None
    return end


def test_the_record_tells_status_time_and_usage(tmp_path: Path):
    end = run(tmp_path, "/bin/sh", "-c", "exit 3")
    assert (end.reason, end.exit_status, end.signal) == (Reason.FAILED, 3, None)
    assert end.wall_s is not None
    assert end.cpu_s is not None
    assert 0 < end.wall_s < 60
    assert 0 <= end.cpu_s < 10


def test_while_the_job_runs_its_order_can_be_read(tmp_path: Path):
    process = start(tmp_path, "/bin/sleep", "1000", cpus=3, grace=0)
    identity = Identity.of(process.pid)
    assert identity is not None
    key = records.key_of("job.0", identity)
    wait_for(lambda: records.read_order(str(tmp_path), key).get("cpus") == "3")
    assert records.read_end(str(tmp_path), key) is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    end = records.read_end(str(tmp_path), key)
    assert end is not None
    assert end.reason is Reason.CANCELLED
    assert end.evidence == (f"SIGTERM from process {os.getpid()}",)


def test_sigusr1_says_out_of_memory_at_once(tmp_path: Path):
    process = start(tmp_path, "/bin/sh", "-c", "trap '' TERM; sleep 1000", grace=1000)
    wait_for(lambda: list(tmp_path.glob("*.live")))
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 0
    (path,) = tmp_path.iterdir()
    assert "reason OUT_OF_MEMORY" in path.read_text().splitlines()


def test_a_kernel_out_of_memory_kill_is_recognised(tmp_path: Path):
    counter, state = tmp_path / "memory.events", tmp_path / "state"
    state.mkdir()
    counter.write_text("low 0\noom 4\noom_kill 4\n")
    script = f"sed -i s/oom_kill.4/oom_kill\\ 5/ {counter}; kill -9 $$"
    end = run(state, "/bin/sh", "-c", script, oom=counter)
    assert (end.reason, end.signal) == (Reason.OUT_OF_MEMORY, 9)
    assert "counted 1 out-of-memory kills" in end.evidence[0]


def test_sigkill_without_such_evidence_is_a_plain_failure(tmp_path: Path):
    counter, state = tmp_path / "memory.events", tmp_path / "state"
    state.mkdir()
    counter.write_text("oom_kill 4\n")
    end = run(state, "/bin/sh", "-c", "kill -9 $$", oom=counter)
    assert (end.reason, end.signal, end.evidence) == (Reason.FAILED, 9, ())


def test_a_planned_kill_comes_with_sigkill(tmp_path: Path):
    end = run(
        tmp_path,
        "/bin/sh",
        "-c",
        "trap '' TERM; sleep 1000; sleep 1000",
        kill_after_s=0.1,
        grace=90,
    )
    assert (end.reason, end.signal) == (Reason.FAILED, 9)
    assert "AcidTest" in end.evidence[0]


def test_a_command_that_ended_before_its_planned_kill_is_not_touched(tmp_path: Path):
    assert run(tmp_path, "/bin/true", kill_after_s=500).reason is Reason.OK


def test_without_room_for_the_record_nothing_is_started(tmp_path: Path):
    process = start(tmp_path / "missing", "/usr/bin/touch", str(tmp_path / "ran"))
    assert process.wait(60) == launcher.NOTHING_STARTED
    assert not (tmp_path / "ran").exists()


def test_odd_words_reach_the_command_untouched(tmp_path: Path):
    output, state = tmp_path / "out=put", tmp_path / "state"
    state.mkdir()
    run(state, "/usr/bin/printf", "%s|", "--", "a=b", "", "c d\n", "{index}", output=output)
    assert output.read_text() == "--|a=b||c d\n|{index}|"


def test_every_process_of_the_job_carries_the_mark(tmp_path: Path):
    output, state = tmp_path / "output", tmp_path / "state"
    state.mkdir()
    run(state, "/bin/sh", "-c", f"echo ${launcher.MARKER}", output=output)
    assert output.read_text().startswith("job.0.")


def test_it_imports_only_what_starts_fast():
    script = "import sys; sys.path.insert(0, sys.argv[1]); import launcher; print(*sys.modules)"
    folder = str(Path(launcher.__file__).parent)
    command = [sys.executable, "-I", "-S", "-c", script, folder]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    slow = {"typing", "enum", "json", "subprocess", "pathlib", "dataclasses", "re", "batchsystems"}
    assert not slow & set(loaded)


@pytest.mark.parametrize(
    "text", ["", "reason OK\n", "reason NONSENSE\ncomplete", "reason OK\nexit_status x\ncomplete"]
)
def test_a_torn_or_strange_record_is_no_record(text: str):
    assert records.parse_end(text.splitlines()) is None
