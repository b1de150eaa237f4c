"""SingleMachine and a harmless AcidTest keep every rule of the conformance suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from batchsystems import AcidTest, BatchSystem, SingleMachine
from batchsystems.conformance import Conformance


class TestSingleMachine(Conformance):
    checks_names = True

    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], BatchSystem]:
        return lambda: SingleMachine(str(tmp_path / "state"), max_cpus=2, grace_s=1.0)


class TestAcidTestThatNeverKills(Conformance):
    checks_names = True

    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], BatchSystem]:
        return lambda: AcidTest(str(tmp_path / "state"), max_cpus=2, kill_probability=0.0)
