"""A site file from a real Slurm, tried on it; and what is told of one that is wrong.

Owns no workflow: that trees run by a site file is tested elsewhere. Read next: lab.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.flows import ROOT
from tests.live.slurm.lab import Lab
from tests.live.waiting import eventually

LONGEST_S = 280.0

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def jobtree(slurm: Lab) -> Command:
    """Return what runs a command of jobtree against the cluster, and checks its status."""

    def run(
        *words: str, status: int = 0, before: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        env = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "XDG_CONFIG_HOME": "/no"}
        argv = (*before, sys.executable, "-m", "jobtree", *words)
        done = slurm.run(*argv, env=env, check=False, limit_s=LONGEST_S)
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def doctor(
    jobtree: Command, directory: Path, *words: str, status: int = 0, **more: Any
) -> dict[str, dict[str, Any]]:
    """Return what the doctor says, check by check; it leaves no file."""
    before = set(directory.iterdir())
    done = jobtree(
        "site", "doctor", "--json", "--directory", str(directory), *words, status=status, **more
    )
    assert set(directory.iterdir()) == before
    found = json.loads(done.stdout)
    assert found["passed"] == (status == 0)
    return {check["check"]: check for check in found["checks"]}


def written(home: Path, text: str) -> str:
    path = home / "site.toml"
    path.write_text(f"schema = 1\nbatch_system = 'slurm'\n{text}")
    path.chmod(0o644)
    return str(path)


@pytest.mark.slow
def test_from_nothing_to_all_passed(slurm: Lab, jobtree: Command, open_tmp_path: Path) -> None:
    target = open_tmp_path / "site.toml"
    jobtree("site", "init", "--output", str(target))
    made = tomllib.loads(target.read_text())
    assert made["batch_system"] == "slurm"
    assert [queue["name"] for queue in made["slurm"]["queue"]] == list(slurm.partitions)
    assert made["slurm"]["accounting"] is slurm.accounting
    jobtree("site", "check", str(target))
    found = doctor(jobtree, open_tmp_path, "--site", str(target))
    assert {check["result"] for check in found.values()} == {"passed"}, found
    assert "of 60 s" in found["time limit"]["seen"]
    eventually("no job is left", slurm.is_calm)


@pytest.mark.parametrize(
    ("text", "check", "seen", "key"),
    [
        ("[slurm]\npartition = 'nope'", "runs", "invalid partition", "slurm.partition"),
        ("[slurm]\nqos = 'nope'", "runs", "Invalid qos", "slurm.qos"),
        ("[slurm]\nconstraint = 'nope'", "runs", "feature", "slurm.constraint"),
        ("[worker]\npython = '/opt/nope/python3'", "python", "there is no /opt", "worker.python"),
        ("[worker]\nscratch = '/nope'", "scratch", "cannot make", "worker.scratch"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(
    jobtree: Command, open_tmp_path: Path, text: str, check: str, seen: str, key: str
) -> None:
    named = written(open_tmp_path, text)
    found = doctor(jobtree, open_tmp_path, "--quick", "--site", named, status=3)
    assert [name for name, each in found.items() if each["result"] == "failed"] == [check]
    assert seen.lower() in found[check]["seen"].lower()
    assert key in found[check]["keys"]
    assert found[check]["remedy"]


def test_a_wrong_account_is_named(slurm: Lab, jobtree: Command, open_tmp_path: Path) -> None:
    if not slurm.accounting:
        pytest.skip("without accounting Slurm takes any account")
    named = written(open_tmp_path, "[slurm]\naccount = 'nope'")
    found = doctor(jobtree, open_tmp_path, "--quick", "--site", named, status=3)
    assert found["runs"]["keys"] == ["slurm.account"]
    assert f'slurm.account = "nope" ({named}:4)' in found["runs"]["remedy"].replace("'", '"')


def test_a_directory_that_nodes_do_not_see_is_told(jobtree: Command, open_tmp_path: Path) -> None:
    """The doctor sees a file system of its own there; the nodes see what lies below it."""
    private = open_tmp_path / "private"
    private.mkdir()
    mounted = f'mount -t tmpfs none "{private}" && exec "$@"'
    before = ("unshare", "-m", "sh", "-c", mounted, "sh")
    named = written(open_tmp_path, "")
    found = doctor(jobtree, private, "--quick", "--site", named, status=3, before=before)
    failed = [name for name, each in found.items() if each["result"] == "failed"]
    assert failed == ["log", "directory"]
    assert f"has no {private}" in found["directory"]["seen"]
    for name in failed:
        assert "--directory" in found[name]["remedy"]
    assert os.listdir(private) == []


def test_a_job_that_cannot_start_is_explained(
    slurm: Lab, jobtree: Command, open_tmp_path: Path
) -> None:
    for node in slurm.nodes:
        slurm.fault("drain", node)
    named = written(open_tmp_path, "")
    found = doctor(jobtree, open_tmp_path, "--quick", "--wait", "6", "--site", named, status=3)
    assert "still waits" in found["runs"]["seen"]
    assert "down, drained or reserved" in found["runs"]["seen"]
    assert slurm.run("squeue", "-h", "-t", "PD,R").stdout == ""
