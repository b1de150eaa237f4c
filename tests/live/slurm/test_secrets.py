"""What a user has in his environment, and what a site's setup makes of it, on Slurm.

Read next: ../secrets.py.
"""

from __future__ import annotations

import pwd
from collections.abc import Callable

import pytest

from tests.live.secrets import SETUP, assert_setup_is_told, run_with_a_secret
from tests.live.slurm.lab import Lab
from tests.live.slurm.trees import Tree


def test_a_secret_is_nowhere_to_be_read(
    slurm: Lab,
    plant: Callable[..., Tree],
    another_user: pwd.struct_passwd,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree = plant(worker={"setup": SETUP})

    def look(job: str) -> str:
        asked = (("scontrol", "show", "-d", "job", job), ("squeue", "-j", job, "-O", "ALL"))
        said = [slurm.run(*words, user=another_user.pw_name, check=False) for words in asked]
        assert said[0].returncode == 0
        return "\n".join(each.stdout for each in said)

    run_with_a_secret(tree, monkeypatch, look, [slurm.top], another_user.pw_name)
    kept = slurm.run("grep", "-rls", "s3cr3t-0f-the-user", str(slurm.top), check=False).stdout
    assert not kept.strip(), "not even for Slurm itself"


def test_a_setup_that_fails_is_told(plant: Callable[..., Tree]) -> None:
    assert_setup_is_told(plant(worker={"setup": ["export A=1", "nosuch load python"]}))
