"""The DRMAA adapter keeps every rule of the conformance suite, over a fake library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from batchsystems import BatchSystem
from batchsystems.conformance import Conformance
from tests.unit.drmaa.fake import use


class TestDrmaa(Conformance):
    checks_names = True
    remembers = False

    @pytest.fixture
    def make(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], BatchSystem]:
        return use(monkeypatch, tmp_path / "drm").quick
