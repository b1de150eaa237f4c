"""Bad input and broken surroundings: each gets a clear error, and nothing is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.flows import ROOT, Workflow


@pytest.fixture
def flow(tmp_path: Path) -> Workflow:
    return Workflow(tmp_path)


def no_traceback(said: str) -> bool:
    return "Traceback (most recent call last)" not in said


FAILS_UNLESS = """
class Root(Target):
    def run(self):
        self.addChildTarget(Good())
        self.addChildTarget(Bad())
class Good(Target):
    def run(self):
        note("good", "x")
class Bad(Target):
    def run(self):
        note("bad", "x")
        if not os.path.exists("mended"):
            raise ValueError("the reason")
"""


def test_a_failure_blocks_its_ancestors_only_and_a_restart_finishes_the_rest(
    flow: Workflow,
) -> None:
    flow.write(FAILS_UNLESS)
    said = flow.run(code=1)
    assert "the reason" in said
    assert "no retries left" in said
    flow.home.joinpath("mended").touch()
    flow.restart()
    assert len(flow.lines("good")) == 1
    assert len(flow.lines("bad")) == 2


def test_retries_given_on_restart_are_honoured(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    flow.run(code=1)
    assert len(flow.lines("bad")) == 1
    said = flow.restart("--retryCount", "3", code=1)
    assert len(flow.lines("bad")) == 5
    assert "3 retries left" not in said
    assert "2 retries left" in said


def test_another_batch_system_given_on_restart_is_honoured(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    flow.run(code=1)
    flow.home.joinpath("mended").touch()
    said = flow.restart("--batchSystem", "acid_test")
    assert "batchSystem=acidTest" in said


def test_more_memory_given_on_restart_reaches_jobs_that_named_none(flow: Workflow) -> None:
    flow.write(
        """
class Root(Target):
    def run(self):
        note("memory", str(self.getAvailableMemory()))
        if self.getAvailableMemory() < 2**30:
            raise MemoryError("too little")
"""
    )
    flow.run("--defaultMemory", "256M", code=1)
    flow.restart("--defaultMemory", "2G")
    few, many = map(int, flow.lines("memory"))
    assert few < 2**30 <= many


def test_a_bug_mended_in_the_script_is_mended_in_the_restarted_run(flow: Workflow) -> None:
    body = """
class Root(Target):
    def run(self):
        self.addChildTarget(Child(3))
        self.addChildTarget(Child(4))
class Child(Target):
    def __init__(self, number):
        super().__init__()
        self.number = number
    def run(self):
        note("out", str(self.number / DIVISOR))
"""
    flow.write(body.replace("DIVISOR", "0"))
    assert "ZeroDivisionError" in flow.run(code=1)
    flow.write(body.replace("DIVISOR", "1"))
    flow.run()
    assert sorted(flow.lines("out")) == ["3.0", "4.0"]


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


def test_a_renamed_script_is_named_with_the_remedy(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    flow.run(code=1)
    renamed = flow.home / "renamed.py"
    flow.script.rename(renamed)
    said = flow.restart(code=1)
    assert str(flow.script) in said
    flow.script = renamed
    flow.home.joinpath("mended").touch()
    flow.run()


def test_a_second_master_is_refused_naming_the_first(flow: Workflow) -> None:
    flow.write(
        """
class Root(Target):
    def run(self):
        os.mkfifo("gate") if not os.path.exists("gate") else None
        note("started", "x")
        open("gate").read()
