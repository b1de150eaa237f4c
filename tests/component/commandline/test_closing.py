"""close(), flush() and the end of a program: nothing that was taken is dropped without a word."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchsystems import Accepted, BatchSystemError, JobSpec, Reason, Refused, SingleMachine
from batchsystems.commandline.adapter import CommandLine
from batchsystems.commandline.answers import Rejection
from batchsystems.commandline.pacing import Timeouts
from batchsystems.conformance import Watcher, sh, wait_for
from batchsystems.interface import Ambiguous
from batchsystems.transport.local import CommandResult
from tests.unit.commandline.inmemory import JsonDialect
from tests.unit.commandline.test_engine import QUICK, Clock, InMemory
from tests.unit.slurm.fake import FakeSlurm, use

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.usefixtures("no_stray_processes")


def several(*names: str) -> list[JobSpec]:
    return [JobSpec(name, ("true",)) for name in names]


# ---- a scheduler's commands ------------------------------------------------------------------


@pytest.fixture
def transport() -> InMemory:
    return InMemory()


@pytest.fixture
def batch(transport: InMemory) -> Iterator[CommandLine]:
    timeouts = Timeouts(flush_s=0.4, close_s=5)
    made = CommandLine(JsonDialect(), QUICK, timeouts, transport, Clock())
    yield made
    made.close()


def test_closing_sends_what_was_taken(batch: CommandLine, transport: InMemory):
    jobs = batch.issueJobs(several("a", "b", "c"))
    batch.close()
    assert [argv[1] for argv in transport.world.commands("sub")] == ["a", "b", "c"]
    assert batch.getUpdatedJobs() == {job: Accepted(str(job)) for job in jobs}
    assert batch.getIssuedJobIDs() == frozenset()
    assert batch.fileno() is None


def test_flush_tells_what_was_not_sent_in_time(batch: CommandLine, transport: InMemory):
    transport.gate.clear()
    jobs = batch.issueJobs(several("a", "b"))
    began = time.monotonic()
    assert batch.flush(0.1) == set(jobs)
    assert time.monotonic() - began < 5
    transport.gate.set()
    assert batch.flush() == frozenset()
    assert len(transport.world.commands("sub")) == 2
    assert batch.flush(0) == frozenset()


def test_closing_says_what_it_could_not_send(
    batch: CommandLine, transport: InMemory, caplog: pytest.LogCaptureFixture
):
    transport.world.broken = {"sub": CommandResult(1, stderr=Rejection.OUTAGE.value)}
    jobs = batch.issueJobs(several("alpha", "beta"))
    with caplog.at_level(logging.WARNING):
        batch.close()
    told = batch.getUpdatedJobs()
    assert told.keys() == set(jobs)
    for update in told.values():
        assert isinstance(update, Refused)
        assert update.transient
        assert "outage" in update.why, "why it was not"
    (said,) = [r.getMessage() for r in caplog.records if "alpha" in r.getMessage()]
    assert "beta" in said
    assert batch.getUpdatedJobs() == {}


def test_closing_says_which_submission_got_no_clear_answer(
    transport: InMemory, caplog: pytest.LogCaptureFixture
):
    batch = CommandLine(
        JsonDialect(), QUICK, Timeouts(flush_s=0.2, close_s=0.2), transport, Clock()
    )
    transport.world.broken = {"sub": CommandResult(None, timed_out=True)}
    transport.gate.clear()
    (job,) = batch.issueJobs(several("alpha"))
    with caplog.at_level(logging.WARNING):
        batch.close()
    assert "alpha" in caplog.text
    assert "may have been accepted" in caplog.text
    assert isinstance(batch.getUpdatedJobs()[job], Ambiguous)


def test_after_what_closing_cuts_short_nothing_is_begun(transport: InMemory):
    """It would outlive the program, and end jobs long after, when the scheduler is back."""
    timeouts = Timeouts(flush_s=0.2, close_s=0.2, kill_chunk=1)
    batch = CommandLine(JsonDialect(), QUICK, timeouts, transport, Clock())
    jobs = batch.issueJobs(several("alpha", "beta"))
    assert batch.flush() == frozenset()
    transport.gate.clear()
    batch.killJobs(jobs)
    batch.close()
    assert batch._thread is not None
    batch._thread.join(5)
    assert not batch._thread.is_alive()
    assert len(transport.world.commands("kill")) <= 1


def test_what_is_withdrawn_is_not_sent(batch: CommandLine, transport: InMemory):
    transport.world.broken = {"sub": CommandResult(1, stderr=Rejection.OUTAGE.value)}
    transport.gate.clear()
    jobs = batch.issueJobs(several("flying", "waiting"))
    wait_for(
        lambda: (
            batch._engine.submission_queue.largest()
            and len(batch._engine.submission_queue.waiting) == 1
        )
    )
    assert batch.withdraw() == {jobs[1]}
    transport.gate.set()
    watcher = Watcher(batch)
    for job in jobs:
        assert watcher.end(job).reason is Reason.CANCELLED
    transport.world.broken = {}
    batch.close()
    assert transport.world.queue == {}


def test_a_closed_one_takes_nothing(batch: CommandLine, tmp_path: Path):
    batch.close()
    here = SingleMachine(str(tmp_path / "state"))
    here.close()
    for closed in (batch, here):
        with pytest.raises(BatchSystemError, match="JT268"):
            closed.issueJob(JobSpec("late", ("true",)))
        assert closed.getIssuedJobIDs() == frozenset()


# ---- this machine ------------------------------------------------------------------------------


def test_this_machine_starts_what_waits_before_it_lets_go(tmp_path: Path):
    batch = SingleMachine(str(tmp_path / "state"), max_cpus=1)
    jobs = batch.issueJobs([sh(f"echo >>{tmp_path}/ran", index=i) for i in range(3)])
    batch.close()
    wait_for(lambda: (tmp_path / "ran").exists() and (tmp_path / "ran").read_text() == "\n\n\n")
    assert batch.getUpdatedJobs().keys() == set(jobs)


def test_this_machine_says_what_it_could_not_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    batch = SingleMachine(str(tmp_path / "state"), max_cpus=1)
    hold = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    running = batch.issueJob(sh(hold, "running"))
    waiting = batch.issueJob(sh("exit 0", "waiting"))
    assert batch.flush(0.1) == {waiting}
    batch.flush_s = 0.1
    with caplog.at_level(logging.WARNING):
        batch.close()
    told = batch.getUpdatedJobs()
    assert isinstance(told[running], Accepted)
    refused = told[waiting]
    assert isinstance(refused, Refused)
    assert refused.transient
    assert "waiting" in caplog.text
    assert batch.getIssuedJobIDs() == frozenset()
    (tmp_path / "go").touch()


def test_this_machine_forgets_what_is_withdrawn(tmp_path: Path):
    batch = SingleMachine(str(tmp_path / "state"), max_cpus=1)
    running, waiting = batch.issueJobs([sh("sleep 1000", index=i) for i in range(2)])
    assert batch.withdraw() == {waiting}
    assert batch.getIssuedJobIDs() == {running}
    watcher = Watcher(batch)
    assert watcher.end(waiting).reason is Reason.CANCELLED
    batch.killJobs([running])
    watcher.end(running)
    batch.close()


# ---- the end of the program ----------------------------------------------------------------------

PROGRAM = """
import os, sys, threading
from dataclasses import replace
from batchsystems import JobSpec, SingleMachine, load
from batchsystems.commandline.pacing import Timeouts
batch = load("slurm", timeouts=replace(Timeouts(), flush_s=float(sys.argv[1])))
def issue(name):
    batch.issueJob(JobSpec(name, ("true",)))
