"""Who is measured, and how each is given a workload.

jobTree and the peers: make (alone, and with a file for each job, as whoever wants to go on after
a crash needs), snakemake, parsl, luigi. Each may run two jobs at a time.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
VENVS = os.path.join(HERE, ".venvs")


class Tool(NamedTuple):
    """One contender. most: the largest workload it is given; runs: how often at most.

    keeps: whether a crash loses what was done. prepare: writes its files, uncounted.
    """

    name: str
    argv: Callable[[str, int], list[str]]
    prepare: Callable[[str, str, int], None]
    venv: str = ""
    needs: str = ""
    most: int = 10_000
    runs: int = 100
    keeps: bool = True

    def missing(self) -> str:
        """Return what is not installed, "" if all is."""
        if self.venv and not os.path.exists(self.python()):
            return f"{self.venv} (make bench-peers installs it)"
        if self.needs and shutil.which(self.needs) is None:
            return self.needs
        return ""

    def python(self) -> str:
        """Return the Python it runs with."""
        return _python(self.venv) if self.venv else sys.executable


def _python(venv: str) -> str:
    return os.path.join(VENVS, venv, "bin", "python")


def _nothing(directory: str, workload: str, n: int) -> None:
    return None


def parents(workload: str, i: int) -> list[int]:
    """Return which jobs job i waits for."""
    if not i or workload in ("targets", "commands"):
        return []
    return [(i - 1) // 2] if workload == "tree" else [i - 1]


def _makefile(recipe: str) -> Callable[[str, str, int], None]:
    def prepare(directory: str, workload: str, n: int) -> None:
        with open(f"{directory}/Makefile", "w") as file:
            file.write(f"all: {' '.join(f't{i}' for i in range(n))}\n")
            for i in range(n):
                before = " ".join(f"t{parent}" for parent in parents(workload, i))
                file.write(f"t{i}: {before}\n\t@{recipe}\n")

    return prepare


def _snakefile(directory: str, workload: str, n: int) -> None:
    with open(f"{directory}/Snakefile", "w") as file:
        file.write(f"rule all:\n    input: [f'o/{{i}}' for i in range({n})]\n")
        file.write("rule t:\n")
        if workload in ("tree", "chain"):
            parent = "(int(w.i) - 1) // 2" if workload == "tree" else "int(w.i) - 1"
            file.write(f"    input: lambda w: [f'o/{{{parent}}}'] if int(w.i) else []\n")
        file.write('    output: "o/{i}"\n    shell: "touch {output}"\n')


def _jobtree(workload: str, n: int) -> list[str]:
    options = ["--jobTree", "tree.jt", "--logLevel", "ERROR", "--maxCpus", "2"]
    return [sys.executable, f"{HERE}/workflow.py", workload, str(n), *options]


def _peer(venv: str, *last: str) -> Callable[[str, int], list[str]]:
    def argv(workload: str, n: int) -> list[str]:
        return [_python(venv), f"{HERE}/peers/{venv}_peer.py", workload, str(n), *last]

    return argv


def _snakemake(workload: str, n: int) -> list[str]:
    # the greedy scheduler: for jobs without names for their resources it is the quick one
    options = ["-s", "Snakefile", "-c2", "--quiet", "all", "--scheduler", "greedy"]
    return [f"{VENVS}/snakemake/bin/snakemake", *options]


def _make(workload: str, n: int) -> list[str]:
    return ["make", "-s", "-j2", "all"]


TOOLS = (
    Tool("jobTree", _jobtree, _nothing),
    Tool("make -j2", _make, _makefile("true"), needs="make", keeps=False),
    Tool("make -j2 + touch", _make, _makefile("touch $@"), needs="make"),
    Tool("parsl, threads", _peer("parsl", "thread"), _nothing, "parsl", runs=3, keeps=False),
    Tool("parsl, processes", _peer("parsl", "htex"), _nothing, "parsl", runs=2, keeps=False),
    Tool("luigi", _peer("luigi", "2"), _nothing, "luigi", most=1_023, runs=1),
    Tool("snakemake", _snakemake, _snakefile, "snakemake", most=1_023, runs=1),
)