"""
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    os.mkfifo(flow.home / "gate")
    first = subprocess.Popen(
        [sys.executable, str(flow.script), "--jobTree", str(flow.tree)],
        cwd=flow.home,
        env=env,
        stderr=subprocess.DEVNULL,
    )
    gate = os.open(flow.home / "gate", os.O_WRONLY)  # returns when the step has opened it
    try:
        said = flow.run(code=5)
        assert "JT302" in said
        assert str(first.pid) in said
        assert os.uname().nodename in said
        assert no_traceback(said)
    finally:
        os.close(gate)
        assert first.wait(60) == 0


def test_a_newer_tree_is_refused(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    flow.run(code=1)
    db = sqlite3.connect(flow.tree / "tree.db")
    db.execute("pragma user_version = 99")
    db.close()
    said = flow.restart(code=5)
    assert "JT311" in said
    assert no_traceback(said)


def test_a_damaged_database_is_refused(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    flow.run(code=1)
    with open(flow.tree / "tree.db", "r+b") as file:
        file.seek(2000)
        file.write(os.urandom(20000))
    said = flow.restart(code=5)
    assert "JT310" in said
    assert no_traceback(said)


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_tree_others_can_write_is_refused(flow: Workflow, mode: int) -> None:
    flow.write(FAILS_UNLESS)
    flow.run(code=1)
    flow.tree.chmod(mode)
    said = flow.restart(code=5)
    assert "JT330" in said
    assert "chmod" in said


def test_a_tree_behind_a_symlink_or_of_another_user_is_refused(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    flow.run(code=1)
    link = flow.home / "link"
    link.symlink_to(flow.tree)
    assert "JT330" in flow.command("restart", str(link), code=5)
    if os.geteuid() == 0:
        os.chown(flow.tree, 12345, 12345)
        assert "another user" in flow.restart(code=5)


def test_an_altered_pickle_is_never_loaded(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    flow.run(code=1)
    for bundle in (flow.tree / "bundles").iterdir():
        content = bundle.read_bytes()
        bundle.write_bytes(content.replace(b"Bad", b"Dab"))
    said = flow.restart(code=1)
    assert "JT331" in said
    assert len(flow.lines("bad")) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_loses_nothing_and_a_restart_goes_on(flow: Workflow) -> None:
    disk = flow.home / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        flow.tree = disk / "tree"
        flow.write(
            """
class Root(Target):
    def run(self):
        for number in range(20):
            self.addChildTarget(Wide(number))
class Wide(Target):
    def __init__(self, number):
        super().__init__()
        self.number = number
    def run(self):
        note("wide", str(self.number))
        for number in range(10):
            self.addChildTarget(Leaf(os.urandom(2000).hex()))
class Leaf(Target):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight
    def run(self):
        note("leaf", "x")
"""
        )
        filler = disk / "filler"
        filler.write_bytes(bytes(2_200_000))
        said = flow.run("--rescueCount", "2", code=None)
        assert no_traceback(said)
        filler.unlink()
        for _ in range(3):
            if "all done" in flow.restart(code=None):
                break
        assert sorted(set(map(int, flow.lines("wide")))) == list(range(20))
        assert len(flow.lines("leaf")) >= 200
        assert json.loads((flow.tree / "status.json").read_text())["state"] == "done"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_an_unwritable_place_for_the_tree_is_named(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    flow.tree = Path("/proc/nowhere/tree")
    said = flow.run(code=5)
    assert "JT307" in said
    assert no_traceback(said)


def test_a_directory_that_is_no_tree_is_left_alone(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    flow.tree.mkdir()
    kept = flow.tree / "thesis.txt"
    kept.write_text("precious")
    assert "JT306" in flow.run(code=5)
    assert kept.read_text() == "precious"


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
        if self.getAvailableMemory() < 600 * 2**20:
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
    said = flow.run("--maxJobDuration", "1")
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


def test_nothing_but_the_trees_own_state_remains(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    flow.home.joinpath("mended").touch()
    flow.run()
    left = {str(path.relative_to(flow.tree)) for path in flow.tree.rglob("*") if path.is_file()}
    assert left <= {
        "jobtree.json",
        "tree.db",
        "tree.db-wal",
        "environment.json",
        "status.json",
        "control/bell",
        "leases/1",
    }


def test_restart_of_a_finished_tree_says_so_and_runs_nothing(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    flow.home.joinpath("mended").touch()
    flow.run()
    flow.restart()
    flow.run()
    assert len(flow.lines("good")) == 1


def test_a_missing_interpreter_for_workers_ends_with_the_reason(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    python = flow.home / "python"
    shutil.copy(sys.executable, python)
    said = flow._run(
        [
            sys.executable,
            "-c",
            "import sys, runpy; sys.executable = '/nonexistent/python';"
            f"sys.argv = ['flow.py', '--jobTree', {str(flow.tree)!r}, '--rescueCount', '2'];"
            f"runpy.run_path({str(flow.script)!r}, run_name='__main__')",
        ],
        code=None,
    )
    assert "ended before it began" in said or "/nonexistent/python" in said
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
