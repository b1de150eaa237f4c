"""The kernel's count of kills for want of memory: both versions of cgroups, and none."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobtree.worker.oom import KillCount

V1 = "9:name=systemd:/\n4:memory:/slurm/job_7/task_0\n2:cpuacct,cpu:/\n0::/\n"
V2 = "0::/system.slice/job_7\n"


@pytest.mark.parametrize(
    ("own", "file", "text"),
    [
        (V1, "memory/slurm/job_7/task_0/memory.oom_control", "under_oom 0\noom_kill %d\n"),
        (V2, "system.slice/job_7/memory.events", "oom 9\noom_kill %d\noom_group_kill 0\n"),
    ],
)
def test_it_grows_when_the_kernel_kills(tmp_path: Path, own: str, file: str, text: str) -> None:
    path, lines = tmp_path / file, tmp_path / "cgroup"
    path.parent.mkdir(parents=True)
    lines.write_text(own)
    path.write_text(text % 2)
    count = KillCount(str(lines), str(tmp_path))
    assert not count.has_grown(), "what was before the start is nobody's"
    path.write_text(text % 3)
    assert count.has_grown()
    assert not count.has_grown(), "each kill is told once"


@pytest.mark.parametrize("own", ["", "0::/\n", "nonsense", "4:memory:/gone\n"])
def test_without_a_count_there_are_no_kills(tmp_path: Path, own: str) -> None:
    lines = tmp_path / "cgroup"
    lines.write_text(own)
    assert not KillCount(str(lines), str(tmp_path)).has_grown()
    assert not KillCount(str(tmp_path / "none"), str(tmp_path)).has_grown()
