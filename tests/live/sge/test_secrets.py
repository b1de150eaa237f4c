"""What a user has in his environment, and what a site's setup makes of it, on Grid Engine.

Read next: ../secrets.py.
"""

from __future__ import annotations

import pwd
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from batchsystems import JobSpec
from batchsystems.commandline.factory import AdapterOf
from batchsystems.conformance import Watcher
from batchsystems.drmaa.adapter import Drmaa
from batchsystems.sge.dialect import SgeDialect
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


@pytest.mark.parametrize("system", ["sge", "drmaa"])
@pytest.mark.parametrize("size", [1, 2])
def test_what_is_given_with_a_job_is_nowhere_to_be_read(
    system: str,
    size: int,
    sge: Lab,
    open_tmp_path: Path,
    another_user: pwd.struct_passwd,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By others' programs, which keep nothing private themselves."""
    sge.lead(monkeypatch)
    if system == "drmaa":
        monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    gate, output = open_tmp_path / "gate", open_tmp_path / "output"
    waits = f'while [ ! -e {gate} ]; do sleep 0.1; done; echo "$MY_TOKEN"'
    spec = {"env": {"PATH": "/usr/bin:/bin", "MY_TOKEN": "t0ken-given"}, "output": str(output)}
    argv = ("/bin/sh", "-c", waits)
    with closing(
        AdapterOf(SgeDialect)() if system == "sge" else Drmaa(state_dir=str(open_tmp_path))
    ) as batch:
        watcher = Watcher(batch)
        jobs = batch.issueJobs([JobSpec("given", argv, index=i, **spec) for i in range(size)])  # type: ignore[arg-type]
        for job in jobs:
            watcher.until(lambda job=job: job in batch.getRunningJobIDs(), f"{job} to run")  # type: ignore[misc]
        words = ("grep", "-rls", "t0ken-given", str(sge.top), str(open_tmp_path))
        assert not sge.run(*words, user=another_user.pw_name, check=False).stdout
        gate.touch()
        assert [watcher.end(job).exit_status for job in jobs] == [0] * size
    assert output.read_text() == "t0ken-given\n" * size
    assert not list(open_tmp_path.glob(".*"))
