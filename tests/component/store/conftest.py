"""A tree's directory, as far as its leases need one."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def tree(tmp_path: Path) -> str:
    (tmp_path / "leases").mkdir()
    return str(tmp_path)
