"""Shell commands and JOB_FILE as workers run them, and the sidecar beside each worker."""

from __future__ import annotations

import json
import marshal
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jobtree.core.job import Requirements
from jobtree.mailbox import layout
from jobtree.mailbox.claims import Claim, read_claim, take_claim
from jobtree.mailbox.results import Start
from jobtree.payload import environment
from jobtree.payload.jobfile import protocol_command, shell_command
from jobtree.worker import main as worker
from tests.component.worker.worker_targets import Call
from tests.component.worker.workers import ISSUE, START, SUBMISSION, Tree, wait_until

pytestmark = pytest.mark.usefixtures("no_stray_processes")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


# ---- shell -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [1, 75, 99, 100, 127, 139, 255])
def test_a_users_exit_status_means_nothing_special(tree: Tree, status: int) -> None:
    tree.run([shell_command(f"exit {status}")], [shell_command("true")])
    (failed,) = tree.failed()
    assert (failed.exit_status, failed.signal, failed.crashed) == (status, None, False)
    assert [done.job for done in tree.done()] == [2]


def test_a_command_not_found_is_named(tree: Tree) -> None:
    tree.run([shell_command("no-such-command --x")])
    assert "command not found" in tree.failed()[0].why
    assert "no-such-command" in tree.failed()[0].why


def test_a_command_killed_by_a_signal(tree: Tree) -> None:
    tree.run([shell_command("kill -9 $$")])
    assert (tree.failed()[0].signal, tree.failed()[0].why) == (9, "killed by signal 9 (SIGKILL)")


def test_kill_0_in_a_command_spares_the_worker(tree: Tree) -> None:
    tree.run([shell_command("kill 0")], [shell_command("true")])
    assert tree.failed()[0].signal == signal.SIGTERM
    assert [done.job for done in tree.done()] == [2]


@pytest.mark.parametrize("letter", ["x", "é", "\U0001d11e"])
def test_a_command_longer_than_an_argument_may_be(tree: Tree, letter: str) -> None:
    said = tree.home / "said"
    long = letter * 200_000
    tree.run([shell_command(f": {long}; printf %s {long} | wc -c > {said}")])
    assert not tree.failed()
    assert int(said.read_text()) == len(long.encode())


def test_a_long_command_with_a_job_file(tree: Tree) -> None:
    said = tree.home / "said"
    tree.run([protocol_command(f": {'x' * 200_000}; grep -c children JOB_FILE > {said}")])
    assert not tree.failed()
    assert said.read_text() == "1\n"


def test_the_job_file_is_a_variable_too(tree: Tree) -> None:
    said = tree.home / "said"
    text = f'MY_JOB_FILES=mine; echo "$MY_JOB_FILES" "$JOB_FILE" "JOB_FILE" > {said}'
    tree.run([protocol_command(text)])
    assert not tree.failed()
    mine, variable, word = said.read_text().split()
    assert (mine, variable) == ("mine", word)


def test_an_environment_too_large_for_the_system(tree: Tree) -> None:
    huge = tree.environment.environ | {f"V{n}": "x" * 100_000 for n in range(30)}
    environment.save(str(tree.path), tree.environment._replace(environ=huge))
    tree.run([shell_command("true")])
    assert "the environment is too large" in tree.failed()[0].why


def test_a_daemon_does_not_hang_the_worker(tree: Tree) -> None:
    pid_file = tree.home / "pid"
    tree.run([shell_command(f"setsid sleep 3600 & echo $! > {pid_file}")], [Call("nothing")])
    assert len(tree.done()) == 2
    os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_a_shell_command_sees_the_saved_environment(tree: Tree) -> None:
    tree.run([shell_command("pwd; umask; trap; echo ${HOME:+home}; cat; kill -PIPE $$")])
    assert tree.failed_output(tree.failed()[0]) == f"{tree.home}\n0022\nhome\n".encode()
    assert tree.failed()[0].signal == signal.SIGPIPE


def test_a_shell_commands_cpu_is_counted(tree: Tree) -> None:
    tree.run([shell_command("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")])
    assert tree.done()[0].usage.cpu_s > 0.02
    assert tree.done()[0].usage.memory_bytes is None


