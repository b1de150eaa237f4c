"""The command line with real runs: what a user types, sees, and gets as exit status.

Owns the commands that are run to their end, and those that look at, kill or clean a tree; must
not send the master signals. Read next: test_cli_interrupts.py, which does.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys

import pytest

from jobtree.store import lease
from tests.integration.shells import LONGEST_S, ROOT, Shell, start_long_run, until

pytestmark = pytest.mark.usefixtures("no_stray_processes")


def grow(*children: str, follow_on: str = "") -> str:
    """Return a command that adds plain children, and a plain follow-on, to its JOB_FILE."""
    added = "".join(f'<child command="{child}" plain="1"/>' for child in children)
    edit = f"s|<children/>|<children>{added}</children>|"
    if follow_on:
        edit += f';s|<job |<job command="{follow_on}" plain="1" |'
    return f"sed -i '{edit}' JOB_FILE"


# ---- run, status, logs, stats ------------------------------------------------------------


def test_a_run_that_succeeds(jobtree: Shell):
    ran = jobtree("run", "--command", grow("echo one", "echo two"), "--jobTree", "x.jt")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ""
    assert re.search(r"Z info all done: 3 jobs in ", ran.stderr)
    assert "\x1b" not in ran.stderr
    said = jobtree("status", "--failIfNotComplete")
    assert said.returncode == 0
    assert said.stdout.splitlines()[0] == f"{jobtree.directory}/x.jt: done"
    assert "done 3" in said.stdout
    assert jobtree.status("x.jt")["classes"]["echo"]["done"] == 2


def test_what_a_job_printed_can_be_read(jobtree: Shell):
    command = 'printf "over \\033[2J\\n"; ' + grow("echo from a child", "true")
    assert jobtree("run", "--command", command, "--jobTree", "x.jt").returncode == 0
    root = jobtree("logs", "1")
    assert root.returncode == 0
    assert "step 0" in root.stdout
    assert r"over \x1b[2J" in root.stdout
    children = jobtree("logs", "2").stdout + jobtree("logs", "3", "x.jt").stdout
    assert children.count("\nfrom a child\n") == 1
    entries = json.loads(jobtree("logs", "1", "--json").stdout)["entries"]
    assert entries[0]["event"] == "done"


def test_the_stats_of_a_run(jobtree: Shell):
    run = ("run", "--command", grow("true", "true"), "--jobTree", "x.jt", "--stats")
    assert "memory max" in jobtree(*run).stderr
    assert "true" in jobtree("stats").stdout
    figures = json.loads(jobtree("stats", "x.jt", "--json").stdout)
    assert figures["classes"]["true"]["count"] == 2
    assert figures["run"]["count"] == 3


def test_a_run_that_fails_names_the_job_the_reason_and_the_commands(jobtree: Shell):
    command = grow("echo so sad; exit 3", "true", follow_on="echo")
    ran = jobtree("run", "--command", command, "--jobTree", "x.jt", "--retryCount", "1")
    assert ran.returncode == 1
    tree = f"{jobtree.directory}/x.jt"
    (job,) = set(re.findall(r"^    job (\d+) echo: exit status 3$", ran.stderr, re.M))
    assert "2 jobs of 3 not done: 1 failed for good, 1 waiting for it" in ran.stderr
    assert f"jobtree logs {job} {tree}" in ran.stderr
    assert f"jobtree restart {tree}" in ran.stderr
    assert "so sad" in ran.stderr  # the tail of its log
    assert jobtree("status").returncode == 0
    assert jobtree("status", "--failIfNotComplete").returncode == 1
    said = jobtree.status("x.jt")
    assert (said["state"], said["done"], said["remaining"]) == ("failed", 1, 2)
    assert said["failures"][0]["why"] == "exit status 3"
    logs = jobtree("logs", job).stdout
    assert logs.count("so sad") == 2  # two attempts
    second = jobtree("logs", job, "--attempt", "2").stdout
    assert second.count("so sad") == 1
    assert "attempt 2: failed: exit status 3" in second


def test_a_restart_finishes_what_failed(jobtree: Shell):
    command = "test -e mended # JOB_FILE"
    assert jobtree("run", "--command", command, "--jobTree", "x.jt").returncode == 1
    (jobtree.directory / "mended").touch()
    again = jobtree("restart", "x.jt")
    assert again.returncode == 0, again.stderr
    assert "restarted" in again.stderr
    assert jobtree("restart").returncode == 0


def test_run_refuses_a_tree_that_exists(jobtree: Shell):
    run = ("run", "--command", "true # JOB_FILE", "--jobTree", "x.jt")
    assert jobtree(*run).returncode == 0
    refused = jobtree(*run)
    assert refused.returncode == 5
    assert "error[JT301]" in refused.stderr
    assert "jobtree restart" in refused.stderr
    assert "jobtree clean" in refused.stderr


def test_a_command_without_job_file_is_refused_and_as_advised_it_runs(jobtree: Shell):
    ran = jobtree("run", "--command", "echo 'a b' > out", "--jobTree", "x.jt")
    assert ran.returncode == 2
    assert "error[JT113]: the command does not contain the word JOB_FILE" in ran.stderr
    assert not (jobtree.directory / "x.jt").exists()
    advised = ran.stderr.partition("adds none:")[2].splitlines()[0]
    assert jobtree("run", *shlex.split(advised), "--jobTree", "x.jt").returncode == 0
    assert (jobtree.directory / "out").read_text() == "a b\n"


def test_a_child_without_job_file_that_is_not_plain_fails_unrun(jobtree: Shell):
    command = (
        """sed -i 's|<children/>|<children><child command="touch out"/></children>|' JOB_FILE"""
    )
    ran = jobtree("run", "--command", command, "--jobTree", "x.jt")
    assert ran.returncode == 1
    assert "does not contain the word JOB_FILE: nothing was run" in ran.stderr
    assert not (jobtree.directory / "out").exists()


def test_the_log_file_gets_what_stderr_gets(jobtree: Shell):
    command = ("run", "--command", "exit 1 # JOB_FILE", "--jobTree", "x.jt", "--logFile", "log")
    ran = jobtree(*command)
    assert (jobtree.directory / "log").read_text() == ran.stderr


def test_the_newest_tree_is_meant_if_none_is_named(jobtree: Shell):
    for name in ("one.jt", "two.jt"):
        jobtree("run", "--command", "true # JOB_FILE", "--jobTree", name)
    said = jobtree("status")
    assert said.stdout.startswith(f"{jobtree.directory}/two.jt: done")
    assert "newest of 2 trees" in said.stderr
    assert jobtree("-J", "one.jt", "status").stdout.startswith(f"{jobtree.directory}/one.jt")


@pytest.mark.parametrize("verb", [("kill",), ("clean", "--yes")])
def test_what_is_to_be_ended_is_named_where_there_are_several(jobtree: Shell, verb: tuple[str]):
    for name in ("one.jt", "two.jt"):
        jobtree("run", "--command", "true # JOB_FILE", "--jobTree", name)
    said = jobtree(*verb)
    assert said.returncode == 2
    assert (
        "error[JT103]: there are 2 job trees in this directory\n  one.jt, two.jt\n" in said.stderr
    )
    assert jobtree(*verb, "one.jt").returncode == 0
    assert jobtree.status("two.jt")["state"] == "done"


# ---- while it runs -----------------------------------------------------------------------


def test_status_logs_and_stats_while_a_master_runs(jobtree: Shell):
    process = start_long_run(jobtree)
    until(lambda: jobtree.status("x.jt")["running"] == 1, "the status shows the job")
    said = jobtree("status", "x.jt")
    assert f"running, by process {process.pid} on " in said.stdout
    assert "running 1" in said.stdout
    assert "no attempt has ended yet" in jobtree("logs", "1").stdout
    assert json.loads(jobtree("stats", "--json").stdout)["run"]["count"] == 0
    unknown = jobtree("logs", "99")
    assert unknown.returncode == 2
    assert "never had a job 99" in unknown.stderr
    assert jobtree("nodes", "x.jt").stdout == "no node is left out\n"
    not_out = jobtree("nodes", "x.jt", "--clear", "n1,n2")
    assert not_out.returncode == 2
    assert "n1, n2 is not left out of submissions; no node is" in not_out.stderr
    assert process.poll() is None
    assert jobtree("kill").returncode == 0


def test_kill_ends_the_jobs_and_the_master(jobtree: Shell):
    process = start_long_run(jobtree)
    killed = jobtree("kill", "x.jt")
    assert killed.returncode == 0, killed.stderr
    assert "jobtree restart" in killed.stdout
    _, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 130
    assert "jobtree restart" in err
    assert jobtree.status("x.jt")["state"] == "interrupted"


def test_kill_without_a_master_ends_what_it_left(jobtree: Shell):
    process = start_long_run(jobtree)
    process.kill()
    process.wait()
    said = jobtree("status")
    assert "interrupted" in said.stdout
    killed = jobtree("kill")
    assert killed.returncode == 0, killed.stderr
    assert "no master runs" in killed.stdout


def test_a_second_master_is_refused_naming_the_first(jobtree: Shell):
    process = start_long_run(jobtree)
    holder = lease.latest(f"{jobtree.directory}/x.jt")
    assert holder is not None
    refused = jobtree("restart", "x.jt")
    assert refused.returncode == 5
    assert "error[JT302]" in refused.stderr
    assert f"process {process.pid} on {holder.host}" in refused.stderr
    assert "jobtree status" in refused.stderr
    jobtree("kill")


def test_a_master_on_another_host_is_asked_through_the_tree(jobtree: Shell):
    """Nobody answers there: it is said whom was asked, and what the tree held at last."""
    jobtree("run", "--command", "true # JOB_FILE", "--jobTree", "x.jt")
    tree = jobtree.directory / "x.jt"
    (newest,) = sorted((tree / "leases").iterdir(), key=lambda path: int(path.name))[-1:]
    held = json.loads(newest.read_text()) | {"host": "elsewhere", "released": False}
    newest.write_text(json.dumps(held))
    status = json.loads((tree / "status.json").read_text()) | {"state": "running"}
    (tree / "status.json").write_text(json.dumps(status | {"epoch": held["epoch"]}))
    said = jobtree("status")
    assert f"running, by process {status['pid']} on " in said.stdout
    (tree / "status.json").unlink()
    looked = in_a_hurry(jobtree, "status")
    assert looked.returncode == 0, looked.stderr
    assert "elsewhere, which cannot be looked at from here; asking it" in looked.stderr
    assert "did not answer" in looked.stderr
    assert "done 1" in looked.stdout
    assert json.loads(newest.read_text()) == held
    changed = in_a_hurry(jobtree, "nodes", "--clear")
    assert changed.returncode == 5
    assert "error[JT317]" in changed.stderr


def in_a_hurry(jobtree: Shell, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from jobtree.cli import client as asking; asking.ANSWER_S = 1.0; "
        f"from jobtree.cli.main import main; sys.exit(main({list(arguments)}))"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=jobtree.directory,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


# ---- clean -------------------------------------------------------------------------------


def test_clean_says_what_it_deletes_and_asks_nobody_with_yes(jobtree: Shell):
    jobtree("run", "--command", "true # JOB_FILE", "--jobTree", "x.jt")
    (jobtree.directory / "precious").touch()
    nobody = jobtree("clean", "x.jt")
    assert nobody.returncode == 2
    assert "--yes" in nobody.stderr
    assert (jobtree.directory / "x.jt").exists()
    cleaned = jobtree("clean", "x.jt", "--yes")
    assert cleaned.returncode == 0, cleaned.stderr
    assert "files" in cleaned.stdout
    assert [path.name for path in jobtree.directory.iterdir()] == ["precious"]


@pytest.mark.parametrize(("answer", "left"), [("n", True), ("", True), ("y", False)])
def test_clean_asks_on_a_terminal(jobtree: Shell, answer: str, left: bool):
    jobtree("run", "--command", "true # JOB_FILE", "--jobTree", "x.jt")
    ours, theirs = pty.openpty()
    process = jobtree.start("clean", "x.jt", stdin=theirs)
    os.write(ours, f"{answer}\n".encode())
    out, err = process.communicate(timeout=LONGEST_S)
    os.close(ours)
    os.close(theirs)
    assert "delete it? [y/N]" in out, err
    assert (jobtree.directory / "x.jt").exists() == left


def test_clean_refuses_while_a_master_lives(jobtree: Shell):
    process = start_long_run(jobtree)
    refused = jobtree("clean", "x.jt", "--yes")
    assert refused.returncode == 5
    assert f"process {process.pid} on " in refused.stderr
    assert "jobtree kill" in refused.stderr
    jobtree("kill")
    assert jobtree("clean", "--yes").returncode == 0


def test_clean_kills_what_a_dead_master_left(jobtree: Shell):
    process = start_long_run(jobtree)
    process.kill()
    process.wait()
    cleaned = jobtree("clean", "--yes")
    assert cleaned.returncode == 0, cleaned.stderr


def test_clean_deletes_a_tree_whose_database_is_damaged(jobtree: Shell):
    jobtree("run", "--command", "true # JOB_FILE", "--jobTree", "x.jt")
    (jobtree.directory / "x.jt" / "tree.db").write_bytes(b"rubbish" * 1000)
    cleaned = jobtree("clean", "--yes")
    assert cleaned.returncode == 0, cleaned.stderr
    assert "JT310" in cleaned.stderr
    assert not (jobtree.directory / "x.jt").exists()
