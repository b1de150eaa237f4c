"""The DRMAA adapter over Grid Engine's library and a real cell: every odd answer it gives.

Owns the adapter alone; whole trees and their rescue are tested elsewhere. Read next: lab.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from batchsystems import (
    BatchSystem,
)
from batchsystems.commandline.pacing import Pace, Patience
from batchsystems.drmaa import Drmaa
from batchsystems.drmaawords import DrmaaSettings
from batchsystems.sgewords import SgeSettings
from tests.conformance import Conformance, Watcher, end_all
from tests.live.sge.lab import Lab

QUICK = Pace(submits_per_s=20, queries_per_minute=600, poll_s=1.0, poll_min_s=0.2)
BRIEF = replace(
    Patience(),
    absence_s=5.0,
    hold_s=0.5,
    hold_most_s=1.0,
    held_s=3.0,
)

GIB = 2**30
LIBRARY = "/usr/lib/gridengine-drmaa/lib/libdrmaa.so.1.0"
Make = Callable[..., Drmaa]


@pytest.fixture
def make(sge: Lab, monkeypatch: pytest.MonkeyPatch, open_tmp_path: Path) -> Make:
    """Return what makes an adapter of the test's cell; all of a test share their records."""
    for name, value in sge.env.items():
        if name == "PATH" or name.startswith(("SGE_", "DRMAA_")):
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)

    def made(
        settings: DrmaaSettings | None = None, sge: SgeSettings | None = None, **patience: float
    ) -> Drmaa:
        waits = replace(BRIEF, **patience)  # type: ignore[arg-type]
        return Drmaa(settings, sge, None, QUICK, waits, str(open_tmp_path))

    return made


@pytest.fixture
def watcher(make: Make) -> Iterator[Watcher]:
    batch = make()
    yield Watcher(batch)
    end_all(batch)


class TestDrmaa(Conformance):
    remembers = False

    @pytest.fixture
    def make(self, make: Make) -> Callable[[], BatchSystem]:
        return make
