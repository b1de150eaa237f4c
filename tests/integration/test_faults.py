"""Steps and workers that go wrong: each failure costs its own job only, and is told with reasons.

Owns bad scripts, bad requests, crashes and launches that fail; must not spoil the tree itself.
Read next: test_tree_faults.py, which does.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections import Counter
from pathlib import Path

from tests.integration.flows import FAILS_UNLESS, Workflow, no_traceback


def test_a_script_without_a_guard_fails_clearly_and_never_runs_twice(flow: Workflow) -> None:
    flow.write(
        """
class Root(Target):
    def run(self):
        note("ran", "x")
""",
        tail="""
note("started", "x")
parser = argparse.ArgumentParser()
Stack.addJobTreeOptions(parser)
sys.exit(min(1, Stack(Root()).startJobTree(parser.parse_args())))
""",
    )
    said = flow.run(code=1)
    assert "__main__" in said
    assert flow.lines("ran") == []


def test_memory_no_machine_has_fails_at_once_saying_so(flow: Workflow) -> None:
    flow.write(
        """
class Root(Target):
    def __init__(self):
        super().__init__(memory="900T")
    def run(self):
        note("ran", "x")
"""
    )
    said = flow.run("--retryCount", "5", code=1)
    assert "memory" in said
    assert flow.lines("ran") == []
    assert len(re.findall("^.*failed job=1", said, re.M)) == 1


def test_a_memory_hog_is_killed_and_gets_more(flow: Workflow) -> None:
    flow.write(
        """
class Root(Target):
    def __init__(self):
        super().__init__(memory="100M")
    def run(self):
        note("memory", str(self.getAvailableMemory()))
        hog = bytearray(400 * 2**20)
        for at in range(0, len(hog), 4096):
            hog[at] = 1
        if self.getAvailableMemory() < 300 * 2**20:
            time.sleep(60)
"""
    )
    said = flow.run()
    asked = [int(word) for word in flow.lines("memory")]
    assert asked == sorted(asked)
    assert len(asked) >= 3
    assert "out of memory" in said


def test_an_over_long_step_is_killed_and_reissued(flow: Workflow) -> None:
    flow.write(
        """
class Root(Target):
    def run(self):
        note("tries", "x")
        if len(open("tries").read().split()) < 2:
            time.sleep(600)
"""
    )
    said = flow.run("--maxJobDuration", "4")  # what the second one takes is far less, always
    assert len(flow.lines("tries")) == 2
    assert "maxJobDuration" in said


def test_max_jobs_is_never_exceeded(flow: Workflow) -> None:
    flow.write(
        """
class Root(Target):
    def run(self):
        for number in range(12):
            self.addChildTarget(Leaf())
class Leaf(Target):
    def run(self):
        mark = f"running.{os.getpid()}"
        open(mark, "w").close()
        note("seen", str(len([name for name in os.listdir(".") if name.startswith("running.")])))
        time.sleep(0.02)
        os.unlink(mark)
"""
    )
    flow.run("--maxJobs", "1")
    assert len(flow.lines("seen")) == 12
    assert max(map(int, flow.lines("seen"))) == 1


def test_a_segfault_or_exit_costs_only_its_own_target(flow: Workflow) -> None:
    flow.write(
        """
import ctypes
class Root(Target):
    def run(self):
        for number in range(30):
            self.addChildTarget(Leaf(number))
class Leaf(Target):
    def __init__(self, number):
        super().__init__(time=0.01)
        self.number = number
    def run(self):
        note("tries", str(self.number))
        if self.number == 7:
            ctypes.string_at(0)
        if self.number == 9:
            os._exit(0)
        note("done", str(self.number))
"""
    )
    said = flow.run("--retryCount", "1", code=1)
    done = flow.lines("done")
    assert sorted(map(int, done)) == [n for n in range(30) if n not in (7, 9)]
    tries = flow.lines("tries")
    assert tries.count("7") == tries.count("9") == 2
    assert "signal 11" in said


KILLED_BODY = """
import subprocess
KILL = "(sleep 0.5; kill -9 $PPID) & kill -9 $$"
class Root(Target):
    def run(self):
        self.addChildCommand(f"mkdir shell 2>/dev/null && {{ {KILL}; }}; echo shell >> ran")
        for name in ("checks", "explains", "exits"):
            self.addChildTarget(Leaf(name))
