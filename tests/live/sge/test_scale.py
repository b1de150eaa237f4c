"""Hundreds and thousands of jobs alike, on a real Grid Engine in which many run at once.

Owns what goes well with many jobs; how each of them ends is tested elsewhere. Read next: trees.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from batchsystems.commandline.factory import AdapterOf
from batchsystems.sge.dialect import SgeDialect
from tests.live.sge.conftest import temporary_cell
from tests.live.sge.lab import Lab
from tests.live.sge.trees import CLIENTS, Tree
from tests.live.thousand import MANY, assert_few_commands, most_commands
from tests.live.trees import calls, counting_clients
from tests.live.workflows import assert_level_ran_once, kill_a_master_and_restart, write_level

Plant = Callable[..., Tree]

RESTARTED = 300

MOST_TIMES_BARE = 8.0
"""Each job of a tree starts a Python; those of the bare array start nothing of that size."""


@pytest.fixture(scope="module")
def cell() -> Iterator[Lab]:
    """Bring up a cell with slots for many tasks at once."""
    with temporary_cell("--slots", "50") as lab:
        yield lab


@pytest.fixture
def sge(cell: Lab) -> Iterator[Lab]:
    """Give a test that cell, and clean up after it."""
    yield cell
    cell.fault("reset")


@pytest.fixture(scope="module")
def bare_s(cell: Lab) -> float:
    """Return how long Grid Engine itself takes for an array of so many jobs that do nothing."""
    began = time.monotonic()
    job = cell.submit("-t", f"1-{MANY}", "/bin/true")
    cell.wait_gone(job, limit_s=280)
    return time.monotonic() - began


def test_a_killed_masters_jobs_are_adopted_and_none_runs_twice(plant: Plant) -> None:
    runs = kill_a_master_and_restart(plant(), RESTARTED)
    assert Counter(run.end for run in runs) == {("0", "0"): RESTARTED}


def test_a_thousand_like_jobs_take_five_commands(
    sge: Lab, system: str, bare_s: float, plant: Plant
) -> None:
    tree = plant(brisk=False)
    write_level(tree, MANY, None)
    tree.bin = counting_clients(tree.home / "bin", CLIENTS, sge.env["PATH"])
    began = time.monotonic()
    tree.run("--jobTime", "0", limit_s=500)
    took_s = time.monotonic() - began
    assert_level_ran_once(tree, MANY)
    runs = tree.ended_runs(MANY, "Leaf")
    assert Counter(run.end for run in runs) == {("0", "0"): MANY}
    assert len({run.job.partition(".")[0] for run in runs}) == 1, "they are one array"
    made = calls(tree.bin)
    print("all commands:", " ".join(made))
    ratio = took_s / bare_s
    print(f"bare array {bare_s:.1f} s, whole tree {took_s:.1f} s, ratio {ratio:.2f}")
    assert took_s < MOST_TIMES_BARE * bare_s
    if system == "sge":
        _, level, follow_on = (at for at, name in enumerate(made) if name == "qsub")
        made = made[level:follow_on]
    assert len(made) <= most_commands(took_s), "from the submission of all to the end of the last"


def test_a_thousand_like_jobs_as_fast_as_grid_engine_itself(
    sge: Lab, bare_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sge.lead(monkeypatch)
    assert_few_commands(lambda transport: AdapterOf(SgeDialect)(transport=transport), bare_s)
