"""A site file from a real Grid Engine, tried on it.

Read next: ../slurm/test_site.py, which tries more.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest

from tests.integration.flows import ROOT
from tests.live.sge.lab import Lab

LONGEST_S = 280.0


def jobtree(sge: Lab, *words: str) -> str:
    env = {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_CONFIG_HOME": "/proc/nowhere",
    }
    done = sge.run(
        sys.executable, "-m", "jobtree", "site", *words, env=env, check=False, limit_s=LONGEST_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("system", ["sge", "drmaa"])
def test_from_nothing_to_all_passed(system: str, sge: Lab, open_tmp_path: Path) -> None:
    target = open_tmp_path / "site.toml"
    jobtree(sge, "init", "--batchSystem", system, "--output", str(target))
    written = tomllib.loads(target.read_text())
    assert (written["batch_system"], written["sge"]["memory"]) == (system, "h_vmem")
    jobtree(sge, "check", str(target))
    words = ("doctor", "--quick", "--json", "--site", str(target))
    found = json.loads(jobtree(sge, *words, "--directory", str(open_tmp_path)))
    results = {check["check"]: check["result"] for check in found["checks"]}
    assert {name for name, result in results.items() if result != "passed"} == {
        "time limit",
        "memory",
    }, found  # h_vmem limits address space, which a job sees by itself
    assert results["memory"] == "warning"
    assert list(open_tmp_path.iterdir()) == [target]
