"""A process started with signals ignored or blocked, as exec hands on, does its work all the same.

Owns what is handed on, and what may stay so: the rest of a signal's way is in test_cli_interrupts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from batchsystems import JobSpec, signals
from batchsystems.transport.local import Command, Local
from tests.integration.flows import LONGEST_S, ROOT, Workflow
from tests.unit.drmaa import fake as drmaafake
from tests.unit.slurm.fake import FakeSlurm, use

pytestmark = pytest.mark.usefixtures("no_stray_processes")

ODD = (signal.SIGCHLD, signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2)

PREPARE = f"""
import os, signal, sys
for number in {[int(n) for n in ODD]} + [1] * (sys.argv[1] == "nohup"):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {[int(n) for n in ODD]})
os.execv(sys.argv[2], sys.argv[2:])
"""

BODY = """
def state(name):
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(("SigBlk", "SigIgn")):
                note(name, line.split()[0] + line.split()[1])
class Root(Target):
    def run(self):
        state("worker")
        self.addChildCommand("grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -d '\\\\t' >> shell")
"""


def prepared(how: str, *argv: str) -> list[str]:
    return [sys.executable, "-c", PREPARE, how, *argv]


def odd_bits(path: Path) -> dict[str, int]:
    """Return what a status file's lines say of the odd signals, by kind."""
    bits = sum(1 << (number - 1) for number in ODD)
    lines = (line.split(":") for line in path.read_text().split())
    return {kind: int(mask, 16) & bits for kind, mask in lines}


NONE = {"SigBlk": 0, "SigIgn": 0}


def run(flow: Workflow, *options: str) -> str:
    command = [sys.executable, str(flow.script), "--jobTree", str(flow.tree), *options]
    return flow._run(prepared("odd", *command), 0)


def test_a_tree_on_this_machine_is_done_and_its_steps_find_nothing_of_it(tmp_path: Path) -> None:
    flow = Workflow(tmp_path)
    flow.write(BODY)
    assert "all done" in run(flow)
    assert odd_bits(tmp_path / "worker") == NONE
    assert odd_bits(tmp_path / "shell") == NONE


def test_a_master_reads_what_a_scheduler_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake: FakeSlurm = use(monkeypatch, tmp_path / "slurm")
    flow = Workflow(tmp_path)
    flow.write(BODY)
    assert "all done" in run(flow, "--batchSystem", "slurm")
    assert fake.calls("sbatch")
    assert odd_bits(tmp_path / "worker") == NONE


def test_a_worker_started_so_does_its_work(tmp_path: Path) -> None:
    """As by a scheduler's daemon that was itself started so."""
    flow = Workflow(tmp_path)
    flow.write(BODY)
    shim = tmp_path / "python"
    shim.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c '{PREPARE}' odd {sys.executable} \"$@\"\n"
    )
    shim.chmod(0o755)
    site = tmp_path / "site.toml"
    site.write_text(f'schema = 1\nbatch_system = "singleMachine"\n[worker]\npython = "{shim}"\n')
    assert "all done" in flow.run("--site", str(site))
    assert odd_bits(tmp_path / "worker") == NONE
    assert odd_bits(tmp_path / "shell") == NONE


def test_a_master_leaves_when_asked_and_what_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    flow = Workflow(tmp_path)
    flow.write(
        """
class Root(Target):
    def run(self):
        open("gate").read()
"""
    )
    os.mkfifo(tmp_path / "gate")
    command = [sys.executable, str(flow.script), "--jobTree", str(flow.tree)]
    master = subprocess.Popen(
        prepared("nohup", *command),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    gate = os.open(tmp_path / "gate", os.O_WRONLY)
    try:
        master.send_signal(signal.SIGHUP)
        master.send_signal(signal.SIGTERM)
        said = master.communicate(timeout=LONGEST_S)[1]
    finally:
        os.close(gate)
    assert master.returncode == 1, said
    assert "leaving" in said
    assert flow.command("kill", str(flow.tree))


def test_a_library_puts_back_what_its_caller_had() -> None:
    script = """
import signal
from batchsystems import signals as dispositions
def state():
    ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    return ignored, signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
with dispositions.expected():
    assert state() == (False, False)
assert state() == (True, True)
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_a_handler_of_the_callers_own_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    handler = signal.getsignal(signal.SIGUSR1)
    try:
        with signals.expected():
            assert signal.getsignal(signal.SIGUSR1) is handler
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_transport_by_itself_hears_of_its_commands() -> None:
    script = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from batchsystems.transport.local import Command, Local
ran = Local().run(Command("queue", ("sh", "-c", "echo told; exit 3")), 60.0)
assert (ran.status, ran.stdout) == (3, "told\\n"), ran
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_a_status_that_another_part_of_the_process_took_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a program that collects all its children."""
    waitid = os.waitid

    def taken(*arguments: int) -> object:
        os.waitpid(arguments[1], 0)
        return waitid(*arguments)

    monkeypatch.setattr(os, "waitid", taken)
    ran = Local().run(Command("queue", ("echo", "told")), 60.0)
    assert (ran.status, ran.stdout, ran.whole) == (None, "told\n", False)


def server() -> int:
    """Return the process of this one's DRMAA session, once it is there."""
    end = time.monotonic() + LONGEST_S
    while time.monotonic() < end:
        for child in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
            for pid in child.read_text().split():
                if b"drmaa.session" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
        time.sleep(0.01)
    raise AssertionError("no session was begun")


def test_a_drmaa_process_begun_so_is_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = drmaafake.use(monkeypatch, tmp_path / "drmaa")
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ODD)
    try:
        system = fake.quick()
        job = system.issueJob(JobSpec("odd", ("true",), output=str(tmp_path / "output")))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    with closing(system):
        while job not in system.getUpdatedJobs():
            time.sleep(0.01)
        status = tmp_path / "status"
        lines = Path(f"/proc/{server()}/status").read_text().splitlines()
        status.write_text("\n".join("".join(x.split()) for x in lines if x[:6] in NONE))
        assert odd_bits(status) == NONE
