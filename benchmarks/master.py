"""The master by itself: how fast, how large, how quick to come back, with up to a million jobs.

The Master, RunState, Store, Mailbox and Lease are the real ones, on a real directory; orders are
written, and result files are read. What stands in is the batch system and its workers: an issue
is answered the moment it is submitted. The time they take to write the results is taken off.
Read next: instant.py, the stand-ins; experiments.py, what is measured.

    python benchmarks/master.py [--jobs 10000 100000 1000000] [--directory DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from experiments import EXPERIMENTS, LONG_STEP_S, MANY_SLOTS

FEWEST = 3 * MANY_SLOTS


def apart(name: str, *arguments: object) -> dict[str, Any]:
    """Run one experiment in a process of its own, so that its memory is its own."""
    argv = [sys.executable, os.path.abspath(__file__), "--experiment", name, *map(str, arguments)]
    said = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    print(f"{name} {' '.join(map(str, arguments[1:]))}: {json.dumps(found)}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--directory", default=tempfile.gettempdir())
    parser.add_argument("--experiment", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if min(given.jobs) < FEWEST:
        parser.error(f"--jobs: {FEWEST} at least, so that they fill {MANY_SLOTS} slots")
    if given.experiment:
        name, *words = given.experiment
        arguments = [float(word) if word.replace(".", "").isdecimal() else word for word in words]
        chosen = [int(a) if isinstance(a, float) and a == int(a) else a for a in arguments]
        print(json.dumps(EXPERIMENTS[name](*chosen)))
        return
    with tempfile.TemporaryDirectory(prefix="jobtree-bench-", dir=given.directory) as place:
        for jobs in given.jobs:
            tree_at = f"{place}/{jobs}"
            apart("first_half", tree_at, jobs)
            apart("status", tree_at)
            apart("second_half", tree_at, jobs)
            shutil.rmtree(tree_at)
            for name, arguments in (
                ("whole", ("node 0", min(jobs, 100_001))),
                ("whole", ("wide", min(jobs, 20_000), MANY_SLOTS, LONG_STEP_S)),
                ("size", (jobs,)),
                ("issued", (jobs,)),
            ):
                apart(name, tree_at, *arguments)
                shutil.rmtree(tree_at)


if __name__ == "__main__":
    main()
