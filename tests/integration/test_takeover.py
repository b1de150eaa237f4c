"""Who holds a tree when machines stop, sleep and wake up, start at once, or change the time."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from jobtree.errors import StoreError
from jobtree.store import directory, lease
from jobtree.store.open_tree import open_tree
from tests.integration.killing import (
    LONGEST_S,
    assert_complete,
    environment,
    jobtree,
    python,
    run,
    start,
)

MASTERS = Path(__file__).with_name("masters.py")
RACES = int(os.environ.get("JOBTREE_RACES", "10"))
STOPPED_S = float(os.environ.get("JOBTREE_STOPPED_S", "0"))
"""0: the patience of the masters is cut short; else: they have their own, and one is stopped."""

pytestmark = pytest.mark.usefixtures("no_stray_processes")

FLOW = """
import argparse, os, sys
from jobtree import Stack, Target
def note(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, (text + "\\n").encode())
    os.close(fd)
class Root(Target):
    def run(self):
        note("ran", "root")
        for number in range(6):
            self.addChildTarget(Child(number))
        self.setFollowOnTarget(Last())
class Child(Target):
    def __init__(self, number):
        super().__init__(time=0.01)
        self.number = number
    def run(self):
        note("ran", f"child-{self.number}")
        open(os.path.join(self.getGlobalTempDir(), "kept"), "w").write("kept")
        if self.number == 0:
            open("gate").read()
        draft = os.path.join(self.getAttemptDir(), "draft")
        open(draft, "w").write(str(self.number))
        self.publish(draft, os.path.abspath(f"out.{self.number}"))
        self.setFollowOnTarget(After(self.number))
class After(Target):
    def __init__(self, number):
        super().__init__(time=0.01)
        self.number = number
    def run(self):
        note("ran", f"after-{self.number}")
        assert open(os.path.join(self.getGlobalTempDir(), "kept")).read() == "kept"
        assert open(f"out.{self.number}").read() == str(self.number)
class Last(Target):
    def run(self):
        note("ran", "last")
if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    Stack.addJobTreeOptions(parser)
    sys.exit(min(1, Stack(Root()).startJobTree(parser.parse_args())))
