"""What one step finds and leaves: surroundings, output, temp dirs, the script's own classes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobtree.mailbox import layout
from jobtree.mailbox.orders import Assignment
from jobtree.mailbox.results import End, ResultLine, Returned
from jobtree.payload.jobfile import protocol_command, shell_command
from tests.component.worker.worker_targets import Call
from tests.component.worker.workers import ISSUE, TERMS, Tree

pytestmark = pytest.mark.usefixtures("no_stray_processes")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


# ---- surroundings ------------------------------------------------------------------------


def test_a_polluting_target_harms_only_itself(tree: Tree) -> None:
    tree.run([Call("look_around")], [Call("pollute")], [Call("look_around")])
    before, _, after = tree.done()
    assert tree.output(before) == tree.output(after)
    assert f"{tree.home} 0o22 None True".encode() in tree.output(after)
    assert b"on stderr" in tree.output(after)
    assert b"True [] True\nTrue\nset() 0 1000\n" in tree.output(after)


def test_a_target_that_closes_all_descriptors_is_still_published(tree: Tree) -> None:
    tree.run([Call("close_everything")], [Call("nothing")])
    assert [done.job for done in tree.done()] == [1]
    assert tree.output(tree.done()[0]).decode() == f"all closed\n{TOLD}\n"


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("low", [0, 1, 2, 3])
@pytest.mark.parametrize("high", [3, 256, 1024, 65536])
def test_closing_a_range_of_descriptors_harms_nobody(
    tree: Tree, low: int, high: int, isolate: bool
) -> None:
    """Whatever is closed, nothing of ours is written into the log, and nothing is lost."""
    steps = [[Call("say", "before")], [Call("close_range", low, high)], [Call("say", "after")]]
    lines = tree.run(*steps, isolate=isolate)
    assert isinstance(lines[-1], End) or isinstance(lines[-2], End)
    assert [done.child_count for done in tree.done()[:2]] == [0, 2]
    assert tree.done()[1].messages == ["closed"]
    assert {line.job for line in tree.done()} | returned(lines) == {1, 2, 3}
    assert not tree.failed()
    assert set(tree.log().splitlines()) <= {"before", "after", TOLD}
    if high == 3 or isolate:  # the worker goes on
        assert tree.log() == "before\nafter\n"


@pytest.mark.parametrize("isolate", [False, True])
def test_a_targets_files_under_our_numbers_stay_its_own(
    tree: Tree, tmp_path: Path, isolate: bool
) -> None:
    mine = tmp_path / "mine"
    steps = [[Call("say", "before")], [Call("take_numbers", str(mine))], [Call("say", "after")]]
    lines = tree.run(*steps, isolate=isolate)
    assert mine.read_bytes() == b"mine"
    assert [done.child_count for done in tree.done()[:2]] == [0, 2]
    assert {line.job for line in tree.done()} | returned(lines) == {1, 2, 3}


def test_a_results_file_removed_by_a_target_is_the_workers_failure(tree: Tree) -> None:
    results = layout.result_path(str(tree.path), ISSUE)
    tree.order([Call("remove_and_close", results)])
    tree.work(70)
    assert "for good" in tree.log()  # the first standard error was closed too


TOLD = (
    "jobTree: this batch job runs no further Target after this one: it closed descriptors that "
    "were not its own"
)


def returned(lines: list[ResultLine]) -> set[int]:
    """Return the jobs that were handed back."""
    return {job for line in lines if isinstance(line, Returned) for job in line.jobs}


def test_the_nodes_own_variables_win(tree: Tree) -> None:
    tree.order([shell_command("echo $SLURM_JOB_ID $TMPDIR $CUDA_VISIBLE_DEVICES $ALIEN.")])
    node = {"SLURM_JOB_ID": "7", "TMPDIR": "/node", "CUDA_VISIBLE_DEVICES": "3", "ALIEN": "x"}
    tree.work(env={**os.environ, **node})
    assert tree.log() == "7 /node 3 .\n"


# ---- output ------------------------------------------------------------------------------


def test_a_flood_of_output_is_cut_to_head_and_tail(tree: Tree) -> None:
    tree.run([Call("print_bytes", 100_000_000)], [Call("say", "next")], max_log_bytes=1000)
    flood, after = tree.done()
    assert flood.log.length < 1100
    kept = tree.output(flood)
    assert kept.startswith(b"head\nxxx")
    assert kept.endswith(b"xxxtail\n")
    assert re.search(rb"\n\[\.\.\. 9999\d+ bytes cut \.\.\.\]\n", kept)
    assert tree.output(after) == b"next\n"
    assert flood.usage.memory_bytes is not None
    assert flood.usage.memory_bytes < 40_000_000


def test_a_failed_steps_copy_is_cut_too(tree: Tree) -> None:
    tree.run([shell_command("yes | head -c 1000000; exit 1")], max_log_bytes=100)
    kept = tree.failed_output(tree.failed()[0])
    assert len(kept) < 150
    assert b"bytes cut" in kept


def test_output_need_not_be_text(tree: Tree) -> None:
    tree.run([Call("print_odd")], [shell_command(r"printf '\377\n'; exit 1")])
    assert tree.output(tree.done()[0]) == b"\xff\xfe raw\n\\udcff surrogate \xc3\xbcn\xc3\xaf\n"
    assert tree.failed_output(tree.failed()[0]) == b"\xff\n"


def test_output_before_a_crash_is_there(tree: Tree) -> None:
    tree.run([Call("exit_process", 3)], isolate=True)
    assert tree.failed_output(tree.failed()[0]) == b"bye\n"


# ---- what a step may ask -----------------------------------------------------------------


def test_a_step_learns_what_was_granted_and_asked(tree: Tree) -> None:
    tree.run([Call("ask", memory="1M", cpu=1, time="90m")], [Call("ask")])
    assert tree.log() == (
        f"{2**30} 2 1000001\n{2**20} 1 5400.0\n{2**30} 2 1000001\nNone None None\n"
    )


def test_peak_memory_is_each_steps_own(tree: Tree) -> None:
    tree.run([Call("allocate", 200_000_000)], [Call("nothing")])
    large, small = (done.usage.memory_bytes for done in tree.done())
    assert large is not None
    assert small is not None
    assert large > 200_000_000 > 100_000_000 > small


# ---- directories -------------------------------------------------------------------------


def test_a_local_dir_is_empty_private_and_gone_afterwards(tree: Tree) -> None:
    tree.run([Call("local_dir")], [Call("local_dir")], [Call("fail")])
    said = tree.log().splitlines()[:2]
    assert all(line.endswith(" [] 0o700") for line in said)
    assert said[0] != said[1]
    assert said[0].startswith(f"{tree.scratch}/jobtree-")
    assert os.listdir(tree.scratch) == []


def test_a_job_may_remove_its_local_dir(tree: Tree) -> None:
    tree.run([Call("remove_local_dir")], [Call("local_dir")])
    assert [done.job for done in tree.done()] == [1, 2]


def test_a_protocol_command_may_remove_its_local_dir(tree: Tree) -> None:
    tree.run([protocol_command("rm -rf $(dirname JOB_FILE)")], [Call("local_dir")])
    assert "is gone" in tree.failed()[0].why
    assert [done.job for done in tree.done()] == [2]


def test_follow_ons_share_the_global_dir_and_children_have_their_own(tree: Tree) -> None:
    tree.run([Call("global_dir", "a", 1)])
    assert tree.log() == "0 []\n1 []\n0 ['a']\n"
    job = Path(layout.job_directory(str(tree.path), 1))
    assert sorted(os.listdir(job)) == ["0"]  # the child's went when its parent's level ran
    assert sorted(os.listdir(job / "0")) == ["a", "af"]
    assert (job / "0").stat().st_mode & 0o777 == 0o700
    assert all(done.has_directory for done in tree.done())


def test_a_retry_finds_the_global_dir_as_it_was(tree: Tree) -> None:
    shared = Path(layout.global_directory(str(tree.path), 1, 0))
    shared.mkdir(parents=True)
    (shared / "kept").touch()
    tree.run([Call("global_dir", "a")])
    assert tree.log() == "0 ['kept']\n"


# ---- where Targets come from -------------------------------------------------------------

SCRIPT = """
from jobtree import Target
class Own(Target):
    def run(self):
        print("version 1", __name__)
        self.setFollowOnTarget(Next())
