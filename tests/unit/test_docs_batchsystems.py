"""What docs/batch-systems.md shows works as shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batchsystems import BatchSystem, JobSpec, Reason
from tests.conformance import Conformance, Watcher

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "batch-systems.md").read_text()
USING, WRITING, CHECKING = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.usefixtures("no_stray_processes")
def test_the_first_example_runs_as_it_stands(tmp_path: Path):
    (tmp_path / "example.py").write_text(USING)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "example.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.stderr == ""
    assert sorted(ran.stdout.splitlines()) == ["0 OK 0", "1 OK 0", "2 OK 0", "3 FAILED 3"]


def on_the_spot() -> type[BatchSystem]:
    names: dict[str, Any] = {"__name__": "onthespot"}
    exec(compile(WRITING, "docs/batch-systems.md", "exec"), names)
    kind: type[BatchSystem] = names["OnTheSpot"]
    return kind


class TestFourMethodsMakeABatchSystem:
    """Those rules that so small an adapter can keep."""

    @pytest.fixture
    def watcher(self) -> Watcher:
        return Watcher(on_the_spot()())

    test_acceptance = Conformance.test_a_job_is_accepted_then_ends_ok
    test_ids = Conformance.test_ids_are_positive_unique_and_never_reused
    test_exit_status = Conformance.test_exit_status_is_told
    test_signal = Conformance.test_signal_is_told
    test_array = Conformance.test_an_array_of_50_knows_its_indices

    def test_kill(self, watcher: Watcher):
        job = watcher.batch.issueJob(JobSpec("long", ("/bin/sleep", "1000")))
        watcher.batch.killJobs([job])
        end = watcher.end(job)
        assert (end.reason, end.signal) == (Reason.FAILED, 15)


def test_the_conformance_example_is_python():
    names: dict[str, object] = {"OnTheSpot": on_the_spot(), "__name__": "example"}
    exec(compile(CHECKING, "docs/batch-systems.md", "exec"), names)
    kind = names["TestOnTheSpot"]
    assert isinstance(kind, type)
    assert issubclass(kind, Conformance)
