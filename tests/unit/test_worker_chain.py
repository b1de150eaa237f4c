"""What one worker does with jobs and packs: chains, hand-backs, failures, fences, claims."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from jobtree.job import Requirements
from jobtree.jobfile import protocol_command, shell_command
from jobtree.mailbox import layout
from jobtree.mailbox.claims import Claim, Fence, read_claim, take_claim, write_fence
from jobtree.mailbox.orders import Assignment
from jobtree.mailbox.results import End, Failed, Hello, Returned, Start, read_children
from tests.unit.worker_targets import Call
from tests.unit.workers import ISSUE, SUBMISSION, Tree

pytestmark = pytest.mark.usefixtures("no_stray_processes")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def wait_until(path: Path) -> None:
    """Wait for a file to be there."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.005)


def test_one_target_is_done_and_leaves_nothing(tree: Tree) -> None:
    hello, start, done, end = tree.run([Call("say", "hi")])
    assert isinstance(hello, Hello)
    assert start == Start(1, 1_000_001, 0, start.at_s)  # type: ignore[union-attr]
    assert isinstance(end, End)
    assert (done.job, done.step, done.child_count, done.goes_on) == (1, 0, 0, False)  # type: ignore[union-attr]
    assert tree.output(tree.done()[0]) == b"hi\n"
    assert done.usage.memory_bytes > 2**20  # type: ignore[union-attr, operator]
    assert os.listdir(tree.scratch) == []
    assert os.listdir(tree.path / "claims") == [ISSUE]
    assert os.listdir(tree.path / "bundles") == ["root"]
    assert tree.errors == ""


def test_an_empty_log_is_removed(tree: Tree) -> None:
    tree.run([Call("nothing")])
    assert os.listdir(tree.path / "logs") == ["failed"]


def test_a_chain_of_only_children_runs_here(tree: Tree) -> None:
    tree.run([Call("chain", 5)])
    assert [(done.step, done.goes_on) for done in tree.done()] == [
        (0, True), (1, True), (2, True), (3, True), (4, True), (5, False),
    ]  # fmt: skip
    assert [tree.output(done) for done in tree.done()] == [b"link %d\n" % n for n in (5, 4, 3, 2, 1, 0)]


def test_an_only_child_runs_before_the_follow_on(tree: Tree) -> None:
    tree.run([Call("child_and_follow_on")])
    assert tree.log() == "child\nfollow-on\n"


def test_two_children_hand_the_job_back(tree: Tree) -> None:
    tree.run([Call("nothing"), Call("children", 2)])
    (done,) = tree.done()
    assert (done.goes_on, done.child_count, len(done.children)) == (False, 2, 2)


def test_a_used_up_part_of_the_stack_hands_back(tree: Tree) -> None:
    tree.order_pack([Assignment(7, 5, 3, 4, False, (tree.target(Call("nothing")),))])
    tree.work()
    (done,) = tree.done()
    assert (done.job, done.attempt, done.step, done.goes_on) == (7, 5, 3, False)


@pytest.mark.parametrize(
    ("wants", "goes_on"),
    [
        ({}, True),
        ({"memory": "1G", "cpu": 2, "time": "1m"}, True),
        ({"memory": "2G"}, False),
        ({"cpu": 3}, False),
        ({"gpus": 1}, False),
        ({"time": "2h"}, False),
    ],
)
def test_the_next_step_must_fit_what_was_granted(
    tree: Tree, wants: dict[str, object], goes_on: bool
) -> None:
    tree.run([Call("hungry_follow_on", wants)])
    assert tree.done()[0].goes_on is goes_on
    assert len(tree.done()) == 1 + goes_on


def test_a_failure_costs_its_job_only(tree: Tree) -> None:
    tree.run([Call("nothing"), Call("fail")], [Call("say", "next")])
    (failed,) = tree.failed()
    assert (failed.job, failed.why, failed.crashed) == (1, "ValueError: no good", False)
    assert "worker_targets.py" in failed.detail
    assert "/jobtree/" not in failed.detail
    assert b"no good" in tree.failed_output(failed)
    assert [done.job for done in tree.done()] == [2]


def test_a_failed_steps_children_are_not_told(tree: Tree) -> None:
    tree.run([Call("children_then_fail")])
    (failed,) = tree.failed()
    assert failed.messages == ["before the end"]
    assert tree.done() == []


@pytest.mark.parametrize(
    ("code", "status"), [(0, None), (None, None), (3, 3), (99, 99), ("words", 1)]
)
def test_sys_exit_is_taken_at_its_word(tree: Tree, code: object, status: int | None) -> None:
    tree.run([Call("leave", code)], [Call("nothing")])
    assert [failed.exit_status for failed in tree.failed()] == ([] if status is None else [status])
    assert tree.done()[-1].job == 2


