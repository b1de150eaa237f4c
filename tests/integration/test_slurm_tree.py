"""Whole trees over a fake Slurm: what the tree asks of it, where a real one is slow to show it.

Owns what needs odd limits or answers; tests/live/slurm has the rest, on a real one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.flows import Workflow
from tests.unit.slurm.fake import FakeSlurm, use

pytestmark = pytest.mark.usefixtures("no_stray_processes")

DAY_AT_MOST = ["day|1-00:00:00|8|8192|(null)|OFF|day*|1|up|no|UNLIMITED"]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return use(monkeypatch, tmp_path / "slurm")


def test_the_reserve_of_time_is_given_up_where_no_queue_has_that_much(
    fake: FakeSlurm, tmp_path: Path
) -> None:
    fake.configure(sinfo=DAY_AT_MOST)
    flow = Workflow(tmp_path)
    flow.write("class Root(Target):\n    def run(self):\n        note('ran', 'x')\n")
    flow.run("--batchSystem", "slurm")  # by default a day is expected, and three would be asked
    (call,) = fake.calls("sbatch")
    assert "--time=1440" in call
    assert flow.lines("ran") == ["x"]


def test_a_job_longer_than_any_queue_allows_is_refused_with_that_figure(
    fake: FakeSlurm, tmp_path: Path
) -> None:
    fake.configure(sinfo=DAY_AT_MOST)
    flow = Workflow(tmp_path)
    flow.write("class Root(Target):\n    def run(self):\n        pass\n")
    said = flow.run("--batchSystem", "slurm", "--defaultTime", "2d", code=1)
    assert "day: 172800 s (its limit is 86400 s)" in said
    assert not fake.calls("sbatch")
