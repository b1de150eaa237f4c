"""A tree is taken up again: what is finished stays, what is asked for anew is honoured.

Owns restarts that a user asks for; must not kill a master. Read next: test_takeover.py.
"""

from __future__ import annotations

from batchsystems import JobSpec, SingleMachine
from batchsystems.conformance import wait_for
from tests.integration.flows import FAILS_UNLESS, Workflow


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


def test_batch_jobs_that_the_tree_knows_nothing_of_are_ended(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    flow.run(code=1)
    flow.home.joinpath("mended").touch()
    lost = SingleMachine(str(flow.tree / "batch" / "singleMachine"))
    wait = f": >{flow.home}/begun; sleep 1000"
    lost.issueJob(JobSpec("lost", ("/bin/sh", "-c", wait)))
    wait_for(flow.home.joinpath("begun").exists)
    lost.close()
    said = flow.restart()
    assert "1 batch jobs that this tree knows nothing of are ended: lost" in said
    wait_for(lambda: not list((flow.tree / "batch" / "singleMachine").glob("lost.*.live")))


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


def test_restart_of_a_finished_tree_says_so_and_runs_nothing(flow: Workflow) -> None:
    flow.write(FAILS_UNLESS)
    flow.home.joinpath("mended").touch()
    flow.run()
    flow.restart()
    flow.run()
    assert len(flow.lines("good")) == 1