def test_an_exception_group_is_told_whole(tree: Tree) -> None:
    tree.run([Call("raise_group")])
    (failed,) = tree.failed()
    assert "several" in failed.why
    assert "ValueError: one" in failed.detail
    assert "KeyError" in failed.detail


def test_very_many_children(tree: Tree) -> None:
    tree.run([Call("children", 100_000)])
    (done,) = tree.done()
    assert (done.child_count, done.children) == (100_000, [])
    path = layout.result_path(str(tree.path), ISSUE)
    assert sum(1 for _ in read_children(path, done.children_at, 1, done.child_count)) == 100_000
    assert len(os.listdir(tree.path / "bundles")) == 2


def test_a_segfault_leaves_what_came_before(tree: Tree) -> None:
    tree.order([Call("nothing")], [Call("segfault")], [Call("nothing")])
    tree.work(-signal.SIGSEGV)
    assert [done.job for done in tree.done()] == [1]
    assert tree.reader.running is not None
    assert tree.reader.running.job == 2
    assert not tree.reader.ended


@pytest.mark.parametrize("status", [0, 1, 75, 99, 100])
def test_os_exit_costs_the_target_only_and_is_never_our_status(tree: Tree, status: int) -> None:
    tree.run([Call("exit_process", status)], [Call("nothing")], [Call("nothing")])
    (failed,) = tree.failed()
    assert (failed.crashed, failed.exit_status) == (True, status)
    assert tree.failed_output(failed) == b"bye\n"
    assert Returned([2, 3]) in tree.lines
    assert isinstance(tree.lines[-1], End)
    assert os.listdir(tree.scratch) == []


def test_left_threads_end_the_worker_after_the_step(tree: Tree) -> None:
    tree.run([Call("leave_thread"), Call("nothing")], [Call("nothing")])
    assert [(done.job, done.goes_on) for done in tree.done()] == [(1, False)] or tree.done()
    assert Returned([2]) in tree.lines


def test_threads_that_ended_do_not_matter(tree: Tree) -> None:
    tree.run([Call("use_thread")], [Call("nothing")])
    assert [done.job for done in tree.done()] == [1, 2]


def test_a_target_that_forks_and_returns_twice_counts_once(tree: Tree) -> None:
    tree.run([Call("fork_and_return")], [Call("nothing")])
    assert [done.job for done in tree.done()] == [1, 2]
    assert len([line for line in tree.lines if isinstance(line, Start)]) == 2


def test_publish_hands_back(tree: Tree) -> None:
    to = str(tree.home / "result")
    tree.run([Call("publish", to)])
    (done,) = tree.done()
    assert (done.goes_on, done.has_directory) == (False, True)
    ((source, destination),) = done.publish
    assert Path(source).read_text() == "42"
    assert destination == to
    assert not Path(to).exists()


# ---- isolated ----------------------------------------------------------------------------


def test_an_isolated_target_does_all_that_others_do(tree: Tree) -> None:
    tree.run([Call("child_and_follow_on")], [Call("children", 300)], isolate=True)
    assert tree.log() == "child\nfollow-on\n"
    last = tree.done()[-1]
    assert last.child_count == 300
    path = layout.result_path(str(tree.path), ISSUE)
    assert sum(1 for _ in read_children(path, last.children_at, 2, 300)) == 300


def test_an_isolated_crash_spares_the_pack(tree: Tree) -> None:
    tree.run([Call("segfault")], [Call("exit_process", 99)], [Call("say", "fine")], isolate=True)
    first, second = tree.failed()
    assert (first.crashed, first.signal) == (True, signal.SIGSEGV)
    assert (second.crashed, second.exit_status) == (True, 99)
    assert tree.output(tree.done()[0]) == b"fine\n"


def test_a_target_may_ask_for_a_process_of_its_own(tree: Tree) -> None:
    tree.run([Call("segfault", isolate=True)], [Call("nothing")])
    assert tree.failed()[0].crashed
    assert [done.job for done in tree.done()] == [2]


def test_an_isolated_failure_reports_as_usual(tree: Tree) -> None:
    tree.run([Call("children_then_fail")], isolate=True)
    (failed,) = tree.failed()
    assert failed.messages == ["before the end"]
    assert failed.why == "RuntimeError: after the children"
    assert not failed.crashed
    assert failed.usage.memory_bytes is not None


# ---- claims, orders, fences --------------------------------------------------------------


def test_a_withdrawn_order_is_left_alone(tree: Tree) -> None:
    tree.work(75)
    assert tree.errors == ""
    assert os.listdir(tree.path / "claims") == []


