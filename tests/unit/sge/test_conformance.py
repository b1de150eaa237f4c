"""The Grid Engine adapter keeps every rule of the conformance suite, over fake executables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from batchsystems import BatchSystem
from batchsystems.conformance import Conformance
from tests.unit.sge.fake import quick, use


class TestSge(Conformance):
    checks_names = True

    @pytest.fixture
    def make(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], BatchSystem]:
        use(monkeypatch, tmp_path / "sge")
        return quick
