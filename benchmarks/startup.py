"""What starting takes: a worker, the command line, and the master's answer to the end of a job.

worker     CPU of a worker's process from its exec to the first line of the first Target
launcher   CPU of the process that singleMachine puts around a worker, all of its life
--help     CPU of `jobtree --help`
reaction   from the end of a Target's run() to the master's next submission: publishing,
           fsync, doorbell, adoption, commit (fsync) and the order file (fsync) are in it
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from accounting import run  # noqa: E402

BUDGET = {"worker_cpu_ms": 60, "help_cpu_ms": 150, "reaction_ms_p50": 5}


def measure(times: int) -> dict[str, Any]:
    """Return the figures, each the median of `times` measurements."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory(prefix="jobtree-bench-") as place:
        probe = [sys.executable, f"{HERE}/probe.py"]
        workers, reactions = [], []
        for number in range(times):
            said = subprocess.run(
                [*probe, f"{place}/{number}.jt", "40" if number < 3 else "1"],
                env=env,
                check=True,
                capture_output=True,
                text=True,
            )
            found = json.loads(said.stdout)
            workers += found["worker_cpu_ms"][:1]
            reactions += found["reaction_ms"]
        launcher = os.path.join(
            os.path.dirname(HERE), "batchsystems", "singlemachine", "launcher.py"
        )
        around_true = [sys.executable, "-I", "-S", launcher, "job=x.0", f"state={place}", "--"]
        helped = [sys.executable, "-m", "jobtree.cli.main", "--help"]
        return {
            "worker_cpu_ms": _median(workers),
            "worker_cpu_ms_least": round(min(workers), 1),
            "launcher_cpu_ms": _cpu([*around_true, "/bin/true"], place, env, times),
            "bare_python_cpu_ms": _cpu([sys.executable, "-I", "-S", "-c", ""], place, env, times),
            "help_cpu_ms": _cpu(helped, place, env, times),
            "reaction_ms_p50": _median(reactions),
            "reaction_ms_p90": round(sorted(reactions)[int(0.9 * (len(reactions) - 1))], 2),
            "reactions": len(reactions),
        }


def show(figures: dict[str, Any]) -> None:
    """Print the figures."""
    if not figures:
        return
    print("| start and reaction | measured | budget |")
    print("|---|---:|---:|")
    for name, value in figures.items():
        print(f"| {name} | {value} | {BUDGET.get(name, '')} |")


def _cpu(argv: Sequence[str], place: str, env: dict[str, str], times: int) -> float:
    return _median([1e3 * run(argv, place, env).cpu_s for _ in range(times)])


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 2)


if __name__ == "__main__":
    show(measure(15))