def test_a_claim_lost_is_left_alone(tree: Tree) -> None:
    tree.order([Call("nothing")])
    fd = take_claim(str(tree.path), ISSUE, Claim("other", 1, "abc", 0.0, 0))
    assert fd is not None
    os.close(fd)
    tree.work(75)
    assert os.listdir(tree.path / "results") == []
    assert len(os.listdir(tree.path / "claims")) == 2  # the claim and the loser's note


def test_another_protocol_is_refused(tree: Tree) -> None:
    tree.order([Call("nothing")])
    path = Path(layout.order_path(str(tree.path), SUBMISSION))
    path.write_text(path.read_text().replace('"protocol":1', '"protocol":2'))
    tree.work(70)
    assert "protocol 2" in tree.errors


def test_an_order_others_can_write_is_refused(tree: Tree) -> None:
    tree.order([Call("nothing")])
    Path(layout.order_path(str(tree.path), SUBMISSION)).chmod(0o666)
    tree.work(70)
    assert "JT330" in tree.errors


def test_a_missing_directory_is_the_workers_failure(tree: Tree) -> None:
    tree.order([Call("nothing")])
    tree.home.rmdir()
    tree.work(70)
    assert "home" in tree.errors
    assert tree.reader.running is None


def test_stop_before_the_start(tree: Tree) -> None:
    tree.order([Call("nothing")])
    write_fence(str(tree.path), ISSUE, Fence.STOP)
    tree.work(75)
    assert os.listdir(tree.path / "claims") == []


@pytest.mark.parametrize("word", [Fence.STOP, Fence.RECALL])
def test_a_fence_while_at_work(tree: Tree, word: str) -> None:
    began, until = tree.home / "began", tree.home / "until"
    tree.order([Call("nothing"), Call("wait_for_file", str(began), str(until))], [Call("nothing")])
    worker = tree.start()
    wait_until(began)
    write_fence(str(tree.path), ISSUE, word)
    time.sleep(0.12)  # not for a state: the worker need not look more often than every 0.1 s
    until.touch()
    worker.communicate(timeout=60)
    lines = tree.reader.read(final=True)
    if word == Fence.STOP:
        assert worker.returncode == 75
        assert not any(isinstance(line, End | Returned) for line in lines)
    else:
        assert worker.returncode == 0
        assert Returned([2]) in lines
        assert isinstance(lines[-1], End)
    assert os.listdir(tree.scratch) == []


def test_recall_before_the_first_job_returns_all(tree: Tree) -> None:
    tree.order([Call("nothing")], [Call("nothing")])
    write_fence(str(tree.path), ISSUE, Fence.RECALL)
    _, returned, _ = tree.work()
    assert returned == Returned([1, 2])


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


def test_a_command_too_long_for_the_system(tree: Tree) -> None:
    tree.run([shell_command("true " + "x" * 200_000)])
    assert "too long" in tree.failed()[0].why


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
    text = """sed -i 's|<job |<job command="echo JOB_FILE" cpu="2" |' JOB_FILE;
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
    odd = tree.scratch / "it's a $(touch pwned) `x` \"dir\""
    odd.mkdir()
    tree.order([protocol_command("test -f JOB_FILE")])
    path = Path(layout.order_path(str(tree.path), SUBMISSION))
    path.write_text(path.read_text().replace(f'"{tree.scratch}"', json.dumps(str(odd))))
    # an order with a "$" in scratch falls back to TMPDIR: set that
    tree.work(env={**os.environ, "TMPDIR": str(odd)})
    assert len(tree.done()) == 1
    assert os.listdir(tree.home) == []


# ---- the companion -----------------------------------------------------------------------


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


def test_a_dead_workers_command_is_killed(tree: Tree) -> None:
    pid_file = tree.home / "pid"
    tree.order([shell_command(f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; sleep 3600")])
    worker = tree.start()
    wait_until(pid_file)
    worker.kill()
    worker.communicate(timeout=60)  # and no_stray_processes sees that the command ends too


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


def test_os_wait_does_not_see_the_companion(tree: Tree) -> None:
    tree.run([Call("wait_for_any_child")])
    assert tree.log() == "children: None\n"


def test_a_full_disk_is_the_workers_failure(tree: Tree) -> None:
    tree.order([Call("say", "x" * 3000)], *[[Call("children", 50)] for _ in range(20)])
    order = layout.order_path(str(tree.path), SUBMISSION)
    worker = tree.start()
    worker.kill()
    worker.communicate()
    for folder in ("claims", "results", "logs", "bundles"):
        for name in os.listdir(tree.path / folder):
            if name.startswith(SUBMISSION):
                (tree.path / folder / name).unlink()
    limited = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 8; exec "$@"', "sh", *worker.args, ],  # type: ignore[misc]
        capture_output=True,
        check=False,
    )
    assert limited.returncode == 70
    assert b"File too large" in limited.stderr
    assert order


__all__ = ["Failed"]
