"""Short jobs on a real cluster, beside a bare array of the same jobs: ratios of one run.

Brings up contrib's local Slurm and Grid Engine (as root every case; both must be installed), and
gives each the same work twice in turns: as one array of the scheduler's own, and as a workflow.
The site file is what `jobtree site init` writes. Only ratios of one run mean anything.

    python benchmarks/cluster.py [slurm] [sge] [--cases noops naps] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
CONTRIB = os.path.join(os.path.dirname(HERE), "contrib")
LIMIT_S = 1800

SCRIPT = """\
import sys
import time
from argparse import ArgumentParser

from jobtree import Stack, Target


class Root(Target):
    def run(self):
        for number in range(COUNT):
            self.addChildTarget(Leaf(time=ESTIMATE))


class Leaf(Target):
    def run(self):
        time.sleep(LASTS)


if __name__ == "__main__":
    parser = ArgumentParser()
    Stack.addJobTreeOptions(parser)
    sys.exit(Stack(Root()).startJobTree(parser.parse_args()))
"""


class Case(NamedTuple):
    """Many jobs alike. lasts_s: of each; estimate_s: what the workflow says of it, if anything."""

    count: int
    lasts_s: float
    estimate_s: float | None


CASES = {
    "noops": Case(1000, 0.0, None),
    "naps": Case(400, 5.0, 5.0),
    "naps-unknown": Case(400, 5.0, None),
    "sixes": Case(1000, 6.0, 6.0),
}


class Engine(NamedTuple):
    """A kind of scheduler. program: what brings it up. array: its command for a bare array."""

    program: str
    slots: int
    options: tuple[str, ...]

    def array(self, name: str, case: Case) -> list[str]:
        """Return the command that runs all of a case as one array, and waits for its end."""
        what = ["sleep", str(case.lasts_s)] if case.lasts_s else ["true"]
        if name == "slurm":
            script = f"--wrap={' '.join(what)}"
            last = f"--array=0-{case.count - 1}"
            return ["sbatch", "--wait", "--output=/dev/null", "--mem=64M", last, script]
        words = ["-b", "y", "-sync", "y", "-o", "/dev/null", "-j", "y", "-t", f"1-{case.count}"]
        return ["qsub", *words, shutil.which(what[0]) or what[0], *what[1:]]


ENGINES = {
    "slurm": Engine(os.path.join(CONTRIB, "slurm", "local-cluster"), 32, ()),
    "sge": Engine(os.path.join(CONTRIB, "sge", "local-cell"), 12, ()),
}


@contextmanager
def running(engine: Engine, place: str) -> Iterator[dict[str, str]]:
    """Have it up; yield the environment that leads to it."""
    call = [sys.executable, "-IS", engine.program]
    where = ["--dir", place]
    subprocess.run([*call, "up", *where], check=True, stdout=subprocess.DEVNULL)
    try:
        said = subprocess.run([*call, "env", *where], check=True, capture_output=True, text=True)
        shell = f"{said.stdout}\nenv -0"
        told = subprocess.run(["sh", "-c", shell], check=True, capture_output=True).stdout
        pairs = (each.partition("=") for each in os.fsdecode(told).split("\0") if "=" in each)
        yield {name: value for name, _, value in pairs}
    finally:
        subprocess.run([*call, "down", *where], check=True, stdout=subprocess.DEVNULL)


def timed(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> float:
    """Run a command to its end; return the seconds it took."""
    began = time.monotonic()
    done = subprocess.run(
        argv, env=env, cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if done.returncode:
        raise SystemExit(f"{argv}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.monotonic() - began


class Taken(NamedTuple):
    """What a workflow took: seconds and batch jobs."""

    wall_s: float
    batch_jobs: int


def workflow(name: str, case: Case, site: str, env: Mapping[str, str], place: str) -> Taken:
    """Run a case as a workflow of Targets."""
    script, tree = os.path.join(place, "flow.py"), os.path.join(place, "tree")
    text = SCRIPT.replace("COUNT", str(case.count)).replace("LASTS", str(case.lasts_s))
    with open(script, "w") as file:
        file.write(text.replace("ESTIMATE", str(case.estimate_s)))
    argv = [sys.executable, script, "--jobTree", tree, "--site", site, "--batchSystem", name]
    wall_s = timed([*argv, "--defaultMemory", "256M", "--defaultTime", "1h"], env, place)
    with sqlite3.connect(os.path.join(tree, "tree.db")) as db:
        (count,) = db.execute("select count(distinct issue) from history").fetchone()
    shutil.rmtree(tree)
    return Taken(wall_s, count)


def compare(name: str, cases: Sequence[str], rounds: int) -> None:
    """Measure all cases on one scheduler, and print what came out."""
    engine = ENGINES[name]
    roomy = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    place = tempfile.mkdtemp(prefix="jobtree-bench-", dir=roomy)
    os.chmod(place, 0o755)
    try:
        with running(engine, os.path.join(place, "cluster")) as env:
            site = os.path.join(place, "site.toml")
            init = [sys.executable, "-m", "jobtree", "site", "init", "--batchSystem", name]
            timed([*init, "--output", site], env, place)
            for chosen in cases:
                case = CASES[chosen]
                arrays, flows = [], []
                for _ in range(rounds):
                    arrays.append(timed(engine.array(name, case), env, place))
                    flows.append(workflow(name, case, site, env, place))
                show(f"{name} {chosen}", case, engine.slots, arrays, flows)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def show(
    title: str, case: Case, slots: int, arrays: Sequence[float], flows: Sequence[Taken]
) -> None:
    """Print the medians of a case, and what they are to each other."""
    array_s = statistics.median(arrays)
    flow_s = statistics.median(flow.wall_s for flow in flows)
    batch_jobs = statistics.median(flow.batch_jobs for flow in flows)
    ideal_s = case.count * case.lasts_s / slots
    ideal = f", {flow_s / ideal_s:.2f} of the ideal" if ideal_s else ""
    print(
        f"{title}: {case.count} x {case.lasts_s:g} s on {slots} slots: array {array_s:.1f} s, "
        f"workflow {flow_s:.1f} s in {batch_jobs:.0f} batch jobs: "
        f"{flow_s / array_s:.2f} of the array{ideal}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("systems", nargs="*", default=list(ENGINES), metavar="SYSTEM")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["noops", "naps"])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    for name in given.systems:
        compare(name, given.cases, given.rounds)


if __name__ == "__main__":
    main()