# ---- JOB_FILE ----------------------------------------------------------------------------

GROW = """sed -i 's|<children/>|<children>{}</children>|' JOB_FILE"""


def grow(*children: str) -> str:
    return GROW.format("".join(children).replace("&", r"\&"))


def test_a_protocol_command_grows_the_tree(tree: Tree) -> None:
    child = '<child command="echo JOB_FILE" memory="2G" time="90m" cpu="2"/>'
    plain = '<child command="echo plain" plain="1"/>'
    tree.run([protocol_command(grow(child, plain))])
    (done,) = tree.done()
    first, second = done.children
    assert first.requirements == Requirements(2**31, 2, None, 5400.0)
    assert (first.kind, second.kind, second.text) == ("jobfile", "shell", "echo plain")
    assert done.has_directory


def test_a_protocol_follow_on_and_stats(tree: Tree) -> None:
    text = """sed -i 's|<job |<job command="echo JOB_'FILE'" cpu="2" |' JOB_FILE;
    stats=$(sed -n 's/.*stats="\\([^"]*\\)".*/\\1/p' JOB_FILE); echo '<x/>' > $stats"""
    tree.run([protocol_command(text)])
    first, second = tree.done()
    assert first.follow_on is not None
    assert first.follow_on.requirements.cpus == 2
    assert (first.said, second.said) == ("<x/>\n", "")
    assert first.goes_on


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("true", "JOB_FILE"),
        ("rm JOB_FILE", "is gone"),
        ("rm JOB_FILE; mkdir JOB_FILE", "not a file"),
        ("rm JOB_FILE; mkfifo JOB_FILE", "not a file"),
        (": > JOB_FILE", "not whole XML"),
        ("echo '<job><children>' > JOB_FILE", "not whole XML"),
        ("echo '<job/>' > JOB_FILE", "no <children>"),
        (grow('<child memory="1"/>'), "has no command"),
        (grow('<child command="x JOB_FILE" memory="much"/>'), "memory cannot be 'much'"),
        ("truncate -s 70M JOB_FILE", "larger than 64 MB"),
        ("echo '<!DOCTYPE job [<!ENTITY a \"b\">]><job><children/></job>' > JOB_FILE", "document"),
    ],
)
def test_a_spoilt_job_file_fails_the_step(tree: Tree, text: str, why: str) -> None:
    tree.run([protocol_command(text)], [Call("nothing")])
    (failed,) = tree.failed()
    assert why in failed.why
    assert [done.job for done in tree.done()] == [2]


def test_the_path_is_quoted(tree: Tree) -> None:
    odd = tree.scratch / 'it\'s a $(touch pwned) `x` "dir"'
    odd.mkdir()
    tree.order([protocol_command("test -f JOB_FILE")])
    path = Path(layout.order_path(str(tree.path), SUBMISSION))
    path.write_text(path.read_text().replace(f'"{tree.scratch}"', json.dumps(str(odd))))
    # an order with a "$" in scratch falls back to TMPDIR: set that
    tree.work(env={**os.environ, "TMPDIR": str(odd)})
    assert len(tree.done()) == 1
    assert os.listdir(tree.home) == []


# ---- the sidecar -----------------------------------------------------------------------