"""

ALL = sorted(["root", "last", *(f"child-{n}" for n in range(6)), *(f"after-{n}" for n in range(6))])


def master(home: Path, *bent: str, log: str) -> subprocess.Popen[bytes]:
    return start(python(MASTERS, *bent, home / "flow.py", "--jobTree", home / "tree"), home / log)


def fingerprint(tree: Path) -> dict[str, str]:
    """Return what every file of a tree holds, but for the database a lost master may write."""
    return {
        str(path.relative_to(tree)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(tree.rglob("*"))
        if path.is_file() and path.name not in ("tree.db", "tree.db-wal")
    }


def test_a_master_that_wakes_up_late_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    os.mkfifo(tmp_path / "gate")
    patience = () if STOPPED_S else ("--stale", "2", "--renew", "0.5")
    first = master(tmp_path, "--host", "alpha", *patience, log="first")
    gate = os.open(tmp_path / "gate", os.O_WRONLY)  # returns when child-0 runs
    os.kill(first.pid, signal.SIGSTOP)
    stopped = time.monotonic()
    second = master(tmp_path, "--host", "beta", *patience, log="second")
    os.close(gate)  # child-0 ends, and nobody but the second master may hear of it
    assert second.wait(LONGEST_S) == 0, (tmp_path / "second").read_text()
    assert "watching its lease" in (tmp_path / "second").read_text()
    before = fingerprint(tmp_path / "tree")
    while time.monotonic() - stopped < STOPPED_S:
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait(LONGEST_S) == 5
    said = (tmp_path / "first").read_text()
    assert "JT304" in said
    assert "Traceback" not in said
    assert fingerprint(tmp_path / "tree") == before
    assert sorted((tmp_path / "ran").read_text().split()) == ALL
    ended = run(jobtree("restart", tmp_path / "tree"), tmp_path / "third")
    assert_complete(tmp_path / "tree", ended)


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A tree whose master has died on another host."""
    (tmp_path / "flow.py").write_text(FLOW)
    os.mkfifo(tmp_path / "gate")
    first = master(tmp_path, "--host", "alpha", log="first")
    gate = os.open(tmp_path / "gate", os.O_WRONLY)
    first.kill()
    first.wait()
    os.close(gate)
    return tmp_path


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_takeover_that_fails_leaves_the_next_one_as_careful(
    unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lost master may still write the old file: it is never opened, only copied."""
    tree = str(unfinished / "tree")
    monkeypatch.setattr(lease, "STALE_S", 0.2)
    monkeypatch.setattr(lease, "POLL_S", 0.05)
    looks = iter(range(1000))
    failing: list[tuple[str, Callable[..., object]]] = [
        ("jobtree.store.database._fingerprint", lambda _: next(looks)),
        ("jobtree.store.database.write_all", full_disk),
    ]
    for name, failure in failing:
        with monkeypatch.context() as patched:
            patched.setattr(name, failure)
            with pytest.raises((StoreError, OSError)), open_tree(tree):
                pass
    with open_tree(tree) as (held, store):
        assert held.holder.database == f"tree.{held.epoch}.db"
        assert store.path.endswith(held.holder.database)
    with open_tree(tree) as (held, store):  # released properly: no further copy
        assert store.path.endswith(f"tree.{held.epoch - 1}.db")


def test_a_takeover_killed_while_it_copies_leaves_the_next_one_as_careful(
    unfinished: Path,
) -> None:
    tree = unfinished / "tree"
    script = f"""
import os, signal
from jobtree.store.open_tree import open_tree
from jobtree.store import database, lease
lease.STALE_S, lease.POLL_S = 0.2, 0.05
database.write_all = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with open_tree({str(tree)!r}):
    pass
"""
    killed = subprocess.run([sys.executable, "-c", script], env=environment(), check=False)
    assert killed.returncode == -signal.SIGKILL
    with open_tree(str(tree)) as (held, store):
        assert store.path.endswith(f"tree.{held.epoch}.db")


def test_a_tree_whose_master_died_here_is_taken_at_once(unfinished: Path) -> None:
    tree = unfinished / "tree"
    path = max(tree.glob("leases/*"))
    holder = json.loads(path.read_text())
    path.write_text(json.dumps(holder | {"host": os.uname().nodename}))
    began = time.monotonic()
    ended = run(jobtree("restart", tree), unfinished / "second")
    assert_complete(tree, ended)
    assert "watching" not in ended.said
    assert time.monotonic() - began < lease.STALE_S / 2
    assert set((unfinished / "ran").read_text().split()) == set(ALL)


def test_of_two_masters_started_at_once_one_wins(tmp_path: Path) -> None:
    argv = python(MASTERS, "--race", str(RACES), tmp_path)
    env = environment(JOBTREE_TEST_TMP_PATH=str(tmp_path))
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    rounds = [line.split() for line in done.stdout.splitlines()]
    assert len(rounds) == RACES
    for loser, winner, ran, *codes in rounds:
        assert (loser, winner, ran) == ("5", "0", "1"), done.stdout
        assert codes in (["JT302"], ["JT306"], ["JT307"]), done.stdout
    print(f"{RACES} races, one winner each")


def test_a_clock_that_jumps_an_hour_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(FLOW.replace('open("gate").read()', "pass"))
    jumpy = master(tmp_path, "--jumps", log="said")
    assert jumpy.wait(LONGEST_S) == 0, (tmp_path / "said").read_text()
    assert sorted((tmp_path / "ran").read_text().split()) == ALL
    with closing(sqlite3.connect(tmp_path / "tree" / "tree.db")) as db:
        assert db.execute("select count(*) from history where event != 'done'").fetchone() == (0,)
    said = (tmp_path / "said").read_text()
    assert "lost" not in said
    assert "all done" in said


def test_what_dead_masters_were_writing_is_swept(unfinished: Path) -> None:
    tree = unfinished / "tree"
    for path in tree.glob("leases/*"):
        holder = json.loads(path.read_text())
        path.write_text(json.dumps(holder | {"host": os.uname().nodename}))
    left = [tree / name for name in ("leases/1~abc", "leases/2~def", "status.json~12")]
    left += [tree / name for name in ("control/bell~12", "control/1-a.answer~12", "bundles/j-x.0")]
    for path in left:
        path.touch(mode=0o600)
    assert_complete(tree, run(jobtree("restart", tree), unfinished / "second"))
    assert not [path for path in left if path.exists()]


def test_the_drafts_of_dead_masters_are_dropped_and_those_of_living_ones_kept(
    tmp_path: Path,
) -> None:
    (tmp_path / "flow.py").write_text(FLOW.replace('open("gate").read()', "pass"))
    living = Path(directory.draft_of(str(tmp_path / "tree")))
    dead = living.with_name(living.name.rpartition("-")[0] + "-1")
    foreign = tmp_path / "tree~elsewhere.1-1"
    namespace = tmp_path / f"tree~{os.uname().nodename}.00000000.1-1"
    for draft in (dead, living, foreign, namespace):
        (draft / "orders").mkdir(parents=True)
    ended = run(python(tmp_path / "flow.py", "--jobTree", tmp_path / "tree"), tmp_path / "said")
    assert ended.status == 0, ended.said
    assert not dead.exists()
    assert living.exists()
    assert foreign.exists()
    assert namespace.exists()
