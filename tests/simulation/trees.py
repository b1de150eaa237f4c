"""Random trees: what each step will do, known beforehand.

Owns the plan of a seed's tree; runs nothing. Read next: worker.py, which acts it out, and
checker.py, which compares what happened with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from jobtree.core.job import Command, CommandKind, Pickle, Requirements

GIB = 2**30
NEVER = 10**6


@dataclass
class Step:
    """One step of the tree. fails: how often it is to fail before it succeeds (NEVER: always).

    crashes: it fails by taking its process down. needs_bytes: less memory than this kills it.
    """

    number: int
    parent: int
    is_follow_on: bool
    label: str
    lasts_s: float
    estimate_s: float | None
    asks_bytes: int | None
    needs_bytes: int
    fails: int
    crashes: bool
    publishes: bool
    directory: float
    is_target: bool
    children: list[int] = field(default_factory=list)
    follow_on: int = 0


def plan_tree(rng: Random, retries: int) -> dict[int, Step]:
    """Return a tree of steps by number; 1 is the root's."""
    steps: dict[int, Step] = {}
    wanted = rng.choice([1, 5, 10, 20, 20, 30, 40])
    wide = rng.random() < 0.03
    hopeless = rng.random() < 0.15
    alike = rng.random() < 0.6
    clumsy = rng.choice([0.0, 0.1, 0.3])

    def grow(parent: int, is_follow_on: bool) -> int:
        number = len(steps) + 1
        fails = 0
        if rng.random() < clumsy and retries:
            fails = rng.randint(1, retries)
        if hopeless and number > 1 and rng.random() < 0.1:
            fails = NEVER
        long = rng.random() < 0.02
        greedy = rng.random() < 0.04
        steps[number] = Step(
            number,
            parent,
            is_follow_on,
            label=f"C{rng.randint(0, 3)}",
            lasts_s=rng.uniform(700, 1500) if long else rng.choice([0.05, 1.0, 5.0, 30.0]),
            estimate_s=None if alike else rng.choice([None, None, 5.0, 60.0]),
            asks_bytes=None if alike else rng.choice([None, None, GIB, 4 * GIB]),
            needs_bytes=9 * GIB if greedy else 0,
            fails=fails,
            crashes=rng.random() < 0.3,
            publishes=rng.random() < 0.2,
            directory=rng.choice([0.0, 0.0, 0.5, 1.0]),
            is_target=rng.random() < 0.7,
        )
        return number

    grow(0, False)
    at = 1
    while at <= len(steps) and len(steps) < wanted:
        step = steps[at]
        count = rng.choice([0, 1, 1, 2, 3, 4]) if at > 1 else rng.choice([1, 2, 4])
        if wide and at == 1:
            count = rng.randint(60, 150)
        step.children = [grow(at, False) for _ in range(count)]
        if rng.random() < 0.35:
            step.follow_on = grow(at, True)
        at += 1
    return steps


def command_for(step: Step, pickle: Pickle | None) -> Command:
    """Return the command by which a step is known to the tree."""
    kind = CommandKind.SHELL if pickle is None else CommandKind.TARGET
    needs = Requirements(step.asks_bytes, None, None, step.estimate_s)
    return Command(kind, step.label, f"step {step.number}", needs, pickle)


def step_number(command: Command) -> int:
    """Return which step a command stands for."""
    return int(command.text.removeprefix("step "))
