"""The simulator bites: each planted fault is caught by the checker within a few seeds.

Read next: planted.py, the faults themselves.
"""

from __future__ import annotations

import pytest

from tests.simulation.planted import FORCED, PLANTS
from tests.simulation.run import run_seed
from tests.simulation.world import World

MOST_SEEDS = 60


@pytest.mark.parametrize("name", PLANTS)
def test_planted_fault_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTS[name](monkeypatch)
    monkeypatch.setattr(World, "forced", FORCED.get(name, {}))
    for seed in range(MOST_SEEDS):
        result = run_seed(seed)
        if result.wrong and not result.crashed:
            print(f"{name}: seed {seed}: {result.wrong[0]}")
            return
    pytest.fail(f"not caught within {MOST_SEEDS} seeds")
