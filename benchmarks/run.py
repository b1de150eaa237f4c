"""The speed budget, beside the peers, in one run: `make bench`, or python benchmarks/run.py.

    --quick       small workloads, one run each, quick peers only
    --repeats N   runs of each tool and workload (slow peers run fewer times, as the table says)
    --tools A,B   only these          --workloads A,B   only these
    --json FILE   write all figures there too

The runs are interleaved: each round runs every tool once on every workload, so that a machine
that is busy for a while is busy for all. Printed are medians; `least` is the best run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from typing import NamedTuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import startup
from accounting import Cost, run
from tools import TOOLS, Tool


class Workload(NamedTuple):
    """n jobs of one shape."""

    kind: str
    n: int
    what: str


WORKLOADS = (
    Workload("targets", 1_000, "independent jobs that do nothing"),
    Workload("targets", 10_000, "independent jobs that do nothing"),
    Workload("commands", 1_000, "times the shell command `true`"),
    Workload("tree", 1_023, "jobs of a binary tree, each needing its parent"),
    Workload("chain", 100, "jobs of a chain, each needing the one before"),
)
QUICK = tuple(work._replace(n=min(work.n, 31)) for work in WORKLOADS if work.n < 10_000)
SLOW = ("snakemake", "luigi", "parsl, processes")


Costs = dict[tuple[str, str], list[Cost]]
"""What each run took, by workload and tool."""


def main() -> int:
    given = _arguments()
    workloads = _workloads(given)
    tools = _tools(given)
    costs = _measure_all(given, workloads, tools)
    print_machine()
    for work in workloads:
        print_table(work, tools, costs)
    for tool in TOOLS:
        if tool.missing():
            print(f"not installed, not run: {tool.name}: {tool.missing()}")
    figures = {} if given.no_startup else startup.measure(3 if given.quick else 15)
    startup.show(figures)
    if given.json:
        with open(given.json, "w") as file:
            runs = [[*key, [cost._asdict() for cost in found]] for key, found in costs.items()]
            json.dump({"runs": runs, "startup": figures}, file, indent=1)
    failed = [key for key, found in costs.items() if any(cost.status != 0 for cost in found)]
    for name, tool_name in failed:
        print(f"failed: {tool_name} on {name}")
    return 1 if any(tool_name == "jobTree" for _, tool_name in failed) else 0


def _workloads(given: argparse.Namespace) -> list[Workload]:
    found = QUICK if given.quick else WORKLOADS
    wanted = given.workloads.split(",")
    return [work for work in found if not given.workloads or _name(work) in wanted]


def _tools(given: argparse.Namespace) -> list[Tool]:
    """Return the tools to run, the first to be jobTree."""
    wanted = given.tools.split(",") if given.tools else []
    left_out = SLOW if given.quick and not wanted else ()
    return [
        tool
        for tool in TOOLS
        if not tool.missing() and tool.name not in left_out and (not wanted or tool.name in wanted)
    ]


def _measure_all(given: argparse.Namespace, workloads: list[Workload], tools: list[Tool]) -> Costs:
    costs: Costs = {}
    for number in range(given.repeats):
        for work in workloads:
            for tool in tools:
                if number < tool.runs and work.n <= tool.most:
                    cost = measure(tool, work, given.directory)
                    costs.setdefault((_name(work), tool.name), []).append(cost)
                    _progress(number, work, tool, cost)
    return costs


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--tools", default="")
    parser.add_argument("--workloads", default="", help="such as targets-1000,chain-100")
    parser.add_argument("--directory", default=tempfile.gettempdir())
    parser.add_argument("--no-startup", action="store_true")
    parser.add_argument("--json", default="")
    given = parser.parse_args()
    given.repeats = given.repeats or (1 if given.quick else 5)
    return given


def _name(work: Workload) -> str:
    return f"{work.kind}-{work.n}"


def environ(tool: Tool, directory: str) -> dict[str, str]:
    """Return the environment of a run: compiled modules are kept, as where a tool is installed."""
    path = os.environ["PATH"]
    if tool.venv:
        path = f"{os.path.dirname(tool.python())}:{path}"
    env = dict(os.environ, HOME=directory, PWD=directory, PATH=path)
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        env.pop(name, None)
    return env


def measure(tool: Tool, work: Workload, directory: str) -> Cost:
    """Run one tool once on one workload, in a directory of its own."""
    place = tempfile.mkdtemp(prefix="jobtree-bench-", dir=directory)
    try:
        tool.prepare(place, work.kind, work.n)
        cost = run(tool.argv(work.kind, work.n), place, environ(tool, place))
        if cost.status:
            with open(f"{place}/stderr", errors="replace") as file:
                sys.stderr.write(file.read()[-2000:])
        return cost
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _progress(number: int, work: Workload, tool: Tool, cost: Cost) -> None:
    load = os.getloadavg()[0]
    print(
        f"  round {number + 1}  {_name(work):<15}{tool.name:<18}"
        f"{cost.wall_s:8.2f} s  {1e3 * cost.cpu_s / work.n:8.3f} CPU ms a job  load {load:.1f}",
        file=sys.stderr,
        flush=True,
    )


def print_machine() -> None:
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    version = sys.version.partition(" ")[0]
    print(f"\nmachine: {len(names)} x {names[0] if names else '?'}, Python {version}, load {load}")
    print("CPU: user and system time of all processes of a run, start and end included\n")


def print_table(work: Workload, tools: list[Tool], costs: Costs) -> None:
    found = {tool.name: costs.get((_name(work), tool.name), []) for tool in tools}
    ours = found.get("jobTree", [])
    base = _median([cost.cpu_s for cost in ours]) if ours else 0.0
    head = "CPU ms a job | least | wall s | least | runs | CPU / jobTree's"
    print(f"| {work.n:,} {work.what} | {head} |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for tool in tools:
        runs = [cost for cost in found[tool.name] if cost.status == 0]
        name = tool.name if tool.keeps else f"{tool.name} (keeps nothing)"
        if not runs:
            print(f"| {name} | not run | | | | {len(found[tool.name])} | |")
            continue
        cpu = [1e3 * cost.cpu_s / work.n for cost in runs]
        wall = [cost.wall_s for cost in runs]
        ratio = f"{_median([cost.cpu_s for cost in runs]) / base:.2f}" if base else ""
        print(
            f"| {name} | {_median(cpu):.2f} | {min(cpu):.2f} | {_median(wall):.2f} "
            f"| {min(wall):.2f} | {len(runs)} | {ratio} |"
        )
    print()


def _median(values: list[float]) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    sys.exit(main())
