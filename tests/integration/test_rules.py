"""Rules of the tree that only show when master, workers and batch system play together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from batchsystems.conformance import wait_for
from tests.integration.flows import LONGEST_S, ROOT, Workflow, no_traceback

GATED = """
class Root(Target):
    def run(self):
        note("pid", str(os.getpid()))
        open("gate").read()
        note("done", "x")
"""


def start(flow: Workflow, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(flow.script), "--jobTree", str(flow.tree), *options],
        cwd=flow.home,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def open_gate(flow: Workflow) -> None:
    os.close(os.open(flow.home / "gate", os.O_WRONLY))


@pytest.mark.parametrize("system", ["singleMachine", "acidTest"])
def test_jobs_alive_at_a_restart_are_adopted_whatever_system_is_chosen_now(
    flow: Workflow, system: str
) -> None:
    flow.write(GATED)
    os.mkfifo(flow.home / "gate")
    first = start(flow)
    wait_for(lambda: bool(flow.lines("pid")))
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    second = start(flow, "--batchSystem", system)
    open_gate(flow)
    assert second.wait(LONGEST_S) == 0
    assert len(flow.lines("pid")) == 1
    assert flow.lines("done") == ["x"]


def test_the_unstarted_tail_of_a_pack_is_recalled_when_slots_fall_free(flow: Workflow) -> None:
    flow.write(
        """
class Root(Target):
    def run(self):
        for number in range(10):
            self.addChildTarget(Quick(time=1))
        for number in range(10):
            self.addChildTarget(Slow(time=1))
class Quick(Target):
    def run(self):
        pass
class Slow(Target):
    def run(self):
        note("slow", str(os.getpid()))
        time.sleep(1)
"""
    )
    flow.run("--maxCpus", "2")
    assert len(flow.lines("slow")) == 10
    assert len(set(flow.lines("slow"))) > 1


def test_a_pack_mate_that_succeeded_never_runs_again(flow: Workflow) -> None:
    flow.write(
        """
class Root(Target):
    def run(self):
        for number in range(12):
            self.addChildTarget(Leaf(number))
class Leaf(Target):
    def __init__(self, number):
        super().__init__(time=0.01)
        self.number = number
    def run(self):
        note("ran", str(self.number))
        if self.number == 5:
            raise ValueError("five")
"""
    )
    flow.run("--retryCount", "2", "--maxCpus", "1", code=1)
    ran = flow.lines("ran")
    assert ran.count("5") == 3
    assert sorted(ran) == sorted([*map(str, range(12)), "5", "5"])


def test_a_follow_on_runs_after_all_descendants(flow: Workflow) -> None:
    flow.write(
        """
class Root(Target):
    def run(self):
        self.addChildTarget(Branch())
        self.addChildTarget(Leaf("shallow"))
        self.setFollowOnTarget(Last())
class Branch(Target):
    def run(self):
        self.addChildTarget(Leaf("deep"))
        self.addChildTarget(Leaf("deeper"))
        self.setFollowOnTarget(Leaf("after"))
class Leaf(Target):
    def __init__(self, name):
        super().__init__()
        self.name = name
    def run(self):
        note("order", self.name)
class Last(Target):
    def run(self):
        note("order", "last")
"""
    )
    flow.run()
    order = flow.lines("order")
    assert order[-1] == "last"
    assert sorted(order[:-1]) == ["after", "deep", "deeper", "shallow"]
    assert order.index("after") > max(order.index("deep"), order.index("deeper"))


def test_the_global_temp_dir_is_shared_by_a_step_and_its_follow_on_and_then_removed(
    flow: Workflow,
) -> None:
    flow.write(
        """
class Root(Target):
    def run(self):
        with open(os.path.join(self.getGlobalTempDir(), "shared"), "w") as file:
            file.write("kept")
        self.addChildTarget(Leaf())
        self.addChildTarget(Leaf())
        self.setFollowOnTarget(Last())
class Leaf(Target):
    def run(self):
        note("leaf", str(os.listdir(self.getGlobalTempDir())))
