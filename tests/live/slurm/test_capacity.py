"""How many jobs run at once, as the real Slurm tells it when it is asked.

Owns that question alone. Read next: ../../unit/commandline/test_capacity.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from batchsystems.commandline.factory import AdapterOf
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.slurm.settings import SlurmSettings
from tests.live.slurm.lab import Lab
from tests.live.waiting import eventually

SLOTS_OF_NODE = 8


@pytest.fixture
def slots(slurm: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int | None]:
    """Return what asks a new adapter with these settings, until it has been told."""
    monkeypatch.setenv("SLURM_CONF", slurm.env["SLURM_CONF"])

    def asked(**settings: str) -> int | None:
        batch = AdapterOf(SlurmDialect)(SlurmSettings(**settings))  # type: ignore[arg-type]
        try:
            assert not batch.capacity().told
            told = eventually("an answer", batch.capacity, lambda found: found.told)
            assert told.largest.cpus == SLOTS_OF_NODE
            return told.slots
        finally:
            batch.close()

    return asked


def test_a_partition_has_the_processors_of_its_nodes(
    slurm: Lab, slots: Callable[..., int | None]
) -> None:
    assert slots() == SLOTS_OF_NODE * len(slurm.nodes)


def test_limits_of_a_partition_s_qos_count(slurm: Lab, slots: Callable[..., int | None]) -> None:
    if not slurm.accounting or "limited" not in slurm.partitions:
        pytest.skip("there are no limits without accounting")
    assert slots(partition="limited") == 4


def test_limits_of_the_user_s_association_count(
    slurm: Lab, slots: Callable[..., int | None]
) -> None:
    if not slurm.accounting:
        pytest.skip("there are no associations without accounting")
    change = ("sacctmgr", "--immediate", "modify", "user", "root", "set")
    slurm.run(*change, "maxjobs=5")
    try:
        assert eventually("the limit", slots, lambda found: found == 5) == 5
    finally:
        slurm.run(*change, "maxjobs=-1")
