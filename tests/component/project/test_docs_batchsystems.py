"""What docs/batch-systems.md shows works as shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batchsystems import BatchSystem, JobSpec, Refused
from batchsystems.conformance import Watcher

ROOT = Path(__file__).parents[3]
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


def from_the_page(source: str, name: str, **known: object) -> type[Any]:
    names: dict[str, Any] = {"__name__": "onthespot", **known}
    exec(compile(source, "docs/batch-systems.md", "exec"), names)
    kind: type[Any] = names[name]
    return kind


OnTheSpot: type[BatchSystem] = from_the_page(WRITING, "OnTheSpot")
CHECKED = CHECKING.replace("from onthespot import OnTheSpot\n", "")

# The page's own test of the page's own adapter; test_wheel.py runs both as files of another folder.
TestFourMethodsMakeABatchSystem = from_the_page(CHECKED, "TestOnTheSpot", OnTheSpot=OnTheSpot)


def test_a_program_that_is_not_there_is_refused():
    watcher = Watcher(OnTheSpot())
    job = watcher.batch.issueJob(JobSpec("nothing", ("/proc/nowhere",)))
    watcher.until(lambda: watcher.last(job), "refusal")
    assert isinstance(watcher.last(job), Refused)
    assert watcher.batch.getIssuedJobIDs() == frozenset()
