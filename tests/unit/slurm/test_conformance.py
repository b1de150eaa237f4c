"""The Slurm adapter keeps every rule of the conformance suite, over fake executables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from batchsystems import BatchSystem
from batchsystems.conformance import Conformance
from tests.unit.slurm.fake import quick, use


class TestSlurm(Conformance):
    checks_names = True

    @pytest.fixture
    def make(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], BatchSystem]:
        use(monkeypatch, tmp_path / "slurm")
        return quick


class TestSlurmWithoutAccounting(Conformance):
    checks_names = True

    @pytest.fixture
    def make(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], BatchSystem]:
        use(monkeypatch, tmp_path / "slurm").configure(accounting=False)
        return quick
