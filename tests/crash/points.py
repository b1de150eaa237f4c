"""Every crash point: counts the durable operations of a run, then kills at each of them.

Owns the enumeration and the table; must not judge. Used by test_points.py for a sample, and by
`make crash` for all of them: python -m tests.crash.points --help
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.crash.tracing import (
    ERRORS,
    FAILING,
    Point,
    closings,
    count_independently,
    moments,
)
from tests.crash.trial import GROUP, MASTER, STARTED, VICTIMS, Trial, hit, scratch, undisturbed

BATCH_JOBS = 16
"""Batch jobs whose processes are hit one after another; later ones have no more kinds of calls."""


class Plan(NamedTuple):
    """What is to be hit. counted: by grep, in the log of the same undisturbed run."""

    points: list[Point]
    counted: int
    closings: list[Point]

    def failing(self, error: str) -> list[Point]:
        """Return the points at which a failing disk tells of itself, with this error."""
        may_fail = [point for point in self.points if point.call in FAILING] + self.closings
        return [Point(*point[:4], error) for point in may_fail]


def plan(victim: str, process: int = 0) -> Plan:
    """Enumerate the points of one process from an undisturbed run."""
    home = Path(tempfile.mkdtemp(prefix="crash-", dir=scratch())).resolve()
    try:
        log = undisturbed(f"{victim}:{process}", home)
        if not log.exists():
            return Plan([], 0, [])  # there was no such batch job in this run
        points = [Point(victim, process, call, when) for call, when in moments(log)]
        closed = [Point(victim, process, call, when) for call, when in closings(log)]
        return Plan(points, count_independently(log), closed)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def plans(victims: Iterable[str], batch_jobs: int) -> Iterator[tuple[str, Plan]]:
    """Yield the plan of each process to be hit."""
    for victim in victims:
        if victim in (MASTER, GROUP):
            yield victim, plan(victim)
            continue
        for process in range(1, batch_jobs + 1):
            yield f"{victim} {process}", plan(victim, process)


def sample(points: list[Point], count: int, seed: int) -> list[Point]:
    """Return one point of every kind of call, and others up to `count`."""
    rng = random.Random(seed)
    kinds: dict[str, list[Point]] = {}
    for point in points:
        kinds.setdefault(point.call, []).append(point)
    chosen = [rng.choice(of_kind) for of_kind in kinds.values()][:count]
    rest = [point for point in points if point not in chosen]
    return chosen + rng.sample(rest, min(len(rest), count - len(chosen)))


def table(trials: list[Trial]) -> str:
    """Return per victim and call how many points were run, reached, and found wrong."""
    run, reached, wrong = (Counter[tuple[str, str]]() for _ in range(3))
    for trial in trials:
        for key in ((trial.point.victim, trial.point.call), (trial.point.victim, "all")):
            run[key] += 1
            reached[key] += trial.hit
            wrong[key] += bool(trial.wrong)
    lines = [f"{'victim':<10} {'call':<10} {'points':>7} {'reached':>8} {'wrong':>6}"]
    for victim, call in sorted(run):
        key = (victim, call)
        lines.append(f"{victim:<10} {call:<10} {run[key]:>7} {reached[key]:>8} {wrong[key]:>6}")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--victims", nargs="+", default=VICTIMS, choices=VICTIMS)
    parser.add_argument("--batch-jobs", type=int, default=BATCH_JOBS, help="of worker victims")
    parser.add_argument("--every", type=int, default=1, help="take every n-th point only")
    parser.add_argument("--from", dest="first", type=int, default=0, help="of these, skip so many")
    parser.add_argument("--only", nargs="+", default=[], help="points, as a failure names them")
    parser.add_argument(
        "--errors", nargs="+", default=[], choices=ERRORS, help="the calls fail, instead of SIGKILL"
    )
    parser.add_argument("-j", dest="jobs", type=int, default=2, help="trials at the same time")
    parser.add_argument("--keep", type=Path, help="where the remains of wrong trials are put")
    parser.add_argument("--log", type=Path, help="one JSON line per trial is appended here")
    return parser.parse_args()


def main() -> int:
    """Run what was asked for; print the table; return 1 if anything is wrong."""
    given = _arguments()
    began, failed = time.monotonic(), 0
    points = [Point.parse(text) for text in given.only]
    if not points:
        counted = 0
        for name, found in plans(given.victims, given.batch_jobs):
            print(f"{name}: {len(found.points)} points, by grep {found.counted}", flush=True)
            assert len(found.points) == found.counted
            counted += found.counted
            points += found.points if not given.errors else []
            for error in given.errors:
                points += found.failing(error)
        if given.errors:
            print(f"enumerated {len(points)} calls that may fail", flush=True)
        else:
            assert len(points) == counted
            print(f"enumerated {len(points)}, counted independently {counted}", flush=True)
        points = points[:: given.every][given.first :]
    trials: list[Trial] = []
    with ThreadPoolExecutor(given.jobs) as pool:
        for trial in pool.map(lambda point: hit(point, given.keep), points):
            trials.append(trial)
            if trial.wrong:
                failed += 1
                print(f"WRONG {trial.point}: {trial.wrong}\n{trial.story}\n", flush=True)
            if given.log:
                with given.log.open("a") as log:
                    line = {"point": str(trial.point), "hit": trial.hit, "wrong": trial.wrong}
                    log.write(json.dumps(line) + "\n")
    print(table(trials))
    assert len(trials) == len(points)
    print(
        f"{len(trials)} points run in {time.monotonic() - began:.0f} s, "
        f"{sum(trial.hit for trial in trials)} reached, {failed} wrong"
    )
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())


__all__ = ["STARTED", "Plan", "plan", "plans", "sample", "table"]
