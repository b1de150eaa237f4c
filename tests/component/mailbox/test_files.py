"""Files and the doorbell: written whole, removed and moved in pieces."""

from __future__ import annotations

import errno
import itertools
import os
import tempfile
from pathlib import Path

import pytest

from jobtree.errors import LostTree
from jobtree.mailbox import keepalive, master_side
from jobtree.mailbox.doorbell import Doorbell, ring
from jobtree.mailbox.files import read_private_range, remove_tree, write_file


def test_a_file_appears_whole_and_drafts_do_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_file(str(path), b"old")
    write_file(str(path), b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(OSError, match=r"."):
        write_file(str(tmp_path / "d" / "f"), b"x")
    (tmp_path / "dir").mkdir()
    with pytest.raises(OSError, match=r"."):
        write_file(str(tmp_path / "dir"), b"x")
    assert sorted(os.listdir(tmp_path)) == ["dir", "f"]
    assert read_private_range(str(path), 1, 5) == b"ew"


def test_a_tree_is_removed_but_nothing_behind_its_links(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    gone = tmp_path / "gone"
    (gone / "locked").mkdir(parents=True)
    (gone / "locked" / ".dot").touch()
    (gone / "link").symlink_to(kept)
    (gone / "locked").chmod(0)
    remove_tree(str(gone))
    remove_tree(str(gone))
    assert os.listdir(tmp_path) == ["kept"]
    assert os.listdir(kept) == ["file"]


def test_the_doorbell_answers_its_own_token_only() -> None:
    bell = Doorbell("127.0.0.1")
    assert bell.address is not None
    host, port, token = bell.address
    ring((host, port, "forged"), "i.1")
    ring((host, port, token), "i.2")
    ring((host, port, token), "i.2")
    rung: set[str] = set()
    while not rung:
        rung = bell.answer()
    assert rung == {"i.2"}
    bell.close()
    ring((host, port, token), "i.3")
    assert Doorbell(None).answer() == set()
    assert Doorbell("no.such.host.invalid").address is None


# ---- removing in pieces ------------------------------------------------------------------


def test_a_huge_directory_is_removed_in_pieces(tmp_path: Path) -> None:
    """A lease is renewed between them: a million files take longer than a minute."""
    gone = tmp_path / "gone"
    for folder in range(10):
        (gone / str(folder) / "below").mkdir(parents=True)
        for number in range(50):
            (gone / str(folder) / "below" / str(number)).touch()
    calls = []
    remove_tree(str(gone), lambda: calls.append(sum(1 for _ in gone.rglob("*"))))
    assert not gone.exists()
    assert len(calls) >= 520
    assert max(before - after for before, after in itertools.pairwise(calls)) <= 3


def test_a_removal_ends_where_the_tree_is_lost(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    for number in range(50):
        (gone / str(number)).touch()
    left = iter(range(10))

    def lost() -> None:
        if next(left, None) is None:
            raise LostTree("another master has taken this tree")

    with pytest.raises(LostTree):
        remove_tree(str(gone), lost)
    assert len(list(gone.iterdir())) >= 40


def test_what_is_deeper_than_descriptors_and_calls_go_is_removed(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    before = os.getcwd()
    os.chdir(gone)
    try:
        for _ in range(3000):
            os.mkdir("deeper")
            Path("file").touch()
            os.chdir("deeper")
    finally:
        os.chdir(before)
    remove_tree(str(gone))
    assert not gone.exists()


def test_nothing_is_followed_when_a_directory_is_removed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    kept.chmod(0o500)
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "link").symlink_to(kept)
    (tmp_path / "link").symlink_to(kept)
    remove_tree(str(tmp_path / "gone"))
    remove_tree(str(tmp_path / "link"))
    remove_tree(str(tmp_path / "never" / "there"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
    assert (kept / "file").exists()
    assert kept.stat().st_mode & 0o777 == 0o500


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_an_ordinary_user_removes_what_a_job_left_closed(tmp_path: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix="jobtree-remove-"))
    gone = home / "gone"
    for folder in (gone, gone / "no-write", gone / "no-entry", gone / "no-entry" / "below"):
        folder.mkdir()
        (folder / "file").touch()
    for path in (home, *home.rglob("*")):
        os.chown(path, 65534, 65534)
    (gone / "no-entry").chmod(0)
    (gone / "no-write").chmod(0o500)
    gone.chmod(0o500)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            remove_tree(str(gone))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert list(home.iterdir()) == []
    home.rmdir()


def test_outputs_are_moved_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Onto another file system, where they are copied: a terabyte takes hours."""
    monkeypatch.setattr(master_side, "PIECE_BYTES", 1000)
    monkeypatch.setattr(keepalive, "LOOK_S", 0.001)
    rename = os.rename

    def other_file_system(old: str, new: str) -> None:
        if "source" in old:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(old, new)

    monkeypatch.setattr(os, "rename", other_file_system)
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    (source / "below" / "large").write_bytes(os.urandom(10_500))
    (source / "below" / "large").chmod(0o640)
    (source / "link").symlink_to("below")
    for number in range(20):
        (source / str(number)).write_bytes(b"x")
    content = (source / "below" / "large").read_bytes()
    calls: list[int] = []
    master_side.move(str(source), str(tmp_path / "target"), lambda: calls.append(1))
    moved = tmp_path / "target"
    assert (moved / "below" / "large").read_bytes() == content
    assert (moved / "below" / "large").stat().st_mode & 0o777 == 0o640
    assert os.readlink(moved / "link") == "below"
    assert (moved / "19").read_bytes() == b"x"
    assert not source.exists()
    assert len(calls) >= 20 + 10 + 20  # each small file, each piece, each removed


def test_a_sync_that_fails_in_the_meantime_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(master_side, "PIECE_BYTES", 0)
    (tmp_path / "source").write_bytes(b"x")

    def failing(_: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(master_side, "sync_file", failing)
    with pytest.raises(OSError, match="Input/output"):
        master_side.move(str(tmp_path / "source"), str(tmp_path / "target"))
    assert (tmp_path / "source").exists()
