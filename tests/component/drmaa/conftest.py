"""The fake DRMAA cluster, and who watches jobs of an adapter over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from batchsystems.conformance import Watcher, end_all
from tests.unit.drmaa.fake import SLOW, FakeDrmaa, use


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDrmaa:
    return use(monkeypatch, tmp_path / "drm")


@pytest.fixture
def watcher(fake: FakeDrmaa) -> Iterator[Watcher]:
    batch = fake.quick(timeouts=SLOW)
    yield Watcher(batch)
    fake.heal()
    end_all(batch)
