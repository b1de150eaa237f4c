"""What a machine offers, read from fixtures of /proc and /sys/fs/cgroup."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchsystems.singlemachine.machine import (
    cgroup_cpus,
    cgroup_memory_bytes,
    oom_counter,
    read_gpus,
    read_machine,
)

V1_MOUNTS = (
    "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0\n"
    "cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0\n"
)
V2_MOUNTS = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"


def lay_out(root: Path, mounts: str, cgroup: str, files: dict[str, str]) -> Path:
    named = {"proc/self/mounts": mounts, "proc/self/cgroup": cgroup}
    for name, text in (named | {f"sys/fs/cgroup/{key}": files[key] for key in files}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_version_2_takes_the_smallest_limit_on_the_way_up(tmp_path: Path):
    files = {
        "cpu.max": "max 100000\n",
        "slurm/cpu.max": "400000 100000\n",
        "slurm/job/cpu.max": "max 100000\n",
        "slurm/memory.max": "2147483648\n",
        "slurm/job/memory.max": "max\n",
        "slurm/job/memory.events": "low 0\noom 0\noom_kill 0\n",
    }
    root = lay_out(tmp_path, V2_MOUNTS, "0::/slurm/job\n", files)
    assert cgroup_cpus(root) == 4.0
    assert cgroup_memory_bytes(root) == 2 << 30
    assert oom_counter(root) == str(root / "sys/fs/cgroup/slurm/job/memory.events")


def test_version_1(tmp_path: Path):
    files = {
        "cpu,cpuacct/box/cpu.cfs_quota_us": "150000\n",
        "cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "memory/box/memory.limit_in_bytes": "1073741824\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/box/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
    }
    cgroup = "7:memory:/box\n4:cpu,cpuacct:/box\n1:name=systemd:/x\n0::/\n"
    root = lay_out(tmp_path, V1_MOUNTS, cgroup, files)
    assert cgroup_cpus(root) == 1.5
    assert cgroup_memory_bytes(root) == 1 << 30
    assert oom_counter(root).endswith("memory/box/memory.oom_control")


@pytest.mark.parametrize("path", ["/kubepods/pod1/c2", "/../../other"])
def test_in_a_container_the_mount_point_is_the_own_cgroup(tmp_path: Path, path: str):
    files = {"cpu.max": "50000 100000\n", "memory.max": "536870912\n"}
    root = lay_out(tmp_path, V2_MOUNTS, f"0::{path}\n", files)
    assert cgroup_cpus(root) == 0.5
    assert cgroup_memory_bytes(root) == 1 << 29


def test_no_limits_anywhere(tmp_path: Path):
    root = lay_out(tmp_path, V2_MOUNTS, "0::/\n", {})
    assert cgroup_cpus(root) is None
    assert cgroup_memory_bytes(root) is None
    assert oom_counter(root) == str(root / "proc/vmstat")
    assert cgroup_cpus(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [("", ()), ("-1", ()), ("0", ("0",)), ("2, GPU-x,5", ("2", "GPU-x", "5")), ("1,-1,2", ("1",))],
)
def test_gpus_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, visible: str, gpus: tuple[str, ...]
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert read_gpus() == gpus


def test_gpus_by_devices(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    devices = [f"/dev/nvidia{n}" for n in ("10", "2", "0", "0-caps")]
    monkeypatch.setattr("glob.glob", lambda pattern: devices)
    assert read_gpus() == ("0", "2", "10")


def test_this_machine():
    machine = read_machine()
    assert machine.cpus >= 1
    assert machine.memory_bytes > 1 << 26
