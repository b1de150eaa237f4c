"""What a user has in his environment, and what a site's setup makes of it, on Grid Engine.

Read next: ../secrets.py.
"""

from __future__ import annotations

import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.secrets import SETUP, assert_setup_is_told, run_with_a_secret
from tests.live.sge.lab import Lab
from tests.live.sge.trees import Tree


def test_a_secret_is_nowhere_to_be_read(
    sge: Lab,
    plant: Callable[..., Tree],
    another_user: pwd.struct_passwd,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree = plant(worker={"setup": SETUP})
    spools = [sge.top, Path("/var/spool/gridengine")]

    def look(job: str) -> str:
        return sge.run("qstat", "-j", job.partition(".")[0], user=another_user.pw_name).stdout

    run_with_a_secret(tree, monkeypatch, look, spools, another_user.pw_name)


def test_scripts_are_for_everybody_to_read(
    sge: Lab, another_user: pwd.struct_passwd, open_tmp_path: Path
) -> None:
    """So what the test above looks for would be found."""
    script = open_tmp_path / "job"
    script.write_text("exec sleep 1000 # f0r-everybody\n")
    job = sge.run("qsub", "-terse", "-o", "/dev/null", "-j", "y", str(script)).stdout.strip()
    sge.wait(job, "r")
    words = ("grep", "-rls", "f0r-everybody", str(sge.top))
    assert sge.run(*words, user=another_user.pw_name, check=False).stdout.strip()


def test_a_setup_that_fails_is_told(plant: Callable[..., Tree]) -> None:
    assert_setup_is_told(plant(worker={"setup": ["export A=1", "nosuch load python"]}))
