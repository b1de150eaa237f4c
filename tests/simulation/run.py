"""Runs seeds by hand: one to look at, or many at once to search.

    python -m tests.simulation.run --seed 17            replay one, with the tail of its history
    python -m tests.simulation.run --seeds 10000        0 to 9999, in parallel, with a summary
    python -m tests.simulation.run --commands ...       masters speak by the real engine's commands

Must not decide what is right: checker.py does.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

from tests.simulation import masters
from tests.simulation.checker import check
from tests.simulation.world import COMMAND_FAULTS, FAULTS, Event

TAIL = 60


class Result(NamedTuple):
    """What came of a seed. crashed: the product raised what it must not."""

    seed: int
    wrong: list[str]
    fired: dict[str, int]
    virtual_s: float
    events: int
    digest: str
    crashed: bool = False


@contextmanager
def quiet() -> Iterator[None]:
    """Let the product log nothing meanwhile."""
    log = logging.getLogger("jobtree")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)


def run_seed(seed: int, commands: bool = False) -> Result:
    """Run one seed; whatever the product raises is wrong too. commands: by the real engine."""
    with quiet():
        try:
            world, raised = masters.simulate(seed, commands=commands), ""
        except Exception:  # noqa: BLE001 - any exception of the product is what we look for
            world, raised = masters.last_world, traceback.format_exc()
    wrong = [f"t={v.at:.2f} {v.promise}: {v.what}" for v in check(world.history)]
    crashed = bool(raised) and not wrong
    if raised:
        wrong.append(raised)
    fired = dict(world.fired)
    return Result(seed, wrong, fired, world.now, len(world.history), world.digest(), crashed)


def replay_command(seed: int, commands: bool = False) -> str:
    """Return the one command that runs a seed again."""
    return f"python -m tests.simulation.run --seed {seed}{' --commands' if commands else ''}"


def shown(event: Event) -> str:
    """Return an event as a line."""
    told = " ".join(f"{key}={value}" for key, value in event.data.items())
    return f"{event.at:10.2f} {event.kind:14} {told}"[:400]


def show(seed: int, tail: int, commands: bool) -> int:
    """Run one seed and print the end of its history and what is wrong with it."""
    logging.basicConfig(level=logging.WARNING, format="             log: %(message)s")
    logging.getLogger("jobtree").setLevel(logging.CRITICAL + 1)
    try:
        world = masters.simulate(seed, commands=commands)
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        world = masters.last_world
    wrong = check(world.history)
    first = wrong[0].at if wrong else world.now
    end = next((i for i, e in enumerate(world.history) if e.at > first), len(world.history))
    for event in world.history[max(0, end - tail) : end]:
        print(shown(event))
    for violation in wrong[:20]:
        print(f"VIOLATION t={violation.at:.2f} {violation.promise}: {violation.what}")
    print(f"seed {seed}: {len(wrong)} violations, {len(world.history)} events, {world.digest()}")
    return int(bool(wrong))


def summary(results: Iterable[Result]) -> str:
    """Return how many seeds each fault kind struck in."""
    seeds, strikes = Counter[str](), Counter[str]()
    for result in results:
        seeds.update(result.fired.keys())
        strikes.update(result.fired)
    kinds = [*FAULTS, *(kind for kind in COMMAND_FAULTS if kind in seeds)]
    lines = [f"  {kind:34} {seeds[kind]:6} seeds {strikes[kind]:8} times" for kind in kinds]
    return "\n".join(lines)


def run_many(
    first: int, count: int, processes: int | None = None, commands: bool = False
) -> Iterator[Result]:
    """Run seeds in parallel processes, each its own world; yield results as they come."""
    run = partial(run_seed, commands=commands)
    with get_context("spawn").Pool(processes or os.cpu_count()) as pool:
        yield from pool.imap_unordered(run, range(first, first + count), chunksize=5)


def search(first: int, count: int, processes: int, commands: bool) -> int:
    """Run many seeds; print what failed and how often each fault struck."""
    began = time.monotonic()
    results: list[Result] = []
    for result in run_many(first, count, processes, commands):
        results.append(result)
        if result.wrong:
            print(f"seed {result.seed} FAILED: {result.wrong[0][-1500:]}")
            print(f"  replay: {replay_command(result.seed, commands)}", flush=True)
    took = time.monotonic() - began
    failed = sorted(result.seed for result in results if result.wrong)
    print(summary(results))
    hours = sum(result.virtual_s for result in results) / 3600
    print(
        f"{count} seeds, {len(failed)} failed, {sum(r.events for r in results)} events, "
        f"{hours:.0f} virtual hours, {took:.0f} s, {count / took:.1f} seeds/s"
    )
    if failed:
        print("failed:", *failed[:50])
    return int(bool(failed))


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--seeds", type=int, default=1000, help="how many to search")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--processes", type=int, default=None)
    parser.add_argument("--tail", type=int, default=TAIL, help="events shown of a replay")
    parser.add_argument("--commands", action="store_true", help="by the real engine's commands")
    given = parser.parse_args()
    gc.freeze()
    if given.seed is not None:
        return show(given.seed, given.tail, given.commands)
    return search(given.first, given.seeds, given.processes, given.commands)


if __name__ == "__main__":
    sys.exit(main())
