"""A site file from a real Slurm, tried on it; what is told of one that is wrong; and the pages.

Owns no workflow: that trees run by a site file is tested elsewhere. Most of it is done at once,
as by several users, since a look at Slurm's time limits takes minutes. Read next: ../errands.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.flows import ROOT
from tests.integration.pages import follow, shimmed
from tests.live.errands import do_at_once, wanted
from tests.live.slurm.lab import Lab
from tests.live.waiting import eventually

pytestmark = pytest.mark.timeout(1500)

LONGEST_S = 600.0
AT_ONCE = 4
"""More canaries than four doctors' would measure this machine."""

Checks = Mapping[str, Mapping[str, Any]]
Done = Mapping[str, Future[Any]]


def jobtree(
    slurm: Lab, *words: str, status: int = 0, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a command of jobtree against the cluster, and check its status."""
    env = {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_CONFIG_HOME": "/proc/nowhere",
    }
    argv = (*before, sys.executable, "-m", "jobtree", *words)
    done = slurm.run(*argv, env=env, check=False, limit_s=LONGEST_S)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def doctor(slurm: Lab, directory: Path, *words: str, status: int = 0, **more: Any) -> Checks:
    """Return what the doctor says, check by check; it leaves no file."""
    before = set(directory.iterdir())
    words = ("site", "doctor", "--json", "--directory", str(directory), *words)
    done = jobtree(slurm, *words, status=status, **more)
    assert set(directory.iterdir()) == before
    found = json.loads(done.stdout)
    assert found["passed"] == (status == 0)
    return {check["check"]: check for check in found["checks"]}


def written(home: Path, text: str) -> str:
    path = home / "site.toml"
    path.write_text(f"schema = 1\nbatch_system = 'slurm'\n{text}")
    path.chmod(0o644)
    return str(path)


# ---- what users do, at once ---------------------------------------------------------------


def page(name: str, slurm: Lab, place: Path) -> None:
    """Do what a page says; administrators are left with what it installs in /etc."""
    home, etc = place / "home", place / "etc"
    home.mkdir()
    own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
    follow(name, home, shimmed(place / "bin", {**slurm.env, **own}))
    left = slurm.run("squeue", "-h", "-o", "%j %Z").stdout.splitlines()
    assert [line for line in left if str(place) in line] == [], "a page leaves no job behind"
    if name == "docs/admin.md":
        assert (etc / "jobtree/site.toml").read_text() == (home / "site.toml").read_text()
        assert (etc / "slurm/jobtree-epilog.sh").read_text().startswith("#!/bin/sh")


def new_file(slurm: Lab, home: Path) -> tuple[Mapping[str, Any], Checks]:
    """Return what `site init` writes, and what the doctor says of that."""
    target = home / "site.toml"
    jobtree(slurm, "site", "init", "--output", str(target))
    jobtree(slurm, "site", "check", str(target))
    return tomllib.loads(target.read_text()), doctor(slurm, home, "--site", str(target))


def wrong_file(text: str, slurm: Lab, home: Path) -> tuple[str, Checks]:
    """Return the path of a site file with these lines, and what the doctor says of it."""
    named = written(home, text)
    return named, doctor(slurm, home, "--quick", "--site", named, status=3)


def unseen_directory(slurm: Lab, home: Path) -> tuple[Path, Checks]:
    """Return a directory and what the doctor says of it, who has a file system of his own there.

    The nodes see what lies below.
    """
    private = home / "private"
    private.mkdir()
    mounted = f'mount -t tmpfs none "{private}" && exec "$@"'
    before = ("unshare", "-m", "sh", "-c", mounted, "sh")
    words = ("--quick", "--site", written(home, ""))
    found = doctor(slurm, private, *words, status=3, before=before)
    assert os.listdir(private) == []
    return private, found


class Wrong(NamedTuple):
    """Lines of a site file; the check that fails for them, what it has seen, the key it names."""

    text: str
    check: str
    seen: str
    key: str


ACCOUNT = "a wrong account"
WRONG = {
    "a wrong partition": Wrong(
        "[slurm]\npartition = 'nope'", "runs", "invalid partition", "slurm.partition"
    ),
    "a wrong qos": Wrong("[slurm]\nqos = 'nope'", "runs", "Invalid qos", "slurm.qos"),
    "a wrong constraint": Wrong(
        "[slurm]\nconstraint = 'nope'", "runs", "feature", "slurm.constraint"
    ),
    "a wrong Python": Wrong(
        "[worker]\npython = '/opt/nope/python3'", "python", "there is no /opt", "worker.python"
    ),
    "a wrong scratch": Wrong(
        "[worker]\nscratch = '/nope'", "scratch", "cannot make", "worker.scratch"
    ),
}
PAGES = ("docs/slurm.md", "docs/admin.md")
NEW, UNSEEN = "a new site file", "a directory that nodes do not see"

ERRANDS: Mapping[str, Callable[[Lab, Path], Any]] = {
    **{name: partial(page, name) for name in PAGES},
    NEW: new_file,
    **{name: partial(wrong_file, wrong.text) for name, wrong in WRONG.items()},
    ACCOUNT: partial(wrong_file, "[slurm]\naccount = 'nope'"),
    UNSEEN: unseen_directory,
}
"""The longest first."""


@pytest.fixture(scope="module")
def done(request: pytest.FixtureRequest, slurm_session: Lab) -> Done:
    """Return what came of the errands that this session's tests look at."""
    asked = wanted(request)
    slurm_session.calm()
    mine = {name: partial(do, slurm_session) for name, do in ERRANDS.items() if name in asked}
    return do_at_once(mine, AT_ONCE)


@pytest.mark.slow
@pytest.mark.parametrize("errand", PAGES)
def test_a_page_does_what_it_says(errand: str, done: Done) -> None:
    done[errand].result()


@pytest.mark.slow
@pytest.mark.parametrize("errand", [NEW])
def test_from_nothing_to_all_passed(slurm_session: Lab, errand: str, done: Done) -> None:
    made, found = done[errand].result()
    assert made["batch_system"] == "slurm"
    assert [queue["name"] for queue in made["slurm"]["queue"]] == list(slurm_session.partitions)
    assert made["slurm"]["accounting"] is slurm_session.accounting
    assert {check["result"] for check in found.values()} == {"passed"}, found
    assert "of 60 s" in found["time limit"]["seen"]
    eventually("no job is left", slurm_session.is_calm)


@pytest.mark.parametrize("errand", WRONG)
def test_what_is_wrong_is_named_with_its_key(errand: str, done: Done) -> None:
    _, check, seen, key = WRONG[errand]
    _, found = done[errand].result()
    assert [name for name, each in found.items() if each["result"] == "failed"] == [check]
    assert seen.lower() in found[check]["seen"].lower()
    assert key in found[check]["keys"]
    assert found[check]["remedy"]


@pytest.mark.parametrize("errand", [ACCOUNT])
def test_a_wrong_account_is_named(slurm_session: Lab, errand: str, done: Done) -> None:
    if not slurm_session.accounting:
        pytest.skip("without accounting Slurm takes any account")
    named, found = done[errand].result()
    assert found["runs"]["keys"] == ["slurm.account"]
    assert f'slurm.account = "nope" ({named}:4)' in found["runs"]["remedy"].replace("'", '"')


@pytest.mark.parametrize("errand", [UNSEEN])
def test_a_directory_that_nodes_do_not_see_is_told(errand: str, done: Done) -> None:
    private, found = done[errand].result()
    failed = [name for name, each in found.items() if each["result"] == "failed"]
    assert failed == ["log", "directory"]
    assert f"has no {private}" in found["directory"]["seen"]
    for name in failed:
        assert "--directory" in found[name]["remedy"]


# ---- what is done alone ------------------------------------------------------------------


def test_a_job_that_cannot_start_is_explained(slurm: Lab, open_tmp_path: Path) -> None:
    for node in slurm.nodes:
        slurm.fault("drain", node)
    named = written(open_tmp_path, "")
    words = ("--quick", "--wait", "12", "--site", named)
    found = doctor(slurm, open_tmp_path, *words, status=3)
    assert "still waits" in found["runs"]["seen"]
    assert "down, drained or reserved" in found["runs"]["seen"]
    assert slurm.run("squeue", "-h", "-t", "PD,R").stdout == ""
