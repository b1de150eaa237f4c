"""A command that is interrupted: Ctrl-C, a terminal that is lost, a pipe that nobody reads.

Owns signals and broken pipes as a user makes them; must not kill as a machine that fails does.
Read next: test_takeover.py, where masters are stopped.
"""

from __future__ import annotations

import os
import pty
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.integration.shells import LONGEST_S, Shell, start_long_run, until

pytestmark = pytest.mark.usefixtures("no_stray_processes")


# ---- Ctrl-C ------------------------------------------------------------------------------


def test_one_interrupt_leaves_the_jobs_and_says_how_to_go_on(jobtree: Shell):
    process = start_long_run(jobtree)
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 130
    assert f"jobtree restart {jobtree.directory}/x.jt" in err
    assert "1 batch job may still run" in err
    said = jobtree.status("x.jt")
    assert (said["state"], said["colours"]["grey"]) == ("interrupted", 1)
    assert jobtree("kill").returncode == 0


PAIR = """
import os, time
from batchsystems.singlemachine.machine import read_machine
from jobtree import Stack, Target

MOST = read_machine().memory_bytes * 6 // 10  # there is a cpu for a second one, and no memory

class Two(Target):
    def run(self):
        self.addChildTarget(Note(memory=MOST))
        self.addChildTarget(Note(memory=MOST))

class Note(Target):
    def run(self):
        self.note("begin")
        while not os.path.exists("go"):
            time.sleep(0.02)
        self.note("end")

    def note(self, word):
        with open("begun", "a") as file:
            file.write(word + chr(10))

if __name__ == "__main__":
    import argparse
    parser = argparse.ArgumentParser()
    Stack.addJobTreeOptions(parser)
    raise SystemExit(Stack(Two()).startJobTree(parser.parse_args()))
"""


def test_an_interrupted_master_submits_nothing_more(jobtree: Shell):
    (jobtree.directory / "flow.py").write_text(PAIR)
    process = jobtree.python("flow.py", "--jobTree", "x.jt", "--maxCpus", "2")
    begun = jobtree.directory / "begun"
    until(lambda: begun.exists() and begun.read_text(), "one of the two runs")
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=LONGEST_S)
    assert "nothing more is submitted" in err
    assert "closed before" not in err, "it took back what it no longer wanted"
    (jobtree.directory / "go").touch()
    until(lambda: begun.read_text().count("end") == 1, "the one that ran ends")
    assert begun.read_text().count("begin") == 1
    assert jobtree("restart", "x.jt").returncode == 0
    assert begun.read_text().count("end") == 2


@contextmanager
def hangups(handler: signal.Handlers) -> Iterator[None]:
    """Have what is started meanwhile inherit this answer to a lost terminal."""
    before = signal.signal(signal.SIGHUP, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_lost_terminal_is_an_interrupt(jobtree: Shell):
    with hangups(signal.SIG_DFL):
        process = start_long_run(jobtree)
    os.kill(process.pid, signal.SIGHUP)
    _, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 130
    assert "jobtree restart" in err
    assert jobtree("kill").returncode == 0


def test_under_nohup_a_lost_terminal_is_nothing(jobtree: Shell):
    with hangups(signal.SIG_IGN):
        process = start_long_run(jobtree)
    os.kill(process.pid, signal.SIGHUP)
    assert jobtree("logs", "1").returncode == 0, "it answers, so it has had the signal"
    assert process.poll() is None
    assert jobtree("kill").returncode == 0


def test_a_restart_takes_over_what_was_left_running(jobtree: Shell):
    command = "echo x >> runs; until test -e go; do sleep 0.05; done # JOB_FILE"
    process = jobtree.start("run", "--command", command, "--jobTree", "x.jt")
    runs = jobtree.directory / "runs"
    until(lambda: runs.exists() and runs.read_text(), "the job runs")
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=LONGEST_S)
    again = jobtree.start("restart", "x.jt")
    until(lambda: jobtree.status("x.jt")["state"] == "running", "the second master runs")
    (jobtree.directory / "go").touch()
    _, err = again.communicate(timeout=LONGEST_S)
    assert again.returncode == 0, err
    assert runs.read_text() == "x\n"


def test_two_interrupts_on_a_terminal_kill(jobtree: Shell):
    ours, theirs = pty.openpty()
    process = start_long_run(jobtree, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    seen = b""

    def shows(text: bytes) -> bool:
        nonlocal seen
        with suppress(BlockingIOError, OSError):
            seen += os.read(ours, 65536)
        return text in seen

    until(lambda: shows(b"running 1"), "the block of progress")
    os.kill(process.pid, signal.SIGINT)
    until(lambda: shows(b"interrupt again"), "the offer to kill")
    os.kill(process.pid, signal.SIGINT)
    until(lambda: shows(b"never") or process.poll() is not None, "the end")
    os.close(ours)
    assert process.returncode == 130
    said = jobtree.status("x.jt")
    assert (said["state"], said["colours"]["grey"]) == ("interrupted", 0)


# ---- pipes -------------------------------------------------------------------------------


def test_a_pipe_nobody_reads_is_no_disaster(jobtree: Shell):
    jobtree("run", "--command", "true # JOB_FILE", "--jobTree", "x.jt")
    process = jobtree.start("status", "x.jt")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.wait(LONGEST_S)
