"""Many seeds in which masters speak to the scheduler by the real engine of command-line adapters.

Clocks and zones differ and are set, trees of the same name submit what ours does. Read next:
commands.py; planted.py, the bugs that must be found.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.checker import check
from tests.simulation.masters import simulate
from tests.simulation.planted_commands import COMMAND_FORCED, COMMAND_PLANTS
from tests.simulation.run import replay_command, run_many, run_seed, summary
from tests.simulation.test_planted import MOST_SEEDS
from tests.simulation.test_simulation import LEAST_SEEDS_A_FAULT
from tests.simulation.world import COMMAND_FAULTS, World

SEEDS = int(os.environ.get("COMMAND_SEEDS", "200"))


@pytest.mark.timeout(900)
def test_no_seed_breaks_a_promise_and_every_fault_strikes() -> None:
    results = list(run_many(0, SEEDS, commands=True))
    print(summary(results))
    broken = [
        f"seed {result.seed}: {result.wrong[0]}\n  replay: {replay_command(result.seed, True)}"
        for result in results
        if result.wrong
    ]
    assert not broken, "\n".join(broken[:10])
    seeds = {kind: sum(kind in result.fired for result in results) for kind in COMMAND_FAULTS}
    rare = {kind: count for kind, count in seeds.items() if count < LEAST_SEEDS_A_FAULT}
    assert SEEDS < 400 or not rare, f"these faults strike too few seeds: {rare}"


@pytest.mark.parametrize("seed", range(5))
def test_without_faults_all_goes_well(seed: int) -> None:
    world = simulate(seed, faulty=False, commands=True)
    assert check(world.history) == []
    assert not world.fired


def test_a_seed_decides_everything() -> None:
    assert [run_seed(seed, commands=True).digest for seed in (3, 7)] == [
        run_seed(seed, commands=True).digest for seed in (3, 7)
    ]


@pytest.mark.parametrize("name", COMMAND_PLANTS)
def test_planted_fault_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    COMMAND_PLANTS[name](monkeypatch)
    monkeypatch.setattr(World, "forced", COMMAND_FORCED.get(name, {}))
    for seed in range(MOST_SEEDS):
        result = run_seed(seed, commands=True)
        if result.wrong and not result.crashed:
            print(f"{name}: seed {seed}: {result.wrong[0]}")
            return
    pytest.fail(f"not caught within {MOST_SEEDS} seeds")