class Last(Target):
    def run(self):
        note("last", open(os.path.join(self.getGlobalTempDir(), "shared")).read())
"""
    )
    flow.run()
    assert flow.lines("last") == ["kept"]
    assert flow.lines("leaf") == ["[]", "[]"]
    assert not list((flow.tree / "directories").glob("*/*"))


def test_steps_run_in_the_masters_environment_directory_and_umask(flow: Workflow) -> None:
    flow.write(
        """
class Root(Target):
    def run(self):
        umask = os.umask(0); os.umask(umask)
        note("seen", f"{os.environ['COLOUR']} {os.getcwd()} {umask:o} {os.environ.get('TMPDIR')}")
        self.addChildCommand('echo "$COLOUR $PWD $(umask)" >> shell')
"""
    )
    before = os.umask(0o037)
    try:
        flow._run(
            ["env", "COLOUR=green", sys.executable, str(flow.script), "--jobTree", str(flow.tree)],
            0,
        )
    finally:
        os.umask(before)
    assert flow.lines("seen")[:3] == ["green", str(flow.home), "37"]
    assert flow.lines("shell") == ["green", str(flow.home), "0037"]


def test_max_memory_is_never_exceeded(flow: Workflow) -> None:
    flow.write(
        """
class Root(Target):
    def run(self):
        for number in range(6):
            self.addChildTarget(Leaf(memory="300M"))
class Leaf(Target):
    def run(self):
        mark = f"running.{os.getpid()}"
        open(mark, "w").close()
        note("seen", str(len([name for name in os.listdir(".") if name.startswith("running.")])))
        time.sleep(0.05)
        os.unlink(mark)
"""
    )
    flow.run("--maxMemory", "2G", "--defaultMemory", "500M")
    said = flow.command("stats", str(flow.tree))
    assert "Leaf" in said
    flow.tree = flow.home / "second"
    flow.run("--maxMemory", "500M", "--defaultMemory", "500M")
    assert max(map(int, flow.lines("seen")[6:])) == 1


@pytest.mark.parametrize(
    ("asks", "most"), [('memory="2G"', ("--maxMemory", "1G")), ("cpu=3", ("--maxCpus", "2"))]
)
def test_a_job_that_asks_for_more_than_may_be_asked_for_fails_alone_until_more_may(
    flow: Workflow, asks: str, most: tuple[str, str]
) -> None:
    flow.write(
        f"""
class Root(Target):
    def run(self):
        self.addChildTarget(Leaf("large", {asks}))
        self.addChildTarget(Leaf("small"))
class Leaf(Target):
    def __init__(self, name, **asked):
        super().__init__(**asked)
        self.name = name
    def run(self):
        note("ran", self.name)
"""
    )
    usual = ("--defaultMemory", "500M", "--retryCount", "3")
    said = flow.run(*usual, *most, code=1)
    assert f"but {most[0]} is {most[1].rstrip('G')}: raise it" in said
    assert flow.lines("ran") == ["small"]
    assert no_traceback(said)
    flow.restart(most[0], "4" + most[1][1:])
    assert flow.lines("ran") == ["small", "large"]


def test_a_tail_is_taken_back_from_a_worker_busy_with_a_long_step(flow: Workflow) -> None:
    flow.write(
        """
class Root(Target):
    def run(self):
        for number in range(40):
            self.addChildTarget(Uneven(number))
class Uneven(Target):
    def __init__(self, number):
        super().__init__()
        self.number = number
    def run(self):
        note("ran", str(self.number))
        if self.number == 5:
            while not os.path.exists("last"):
                time.sleep(0.05)
        if self.number == 39:
            open("last", "w").close()
"""
    )
    script = flow.script.read_text()
    flow.script.write_text(
        "import jobtree.master.recall as recalling\n"
        "recalling.RECALL_S, recalling.TAKE_BACK_S = 0.3, 0.3\n" + script
    )
    flow.run("--maxCpus", "2")
    assert sorted(map(int, flow.lines("ran"))) == list(range(40))
