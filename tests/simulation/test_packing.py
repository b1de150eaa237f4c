"""Packing on a healthy virtual cluster: slots are never idle for long, whatever was estimated.

All times are virtual: nothing here depends on how fast the machine is. A run is compared with a
list scheduler that has no costs at all: each of 32 slots takes the next job as it falls free.
Read next: packed.py.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from random import Random

import pytest

from tests.simulation.packed import SLOTS, Child, RunFigures, run

START_S = 2.2
"""The longest that a batch job may take to begin here, and its worker to claim it."""

SEEDS = range(3)
Spoil = Callable[[Random, Child], Child]


def list_scheduled(children: Sequence[Child]) -> float:
    ends = [0.0] * SLOTS
    for child in children:
        heapq.heapreplace(ends, ends[0] + child.lasts_s)
    return max(ends)


def mixed(rng: Random) -> list[Child]:
    return [Child(rng.choice([1.0, 2.0, 5.0, 10.0, 20.0])) for _ in range(400)]


def right(rng: Random, child: Child) -> Child:
    return child._replace(estimate_s=child.lasts_s)


def wrong_by_ten(rng: Random, child: Child) -> Child:
    return child._replace(estimate_s=child.lasts_s * rng.choice([0.1, 10.0]))


def too_low(rng: Random, child: Child) -> Child:
    return child._replace(estimate_s=child.lasts_s / 10)


def too_high(rng: Random, child: Child) -> Child:
    return child._replace(estimate_s=child.lasts_s * 10)


def walls(spoil: Spoil, own_labels: bool) -> float:
    """Return the sum of what several trees take, so that no single one's luck counts."""
    total = 0.0
    for seed in SEEDS:
        rng = Random(seed)
        children = [spoil(rng, child) for child in mixed(rng)]
        if own_labels:
            children = [c._replace(label=f"L{n}") for n, c in enumerate(children)]
        total += once_each(run(children), children).wall_s
    return total


def once_each(outcome: RunFigures, children: Sequence[Child]) -> RunFigures:
    assert outcome.steps_run == len(children), "nothing ran twice"
    return outcome


@pytest.mark.parametrize("own_labels", [False, True])
def test_estimates_wrong_by_ten_either_way_cost_little(own_labels: bool) -> None:
    best = walls(right, own_labels)
    for spoil in (wrong_by_ten, too_low, too_high):
        assert walls(spoil, own_labels) <= 1.15 * best, spoil.__name__


@pytest.mark.parametrize("spoil", [right, wrong_by_ten, too_low, too_high])
def test_slots_are_not_idle_while_there_is_work(spoil: Spoil) -> None:
    ideal = sum(list_scheduled(mixed(Random(seed))) for seed in SEEDS)
    assert walls(spoil, own_labels=False) <= 1.15 * ideal + len(SEEDS) * 2 * START_S


def test_400_steps_of_5_s_take_their_time_and_the_starts() -> None:
    children = [Child(5.0, 5.0)] * 400
    outcome = once_each(run(children), children)
    # the root's start, the children's, and that of a few recalled ones
    assert outcome.wall_s <= 1.05 * outcome.ideal_s + 3 * START_S
    assert outcome.batch_jobs <= 80


def test_unmeasured_steps_cost_a_wave_of_probes() -> None:
    children = [Child(5.0)] * 400
    outcome = once_each(run(children), children)
    assert outcome.wall_s <= 1.05 * outcome.ideal_s + 3 * START_S + 5.0
    assert outcome.batch_jobs <= 130


def test_1000_steps_of_6_s_make_far_fewer_batch_jobs() -> None:
    children = [Child(6.0, 6.0)] * 1000
    outcome = once_each(run(children), children)
    assert outcome.batch_jobs <= 150
    assert outcome.wall_s <= 1.05 * outcome.ideal_s + 3 * START_S


def test_a_cluster_that_does_not_tell_its_size_gets_few_batch_jobs_too() -> None:
    children = [Child(6.0, 6.0)] * 1000
    outcome = once_each(run(children, told=False), children)
    assert outcome.batch_jobs <= 250
    assert outcome.wall_s <= 1.15 * outcome.ideal_s + 3 * START_S


def test_1000_steps_of_no_time_are_a_wave_of_probes_and_few_packs() -> None:
    children = [Child(0.002)] * 1000
    outcome = once_each(run(children), children)
    assert outcome.batch_jobs <= SLOTS + 10
    assert outcome.wall_s <= 4 * START_S + 4.0


def test_1000_commands_that_all_differ_are_a_few_waves() -> None:
    children = [Child(0.002, None, f"./job_{number}.sh") for number in range(1000)]
    outcome = once_each(run(children), children)
    assert outcome.batch_jobs <= SLOTS + 30
    assert outcome.wall_s <= 4 * START_S + 4.0


def test_a_tail_of_long_steps_is_spread_over_all_slots() -> None:
    children = [Child(0.5)] * 200 + [Child(30.0)] * 200
    outcome = once_each(run(children), children)
    assert outcome.wall_s <= 1.1 * list_scheduled(children) + 2 * START_S
