"""Steering: who is told of bad nodes, and what a tree keeps of them over a restart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobtree.core.job import Command, CommandKind, Requirements
from jobtree.core.job_states import Budgets, first_job
from jobtree.core.node_health import COOL_DOWN_S, NodeHealth
from jobtree.master.node_exclusion import note_end, readmit_due, readmit_nodes, restore_exclusions
from jobtree.store.store import Store

AHEAD_S = 1.7e9
"""How much the epoch is ahead of a master's own clock, as it were."""


class Clock:
    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def epoch(self) -> float:
        return self.time + AHEAD_S


class System:
    """A batch system that notes what it is to leave out."""

    here = False

    def __init__(self) -> None:
        self.told: list[list[str]] = []

    def exclude(self, nodes: Iterable[str]) -> None:
        self.told.append(list(nodes))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    command = Command(CommandKind.SHELL, "root", "root", Requirements())
    made = Store.create(f"{tmp_path}/tree.db", first_job(1, 0, command, Budgets(0, 0)), {})
    yield made
    made.close()


def master(store: Store, now: float = 100.0) -> Any:
    """Return as much of a Live as steering looks at, its batch system in `told`."""
    system = System()
    return SimpleNamespace(
        store=store,
        nodes=NodeHealth(),
        clock=Clock(now),
        systems={"slurm": system},
        told=system.told,
    )


def ended_on(node: str, well: bool) -> Any:
    """Return as much of an Issue as steering looks at."""
    return SimpleNamespace(node=node, node_ok=well, launch_error=None, batch_system="slurm")


def find_hole(run: Any) -> None:
    """Have eight good nodes, and one on which all fail."""
    for number in range(8):
        for _ in range(2):
            note_end(run, ended_on(f"n{number}", well=True))
    for _ in range(3):
        note_end(run, ended_on("hole", well=False))


def names(run: Any) -> list[str]:
    return [each.node for each in run.nodes.excluded()]


def test_batch_systems_are_told_once(store: Store) -> None:
    run = master(store)
    find_hole(run)
    assert run.told == [["hole"]]


def test_a_restart_keeps_a_node_left_out_for_the_rest_of_its_time(store: Store) -> None:
    find_hole(master(store, now=100.0))
    store.commit()
    again = master(store, now=100.0 + COOL_DOWN_S / 2)
    restore_exclusions(again)
    assert again.told == [["hole"]]
    again.clock.time += COOL_DOWN_S / 2 - 1.0
    readmit_due(again)
    assert names(again) == ["hole"]
    again.clock.time += 1.0
    readmit_due(again)
    assert names(again) == []
    assert again.told == [["hole"], []]


def test_a_restart_after_its_time_does_not(store: Store) -> None:
    find_hole(master(store))
    late = master(store, now=100.0 + COOL_DOWN_S)
    restore_exclusions(late)
    assert names(late) == []


def test_a_new_tree_tells_nobody(store: Store) -> None:
    run = master(store)
    restore_exclusions(run)
    assert run.told == []


def test_a_node_taken_back_is_used_again_and_stays_so(store: Store) -> None:
    run = master(store)
    find_hole(run)
    assert readmit_nodes(run, ["hole", "n1"]) == ["hole"]
    assert run.told == [["hole"], []]
    again = master(store)
    restore_exclusions(again)
    assert names(again) == []