class Leaf(Target):
    def __init__(self, name):
        super().__init__()
        self.name = name
    def run(self):
        if not os.path.exists(self.name):
            note(self.name, "x")
            if self.name == "exits":
                sys.exit(subprocess.call(KILL, shell=True))
            try:
                subprocess.run(KILL, shell=True, check=True)
            except subprocess.CalledProcessError as error:
                if self.name == "explains":
                    raise RuntimeError("the program failed") from error
                raise
        note("ran", self.name)
"""


KILLS_ITSELF = """
import resource, signal
class Root(Target):
    def run(self):
        for name in ("ALRM", "PIPE", "VTALRM", "XFSZ", "XCPU", "USR1", "USR2", "HUP", "RTMIN"):
            self.addChildTarget(Kills(name))
        self.addChildCommand("echo parent >> ran; kill -USR1 $PPID; sleep 100")
class Kills(Target):
    def __init__(self, name):
        super().__init__()
        self.signal = name
    def run(self):
        note("ran", self.signal)
        number = getattr(signal, "SIG" + self.signal)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        time.sleep(100)
"""


def test_a_step_that_kills_itself_pays_whatever_the_signal(flow: Workflow) -> None:
    flow.write(KILLS_ITSELF)
    said = flow.run("--retryCount", "1", code=1)
    ran = Counter(flow.lines("ran"))
    sure = dict.fromkeys(("ALRM", "PIPE", "VTALRM", "XFSZ"), 2)
    assert ran == sure | dict.fromkeys(("XCPU", "USR1", "USR2", "HUP", "RTMIN", "parent"), 3)
    assert len(re.findall("failed for good: no retries left", said)) == 10
    assert "as before at this very step" in said


def test_a_step_whose_worker_is_killed_after_its_child_is_lost_not_failed(flow: Workflow) -> None:
    """Who ends a batch job may come to the child first; that is no failure of the step."""
    flow.write(KILLED_BODY)
    said = flow.run("--retryCount", "0")
    assert sorted(flow.lines("ran")) == ["checks", "exits", "explains", "shell"]
    assert said.count("lost job=") == 4
    assert "failed job=" not in said


def test_outputs_are_published_before_dependants_start(flow: Workflow) -> None:
    flow.write(
        """
class Root(Target):
    def run(self):
        for number in range(8):
            self.addChildTarget(Leaf(number))
        self.setFollowOnTarget(Check())
class Leaf(Target):
    def __init__(self, number):
        super().__init__()
        self.number = number
    def run(self):
        draft = os.path.join(self.getAttemptDir(), "out")
        with open(draft, "w") as file:
            file.write(str(self.number))
        self.publish(draft, os.path.abspath(f"out.{self.number}"))
class Check(Target):
    def run(self):
        found = sorted(open(f"out.{n}").read() for n in range(8))
        note("checked", ",".join(found))
"""
    )
    flow.run()
    assert flow.lines("checked") == ["0,1,2,3,4,5,6,7"]
    assert not list((flow.tree / "directories").glob("*/*"))


def test_a_missing_interpreter_for_workers_ends_with_the_reason(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    python = flow.home / "python"
    shutil.copy(sys.executable, python)
    said = flow._run(
        [
            sys.executable,
            "-c",
            "import sys, runpy; sys.executable = '/proc/nowhere/python';"
            f"sys.argv = ['flow.py', '--jobTree', {str(flow.tree)!r}, '--rescueCount', '2'];"
            f"runpy.run_path({str(flow.script)!r}, run_name='__main__')",
        ],
        code=None,
    )
    assert "ended before it began" in said or "/proc/nowhere/python" in said
    assert no_traceback(said)


def test_workers_without_their_directory_do_not_spend_all_rescues_at_once(tmp_path: Path) -> None:
    """They start and can do nothing, wherever they start: that it comes back is waited for."""
    flow = Workflow(tmp_path / "home")
    flow.home.mkdir()
    flow.tree = tmp_path / "tree"
    flow.write(
        """
class Root(Target):
    def run(self):
        os.rename(os.getcwd(), os.getcwd() + "-away")
        self.addChildTarget(Leaf())
        self.addChildTarget(Leaf())
class Leaf(Target):
    def run(self):
        pass
"""
    )
    said = flow.run("--rescueCount", "2", code=1)
    assert "the workflow's environment is not to be had" in said
    assert "launches failed: nothing is submitted for 1 s" in said