issue("one")
"""
ENDS = {
    "falls off its end": 'issue("two")',
    "exits": 'issue("two"); sys.exit(3)',
    "fails": 'issue("two"); raise ValueError("its own")',
    "leaves a thread": """
def later():
    threading.main_thread().join()
    issue("two")
threading.Thread(target=later).start()
""",
    "forks": """
child = os.fork()
if child == 0:
    sys.exit(0)  # what the parent took is the parent's to send
issue("two")
os.waitpid(child, 0)
""",
    "has let go of it": 'issue("two"); del batch',
}


def run(tmp_path: Path, program: str, flush_s: float) -> subprocess.CompletedProcess[str]:
    (tmp_path / "program.py").write_text(program)
    return subprocess.run(
        [sys.executable, "-W", "error", str(tmp_path / "program.py"), str(flush_s)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeSlurm:
    return use(monkeypatch, tmp_path / "slurm")


@pytest.mark.parametrize("end", ENDS)
def test_a_program_that_just_ends_has_submitted_its_jobs(fake: FakeSlurm, tmp_path: Path, end: str):
    ran = run(tmp_path, PROGRAM + ENDS[end], 60)
    assert sorted(sub["name"] for sub in fake.submissions()) == ["one", "two"]
    said = "its own" if end == "fails" else ""
    assert said in ran.stderr
    assert bool(ran.stderr) == bool(said), ran.stderr


def test_a_program_that_just_ends_says_what_it_could_not_submit(fake: FakeSlurm, tmp_path: Path):
    contact = "sbatch: error: Batch job submission failed: Unable to contact slurm controller"
    fake.fault("sbatch", "error", times=-1, stderr=contact)
    ran = run(tmp_path, PROGRAM + ENDS["falls off its end"], 0.5)
    assert "one" in ran.stderr
    assert "two" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert fake.submissions() == []


def test_an_interrupt_ends_the_waiting_and_says_what_was_not_sent(fake: FakeSlurm, tmp_path: Path):
    contact = "sbatch: error: Batch job submission failed: Unable to contact slurm controller"
    fake.fault("sbatch", "error", times=-1, stderr=contact)
    more = """
import signal, time
def interrupt():
    while not os.path.exists(sys.argv[0] + ".closing"): time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
plain = batch.flush
def flush(timeout_s):
    open(sys.argv[0] + ".closing", "w").close()
    return plain(timeout_s)
batch.flush = flush
"""
    ran = run(tmp_path, PROGRAM + more, 10_000)
    assert "closed before" in ran.stderr
    assert "one" in ran.stderr
    assert ran.returncode in (0, 1, -signal.SIGINT)


def test_this_machine_starts_what_waits_when_the_program_ends(tmp_path: Path):
    program = f"""
from batchsystems import JobSpec, SingleMachine
def issue():
    batch = SingleMachine({str(tmp_path / "state")!r}, max_cpus=1)
    for i in range(3):
        batch.issueJob(JobSpec("job", ("/bin/sh", "-c", "echo >>{tmp_path}/ran"), index=i))
issue()
"""
    assert run(tmp_path, program, 0).stderr == ""
    wait_for(lambda: (tmp_path / "ran").exists() and (tmp_path / "ran").read_text() == "\n\n\n")
