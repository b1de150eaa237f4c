"""What steps print: bounded while they run, wherever it is kept, and whatever ends the worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobtree.mailbox import layout
from jobtree.mailbox.files import read_private_range
from jobtree.payload.jobfile import shell_command
from jobtree.worker import log_limit
from jobtree.worker.log_limit import LET_GROW_BYTES, OutputLimit, cut
from tests.component.worker.worker_targets import Call
from tests.component.worker.workers import ISSUE, Tree, wait_until
from tests.integration.shells import until

pytestmark = pytest.mark.usefixtures("no_stray_processes")

MOST = 1000
PIECE = 20_000_000


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


# ---- while a step runs -------------------------------------------------------------------


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("isolate", [False, True])
def test_a_running_flood_takes_little_space(tree: Tree, local: bool, isolate: bool) -> None:
    flood, more = Call("flood", PIECE, 3), Call("say", "next")
    tree.run([flood], [more], isolate=isolate, max_log_bytes=MOST, local_logs=local)
    assert not tree.failed(), tree.failed()
    first, after = tree.done()
    kept = tree.output(first)
    assert len(kept) == first.log.length < MOST + 64
    assert kept.startswith(b"head\nxxx")
    assert kept.endswith(b"xxxtail\n")
    assert re.search(rb"\n\[\.\.\. 5999\d{4} bytes cut \.\.\.\]\n", kept)
    assert tree.output(after) == b"next\n"


@pytest.mark.parametrize("local", [False, True])
def test_what_a_killed_worker_printed_is_cut_and_kept(tree: Tree, local: bool) -> None:
    flag = tree.home / "flag"
    command = f"echo head; yes | head -c {PIECE}; echo tail; touch {flag}; sleep 3600"
    tree.order([shell_command(command)], max_log_bytes=MOST, local_logs=local)
    with tree.start() as worker:
        wait_until(flag)
        worker.kill()
        worker.communicate()
    until(
        lambda: not list(tree.scratch.iterdir()) and 0 < len(tree.log()) < MOST + 64,
        "the sidecar's end",
    )
    assert tree.log().startswith("head\ny\n")
    assert tree.log().endswith("y\ntail\n")
    assert "bytes cut" in tree.log()


# ---- on the node -------------------------------------------------------------------------


def test_local_logs_leave_the_shared_file_system_alone_while_a_step_runs(tree: Tree) -> None:
    gate, said = tree.home / "gate", tree.home / "said"
    wait = f"echo one; touch {said}; until [ -e {gate} ]; do sleep 0.05; done; echo two"
    fail = "echo three; exit 1"
    tree.order([shell_command(wait)], [shell_command(fail)], [Call("say", "four")], local_logs=True)
    kept = Path(layout.log_path(str(tree.path), ISSUE))
    with tree.start() as worker:
        wait_until(said)
        assert not kept.exists()
        gate.touch()
        worker.communicate()
    assert worker.returncode == 0
    tree.lines = tree.reader.read(final=True)
    assert [tree.output(done) for done in tree.done()] == [b"one\ntwo\n", b"four\n"]
    assert tree.failed_output(tree.failed()[0]) == b"three\n"
    assert kept.read_bytes() == b"one\ntwo\nthree\nfour\n"
    assert not list(tree.scratch.iterdir())


def test_a_step_may_remove_the_directory_of_its_worker(tree: Tree) -> None:
    tree.run([Call("remove", str(tree.scratch))], [Call("say", "next")], local_logs=True)
    assert [done.job for done in tree.done()] == [1]
    assert not list(tree.scratch.iterdir())


def test_silent_steps_leave_no_log(tree: Tree) -> None:
    tree.run([shell_command("true")], [Call("nothing")], local_logs=True)
    assert len(tree.done()) == 2
    assert not Path(layout.log_path(str(tree.path), ISSUE)).exists()


# ---- where a file system has no holes ----------------------------------------------------

WRITER = """
import os, sys
for number in range(int(sys.argv[2])):
    os.write(1, b"%09d\\n" % number * 1000)
"""


def test_where_there_are_no_holes_the_log_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_limit, "_punch", lambda *_: False)
    log, pieces = tmp_path / "log", 20_000
    log.write_bytes(b"of the step before\n")
    began = log.stat().st_size
    bound = OutputLimit(str(log), MOST)
    bound.begin(began)
    cuts = 0
    with log.open("ab") as file:
        argv = [sys.executable, "-c", WRITER, "-", str(pieces)]
        writer = subprocess.Popen(argv, stdout=file)
        while writer.poll() is None:
            cuts += bound.hold()
    assert cuts
    with log.open("r+b") as file:
        _, length = cut(file.fileno(), began, MOST)
    content = log.read_bytes()
    assert content.startswith(b"of the step before\n000000000\n")
    assert len(content) == began + length < began + MOST + 64
    assert content.endswith(b"%09d\n" % (pieces - 1))
    found = re.search(rb"\n\[\.\.\. (\d+) bytes cut \.\.\.\]\n", content)
    assert found
    assert int(found[1]) <= pieces * 10_000 - MOST
    assert content.count(b"bytes cut") == 1


def test_what_was_cut_before_is_counted_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"a" * 5000)
    with log.open("r+b") as file:
        cut(file.fileno(), 0, MOST)
        file.seek(0, os.SEEK_END)
        file.write(b"b" * 3000)
        file.flush()
        cut(file.fileno(), 0, MOST)
    kept = log.read_bytes()
    assert kept == b"a" * 500 + b"\n[... 7000 bytes cut ...]\n" + b"b" * 500


def test_a_hole_loses_nothing_that_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"before" + b"h" * 500 + b"m" * (2 * LET_GROW_BYTES) + b"t" * 500)
    bound = OutputLimit(str(log), MOST)
    bound.begin(len("before"))
    assert bound.hold()
    assert not bound.hold()
    assert log.stat().st_blocks * 512 < LET_GROW_BYTES
    assert bound.shorten()[:500] == b"h" * 500
    assert log.read_bytes().endswith(b"t" * 500)


def test_a_log_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    bound = OutputLimit(str(tmp_path / "none"), MOST)
    assert not bound.hold()
    assert bound.shorten() == b""


# ---- large pickles -----------------------------------------------------------------------


def test_a_read_that_stops_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux reads no more than 2 GiB at once, network file systems less."""
    path = tmp_path / "bundle"
    path.write_bytes(bytes(range(256)) * 40)
    path.chmod(0o600)
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: real(fd, min(n, 1000), at))
    assert read_private_range(str(path), 100, 10_000) == (bytes(range(256)) * 40)[100:10_100]
