"""Trees that cannot be used or written: each gets a clear error, and nothing is lost.

Owns what is wrong with the tree and its disk as accidents make it; what malice makes is in
test_hostile_files.py. Read next: docs/reliability.md.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.flows import FAILS_UNLESS, LONGEST_S, ROOT, Workflow, no_traceback


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
        assert first.wait(LONGEST_S) == 0


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
        "environment.sh",
        "status.json",
        "control/bell",
        "leases/1",
    }
