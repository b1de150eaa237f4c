"""How many jobs run at once, as the real Grid Engine tells it when it is asked.

Owns that question alone. Read next: ../../unit/commandline/test_capacity.py.
"""

from __future__ import annotations

import pytest

from batchsystems.commandline.adapter import CommandLine
from batchsystems.commandline.factory import AdapterOf
from batchsystems.commandline.limits import Bound
from batchsystems.sge.dialect import SgeDialect
from tests.live.sge.lab import Lab
from tests.live.waiting import eventually

QUOTA = """{
   name         most
   description  NONE
   enabled      TRUE
   limit        users {*} to slots=5
}
"""


def told(batch: CommandLine) -> int | None:
    return eventually("an answer", batch.capacity, lambda found: found.told).slots


def test_slots_of_queues_and_quotas_count(sge: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path):
    sge.lead(monkeypatch)
    batch = AdapterOf(SgeDialect)()
    try:
        assert not batch.capacity().told
        slots = sge.slots * len(sge.hosts)
        assert told(batch) == 2 * slots, "all.q and short.q"
        bounds: tuple[Bound, ...] = batch._engine.cluster.limits.bounds
        assert {bound.queue: bound.time_s for bound in bounds} == {"all.q": None, "short.q": 300.0}
    finally:
        batch.close()
    quota = tmp_path / "quota"
    quota.write_text(QUOTA)
    sge.run("qconf", "-Arqs", str(quota))
    batch = AdapterOf(SgeDialect)()
    try:
        assert told(batch) == 5
    finally:
        batch.close()
        sge.run("qconf", "-drqs", "most")