def test_it_beats_while_c_code_holds_the_gil_and_tidies_up(tree: Tree) -> None:
    sign = tree.home / "sign"
    tree.order([Call("local_dir")], [Call("hold_the_gil", str(sign))], heartbeat_s=0.02)
    worker = tree.start()
    wait_until(sign)
    deadline = time.monotonic() + 60
    while (claim := read_claim(str(tree.path), ISSUE)) is None or claim.beat < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    while not any(isinstance(line, Start) for line in tree.reader.read()):  # synced meanwhile
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (tree.scratch / next(iter(os.listdir(tree.scratch))) / "left").touch()
    worker.kill()
    worker.communicate(timeout=60)
    while os.listdir(tree.scratch):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_runs_is_seen_while_it_runs(tree: Tree) -> None:
    """On NFS nothing is seen before it is synced."""
    began, until = tree.home / "began", tree.home / "until"
    tree.order([Call("wait_for_file", str(began), str(until))])
    worker = tree.start()
    deadline = time.monotonic() + 60
    while not any(isinstance(line, Start) for line in tree.reader.read()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    until.touch()
    worker.communicate(timeout=60)
    assert worker.returncode == 0


def test_a_dead_workers_command_is_killed(tree: Tree) -> None:
    pid_file = tree.home / "pid"
    tree.order(
        [shell_command(f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; sleep 3600")]
    )
    worker = tree.start()
    wait_until(pid_file)
    worker.kill()
    worker.communicate(timeout=60)  # and no_stray_processes sees that the command ends too


@pytest.mark.parametrize("isolate", [False, True])
def test_a_dead_workers_targets_leave_no_process(tree: Tree, isolate: bool) -> None:
    started = tree.home / "started"
    tree.order([Call("start_session", str(started))], isolate=isolate)
    worker = tree.start()
    wait_until(started)
    worker.kill()
    worker.communicate(timeout=60)  # and no_stray_processes sees that the sleeper ends too


def test_a_terminated_worker_passes_the_signal_on(tree: Tree) -> None:
    sign, got = tree.home / "sign", tree.home / "got"
    script = f"trap 'touch {got}; exit 1' TERM; touch {sign}; while :; do sleep 0.01; done"
    tree.order([shell_command(script)])
    worker = tree.start()
    wait_until(sign)
    worker.terminate()
    worker.communicate(timeout=60)
    assert worker.returncode == -signal.SIGTERM
    wait_until(got)


def test_the_doorbell_rings_at_the_end(tree: Tree) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bell:
        bell.bind(("127.0.0.1", 0))
        bell.settimeout(60)
        tree.run([Call("nothing")], doorbell=("127.0.0.1", bell.getsockname()[1], "token"))
        assert bell.recv(100) == f"token {ISSUE}".encode()


def test_os_wait_does_not_see_the_sidecar(tree: Tree) -> None:
    tree.run([Call("wait_for_any_child")])
    assert tree.log() == "children: None\n"


def test_a_full_disk_is_the_workers_failure(tree: Tree, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the same error from write()."""
    tree.order(*([Call("children", 50)] for _ in range(20)))
    compiled, order = tmp_path / "compiled", layout.order_path(str(tree.path), SUBMISSION)
    options = ["-I", "-S", "-X", "utf8", "-X", f"pycache_prefix={compiled}"]
    args = [sys.executable, *options, str(START), order, "0"]
    subprocess.run(args, check=True)
    for folder in ("claims", "results", "bundles"):
        (tree.path / folder / ISSUE).unlink()
    limited = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 8; exec "$@"', "sh", *args],
        capture_output=True,
        check=False,
    )
    assert limited.returncode == 70
    assert b"File too large" in limited.stderr
    for path in compiled.rglob("jobtree/**/*.pyc"):
        marshal.loads(path.read_bytes()[16:])  # else no worker could load it any more


def test_an_order_withdrawn_while_its_issue_is_claimed_is_left_alone(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim of a twin that ran to its end may have gone with the order."""
    tree.order([Call("nothing")])
    order = layout.order_path(str(tree.path), SUBMISSION)

    def withdrawn_first(*arguments: Any) -> int | None:
        os.unlink(order)
        return take_claim(*arguments)

    monkeypatch.setattr(worker, "take_claim", withdrawn_first)
    assert worker._work(order, 0) == 75
    assert os.listdir(tree.path / "claims") == os.listdir(tree.path / "results") == []


def test_a_claim_lost_after_its_order_was_withdrawn_leaves_no_note(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that wake up when the tree is long done, nobody would remove the loser's note."""
    tree.order([Call("nothing")])
    order = layout.order_path(str(tree.path), SUBMISSION)

    def withdrawn_and_taken_first(*arguments: Any) -> int | None:
        os.unlink(order)
        twin = take_claim(str(tree.path), ISSUE, Claim("other", 1, "abc", 0.0, 0))
        assert twin is not None
        os.close(twin)
        return take_claim(*arguments)

    monkeypatch.setattr(worker, "take_claim", withdrawn_and_taken_first)
    assert worker._work(order, 0) == 75
    assert os.listdir(tree.path / "claims") == [ISSUE]
    assert os.listdir(tree.path / "results") == []
