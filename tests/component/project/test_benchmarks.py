"""The benchmarks run: small, and without a word about how long anything took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def run(script: str, *arguments: str) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    argv = [sys.executable, str(BENCHMARKS / script), *arguments]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_table_of_peers(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    chosen = ["--tools", "jobTree,make -j2 + touch", "--directory", str(tmp_path)]
    printed = run("run.py", "--quick", "--no-startup", *chosen, "--json", str(figures))
    runs: list[Any] = json.loads(figures.read_text())["runs"]
    assert {work for work, *_ in runs} == {"targets-31", "commands-31", "tree-31", "chain-31"}
    for work, tool, costs in runs:
        assert [cost["status"] for cost in costs] == [0], (work, tool)
        assert costs[0]["cpu_s"] > 0
    assert printed.count("| jobTree |") == 4
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_the_master_by_itself(tmp_path: Path) -> None:
    printed = run("master.py", "--jobs", "3000", "--directory", str(tmp_path))
    found = [json.loads(line.partition(": ")[2]) for line in printed.splitlines()]
    names = [line.split()[0].rstrip(":") for line in printed.splitlines()]
    assert names[:3] == ["first_half", "status", "second_half"]
    assert 1500 <= found[0]["jobs"] <= 3000
    assert f"done {found[0]['jobs']}" in found[1]["said"]
    assert list(tmp_path.iterdir()) == []