class Next(Target):
    def run(self):
        print("next")
def work(target, word):
    print(word)
    target.addChildTarget(Next())
"""
MAKE = """
if __name__ == "__main__":
    import sys
    from jobtree.payload.serialize import target_command
    from jobtree.mailbox.bundles import BundleWriter
    from jobtree.target import FunctionTarget
    bundle = BundleWriter(sys.argv[1], "root")
    for target in Own(), FunctionTarget(work, ("hello",), {}, None, None, None, None, False):
        target_command(target, bundle)
"""


def scripted(tmp_path: Path, script: Path, text: str) -> Tree:
    """Return a tree with an order for the two Targets that `script` makes of itself."""
    script.write_text(text + MAKE)
    tree = Tree(tmp_path, str(script))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # what target_command returns goes by offsets in the bundle: read them from a second run
    listing = (
        "import runpy, sys, json\n"
        "import jobtree.payload.serialize as handover\n"
        "made = []\n"
        "old = handover.target_command\n"
        "handover.target_command = lambda *a: made.append(old(*a))\n"
        f"sys.argv = ['x', {str(tree.path)!r}]\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
        "print(json.dumps(made))"
    )
    maker = tmp_path / "maker.py"
    maker.write_text(listing)
    done = subprocess.run(
        [sys.executable, str(maker)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    import json

    from jobtree.core.job import command_from_wire

    own, function = (command_from_wire(wire) for wire in json.loads(done.stdout))
    tree.order([own], [function])
    return tree


def test_the_scripts_own_classes_work(tmp_path: Path) -> None:
    tree = scripted(tmp_path, tmp_path / "flow.py", SCRIPT)
    tree.work()
    assert tree.log() == "version 1 __main__\nnext\nhello\nnext\n"


def test_a_bug_mended_in_the_script_is_mended(tmp_path: Path) -> None:
    tree = scripted(tmp_path, tmp_path / "flow", SCRIPT)
    script = tmp_path / "flow"
    script.write_text(script.read_text().replace("version 1", "version 2"))
    tree.work()
    assert tree.log().startswith("version 2")


def test_a_script_renamed_is_told(tmp_path: Path) -> None:
    tree = scripted(tmp_path, tmp_path / "flow.py", SCRIPT)
    (tmp_path / "flow.py").rename(tmp_path / "flux.py")
    tree.work()
    first, second = tree.failed()
    assert "JT410" in first.why
    assert str(tmp_path / "flow.py") in second.why
    assert "restart" in first.detail


def test_a_script_without_a_guard_is_told(tmp_path: Path) -> None:
    tree = scripted(tmp_path, tmp_path / "flow.py", SCRIPT)
    text = SCRIPT + "\nfrom jobtree import Stack\nStack(Own()).startJobTree(None)\n"
    (tmp_path / "flow.py").write_text(text)
    tree.work()
    assert "JT402" in tree.failed()[0].why
    assert "__main__" in tree.failed()[0].detail


def test_a_script_that_exits_at_import_is_told(tmp_path: Path) -> None:
    tree = scripted(tmp_path, tmp_path / "flow.py", SCRIPT)
    (tmp_path / "flow.py").write_text("import argparse\nexit(3)")
    tree.work()
    assert "JT411" in tree.failed()[0].why


def test_a_class_gone_from_the_script_is_told(tmp_path: Path) -> None:
    tree = scripted(tmp_path, tmp_path / "flow.py", SCRIPT)
    (tmp_path / "flow.py").write_text(SCRIPT.replace("Own", "Other"))
    tree.work()
    assert "JT412" in tree.failed()[0].why
    assert [done.job for done in tree.done()] == [2, 2]


def test_an_altered_pickle_is_refused(tree: Tree) -> None:
    tree.order([Call("nothing")], [shell_command("true")])
    bundle = tree.path / "bundles" / "root"
    bundle.write_bytes(b"x" * bundle.stat().st_size)
    tree.work()
    assert "JT331" in tree.failed()[0].why
    assert [done.job for done in tree.done()] == [2]


def test_a_pickle_that_cannot_be_read_is_the_workers_failure(tree: Tree) -> None:
    tree.order([Call("nothing")])
    (tree.path / "bundles" / "root").unlink()
    tree.work(70)
    assert tree.failed() == []


def test_the_first_user_line_comes_soon(tree: Tree) -> None:
    """Not the budget (benchmarks measure that): a guard against a slip of an import."""
    command = tree.target(Call("nothing"))
    tree.order_pack([Assignment(1, 1, 0, 0, False, (command,))], max_log_bytes=TERMS.max_log_bytes)
    before = os.times()
    tree.work()
    after = os.times()
    spent = after.children_user + after.children_system
    assert spent - before.children_user - before.children_system < 0.5
