"""A machine loses its power while a master works: what was not synced is gone, the tree goes on.

Owns a disk of its own, copied as it is at an instant: what the kernel had not written by then is
not in the copy. It is mounted so that a new name may come before its content, which is allowed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobtree.mailbox.files import write_file
from jobtree.store import lease
from jobtree.store.holder import Holder
from tests.integration.killing import LONGEST_S, assert_complete, kill_all, python, run, start
from tests.integration.namespaces import bent
from tests.integration.test_takeover import FLOW, MASTERS

pytestmark = pytest.mark.usefixtures("no_stray_processes")


class Disk:
    """A disk in a file, mounted at a place that stays the same."""

    def __init__(self, home: Path) -> None:
        self.image, self.place = home / "disk", home / "mounted"
        self.place.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(64 * 2**20)

    def make(self) -> bool:
        """Make its file system; tell whether it can be mounted here."""
        if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
            return False
        subprocess.run(["mkfs.ext4", "-q", self.image], check=True)
        return self.mount()

    def mount(self) -> bool:
        options = "loop,noauto_da_alloc,commit=1"
        argv = ["mount", "-o", options, str(self.image), str(self.place)]
        return subprocess.run(argv, check=False, capture_output=True).returncode == 0

    def unmount(self) -> None:
        """Take it away once the last of the processes that were killed is gone from it."""
        end = time.monotonic() + LONGEST_S
        while subprocess.run(["umount", self.place], check=False, capture_output=True).returncode:
            assert time.monotonic() < end, f"{self.place} stays busy"
            time.sleep(0.05)

    def copy(self) -> Path:
        """Return the disk as it is, nobody writing to it, once its journal is at rest."""
        copy, before = self.image.with_name("copy"), ""
        end = time.monotonic() + LONGEST_S
        while time.monotonic() < end:
            shutil.copyfile(self.image, copy)
            now = hashlib.sha256(copy.read_bytes()).hexdigest()
            if now == before:
                return copy
            before = now
        raise AssertionError("the disk keeps changing")

    def lose_power(self, copy: Path) -> None:
        """Have the disk be what it was when it was copied."""
        self.unmount()
        copy.rename(self.image)
        assert self.mount()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    if not disk.make():
        pytest.skip("this machine lets nobody mount an ext4 from a file")
    yield disk
    disk.unmount()


def renewed(tree: Path, times: int) -> Holder:
    """Return the holder of a tree once it has renewed its lease so often."""
    end = time.monotonic() + LONGEST_S
    while time.monotonic() < end:
        found = lease.latest(str(tree)) if (tree / "jobtree.json").exists() else None
        if found is not None and found.renewed >= times:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not renewed {times} times: {found}")


def test_this_disk_loses_what_is_not_synced(disk: Disk) -> None:
    (disk.place / "folder").mkdir()
    for name, sync in (("unsynced", False), ("synced", True)):
        for number in range(5):
            write_file(f"{disk.place}/folder/{name}", b"%d" % number, sync)
    disk.lose_power(disk.copy())
    assert (disk.place / "folder" / "synced").read_bytes() == b"4"
    assert (disk.place / "folder" / "unsynced").read_bytes() == b""


def test_a_tree_goes_on_after_its_machine_has_lost_its_power(disk: Disk) -> None:
    tree = disk.place / "tree"
    (disk.place / "flow.py").write_text(FLOW)
    os.mkfifo(disk.place / "gate")
    os.sync()
    argv = python(MASTERS, "--renew", "0.2", disk.place / "flow.py", "--jobTree", tree)
    master = start(argv, disk.place / "said")
    try:
        renewed(tree, 5)
        os.kill(master.pid, signal.SIGSTOP)
        copy = disk.copy()
    finally:
        kill_all(tree, master)
        master.wait()
    disk.lose_power(copy)
    found = lease.latest(str(tree))
    assert found is not None
    assert found.is_known
    assert found.renewed >= 4
    (disk.place / "gate").unlink()
    (disk.place / "gate").touch()
    ended = run(bent("restart", tree), disk.place / "said")
    assert_complete(tree, ended)
    assert [(disk.place / f"out.{n}").read_text() for n in range(6)] == [*"012345"]
