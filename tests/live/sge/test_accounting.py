"""The accounting file of a real cell, where text of a field holds the separator, and moved away.

Owns what the adapter reads of it. Read next: lab.py; tests/unit/sge/test_accounting.py.
"""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from batchsystems import Reason, Resources
from batchsystems.commandline.factory import AdapterOf
from batchsystems.commandline.pacing import Pace, Timeouts
from batchsystems.conformance import Watcher, end_all, gated, sh
from batchsystems.sge import defaults
from batchsystems.sge.dialect import SgeDialect
from batchsystems.sge.settings import SgeSettings
from batchsystems.transport.local import FileState, Local
from tests.live.sge.lab import Lab
from tests.live.waiting import LIMIT_S

QUICK = Pace(submits_per_s=20, queries_per_minute=600, poll_s=2.0)
BRIEF = replace(Timeouts(), absence_s=60.0, history_pause_s=1.0)


class Doorkeeper(Local):
    """Reads files only while its door is open."""

    def __init__(self) -> None:
        super().__init__()
        self.door = threading.Event()
        self.door.set()

    def state(self, path: str) -> FileState:
        """Return the state of a file."""
        self.door.wait()
        return super().state(path)


@pytest.fixture
def file(sge: Lab, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cell's accounting file; adapters of this process speak to the cell."""
    sge.lead(monkeypatch)
    return Path(defaults.common(os.environ), "accounting").resolve()


def test_a_request_with_the_separator_hides_no_end(file: Path):
    """Grid Engine writes a job's requests as they are: a colon in one ends no field."""
    settings = SgeSettings(directives=("-l arch=lx*|centos:7",))
    watcher = Watcher(AdapterOf(SgeDialect)(settings, QUICK, BRIEF))
    part = 'python3 -c "x = bytearray(150 << 20); import time; time.sleep(60)"'
    asked = Resources(memory_bytes=200 << 20, time_s=600)
    memory = watcher.batch.issueJob(sh(f"{part} & {part} & wait", "hungry", resources=asked))
    failed = watcher.batch.issueJob(sh("exit 3", "failed"))
    native = watcher.accepted(failed)
    assert watcher.end(failed, LIMIT_S).exit_status == 3
    assert watcher.end(memory, LIMIT_S).reason is Reason.OUT_OF_MEMORY
    (line,) = (each for each in file.read_text().splitlines() if f":{native}:sge:" in each)
    assert ":-l arch=lx*|centos:7" in line, "as it is"
    end_all(watcher.batch)


@pytest.mark.parametrize("how", ["renamed", "copied"])
def test_a_file_moved_away_and_grown_again_between_two_looks_hides_no_end(
    sge: Lab, file: Path, open_tmp_path: Path, how: str
):
    keeper, gate = Doorkeeper(), open_tmp_path / "gate"
    watcher = Watcher(AdapterOf(SgeDialect)(SgeSettings(), QUICK, BRIEF, keeper))
    seen = watcher.batch.issueJob(sh("exit 4", "seen"))
    assert watcher.end(seen, LIMIT_S).exit_status == 4, "the file is read up to here"
    job = watcher.batch.issueJob(gated(gate, 5, "unseen"))
    native = watcher.accepted(job)
    sge.wait(native, "r")
    read, aside = file.stat().st_size, file.with_name("accounting.0")
    keeper.door.clear()
    gate.touch()
    sge.wait_records(native)
    if how == "renamed":
        os.rename(file, aside)
    else:
        shutil.copy2(file, aside)
        os.truncate(file, 0)
    while not file.exists() or file.stat().st_size <= read:
        sge.wait_records(sge.submit("/bin/true"))
    keeper.door.set()
    assert watcher.end(job, LIMIT_S).exit_status == 5
    end_all(watcher.batch)
    aside.unlink()
