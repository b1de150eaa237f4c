"""Orders, claims and bundles: what arrives, what is refused, who wins."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobtree.core.job import Command, Kind, Pickle, Requirements
from jobtree.errors import LostTree, StoreError
from jobtree.mailbox import keepalive, layout, master_side
from jobtree.mailbox.bundles import READ_AHEAD_BYTES, BundleReader, BundleWriter, read_pickle
from jobtree.mailbox.claims import (
    Claim,
    Fence,
    read_claim,
    read_fence,
    remove_claims,
    take_claim,
    write_beat,
    write_fence,
)
from jobtree.mailbox.doorbell import Doorbell, ring
from jobtree.mailbox.files import read_private_range, remove_tree, write_file
from jobtree.mailbox.orders import Assignment, is_of_another, read_order, write_order
from tests.component.worker.workers import TERMS


@pytest.fixture
def tree(tmp_path: Path) -> str:
    for name in layout.SUBDIRECTORIES:
        (tmp_path / name).mkdir(exist_ok=True)
    return str(tmp_path)


COMMAND = Command(
    Kind.TARGET, "Cläss", "", Requirements(1, 2, 3, 4.5), Pickle("b", 1, 2, "d"), True
)


def pack(number: int) -> list[Assignment]:
    return [Assignment(number, 5, 6, 7, False, (COMMAND, COMMAND._replace(pickle=None)))]


# ---- orders ------------------------------------------------------------------------------


def test_each_task_of_an_array_reads_its_own_line(tree: str) -> None:
    terms = TERMS._replace(doorbell=("host", 1, "token"), scratch="$TMPDIR")
    write_order(tree, terms, [pack(number) for number in range(20_000)])
    path = layout.order_path(tree, TERMS.submission)
    for index in (0, 1, 12_345, 19_999):
        assert read_order(path, index) == (terms, pack(index))
    with pytest.raises(ValueError, match="none of index"):
        read_order(path, 20_000)


def test_orders_cut_short_or_of_others_are_refused(tree: str) -> None:
    write_order(tree, TERMS, [pack(1), pack(2)])
    path = Path(layout.order_path(tree, TERMS.submission))
    whole = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    for cut in range(len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"."):
            read_order(str(path), 1)
    path.write_bytes(whole)
    path.chmod(0o660)
    with pytest.raises(StoreError):
        read_order(str(path), 0)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_order(str(path), 0)


def test_an_order_tells_for_whose_workers_it_was_written(tree: str) -> None:
    write_order(tree, TERMS._replace(program="python start.py"), [pack(1)])
    path = Path(layout.order_path(tree, TERMS.submission))
    assert not is_of_another(str(path), "python start.py")
    assert is_of_another(str(path), "python worker_start.py")
    whole = path.read_bytes()
    for before, after in (
        (b'{"protocol":1', b'{"protocol":2'),
        (b',"python start.py"]', b"]"),  # as jobTree wrote them that did not tell yet
        (b',"python start.py"]', b',"python start.py",1]'),
    ):
        path.write_bytes(whole.replace(before, after))
        assert path.read_bytes() != whole
        assert is_of_another(str(path), "python start.py")
    path.unlink()
    assert not is_of_another(str(path), "python start.py")


# ---- claims ------------------------------------------------------------------------------

RACE = """
import sys
sys.path[:0] = {path!r}
from jobtree.mailbox.claims import Claim, take_claim
sys.stdin.readline()
for n in range(10):
    fd = take_claim({tree!r}, "issue.%d" % n, Claim("host", {number}, "nonce{number}", 1.5, 0))
    print(int(fd is not None))
"""


def test_of_200_racers_one_wins_each_claim(tree: str) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", RACE.format(path=sys.path, tree=tree, number=n)],
            stdin=-1,
            stdout=-1,
            text=True,
        )
        for n in range(200)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [0] * 10
    for racer in racers:
        said, _ = racer.communicate(timeout=120)
        won = [total + int(one) for total, one in zip(won, said.split(), strict=True)]
    assert won == [1] * 10
    claim = read_claim(tree, "issue.0")
    assert claim is not None
    assert claim.nonce == f"nonce{claim.pid}"
    notes = [name for name in os.listdir(f"{tree}/claims") if "~" in name]
    assert all("~lost." in name for name in notes)
    assert len({name for name in notes if name.startswith("issue.3~")}) == 199


def test_a_heartbeat_is_seen(tree: str) -> None:
    claim = Claim("h", 1, "n", 2.5, 0)
    fd = take_claim(tree, "i.0", claim)
    assert fd is not None
    assert read_claim(tree, "i.0") == claim
    write_beat(fd, 41)
    os.close(fd)
    assert read_claim(tree, "i.0") == claim._replace(beat=41)
    assert read_claim(tree, "i.1") is None


def test_claims_are_removed_with_their_notes(tree: str) -> None:
    for issue in ("i.1", "i.1", "i.11"):
        fd = take_claim(tree, issue, Claim("h", 1, os.urandom(4).hex(), 2.5, 0))
        if fd is not None:
            os.close(fd)
    remove_claims(tree, {"i.1"})
    assert os.listdir(f"{tree}/claims") == ["i.11"]


def test_fences(tree: str) -> None:
    assert read_fence(tree, "i.0") is None
    for word in (Fence.RECALL, Fence.STOP):
        write_fence(tree, "i.0", word)
        assert read_fence(tree, "i.0") == word


# ---- bundles -----------------------------------------------------------------------------


@settings(deadline=None)  # a busy machine syncs slowly
@given(pickles=st.lists(st.binary(), max_size=20))
def test_bundles_give_back_what_was_added(
    tmp_path_factory: pytest.TempPathFactory, pickles: list[bytes]
) -> None:
    tree = tmp_path_factory.mktemp("tree")
    (tree / "bundles").mkdir()
    bundle = BundleWriter(str(tree), "b")
    where = []
    for pickled in pickles:
        where.append(bundle.add(pickled))
        bundle.look_again()
    bundle.sync()
    bundle.close()
    assert [read_pickle(str(tree), one) for one in where] == pickles


@pytest.mark.parametrize("length", [7, READ_AHEAD_BYTES + 1])
def test_what_was_read_ahead_is_no_more_trusted_than_what_is_read(tree: str, length: int) -> None:
    bundle = BundleWriter(tree, "b")
    where = [bundle.add(letter * length) for letter in (b"a", b"b", b"c")]
    bundle.close()
    path = Path(layout.bundle_path(tree, "b"))
    whole = path.read_bytes()
    path.write_bytes(b"a" * length + bytes(2 * length))  # as another node may see it at first
    reader = BundleReader(tree, BundleWriter(tree, "own"))
    assert reader.read(where[0]) == b"a" * length
    path.write_bytes(whole[: 2 * length] + bytes(length))
    assert reader.read(where[1]) == b"b" * length
    with pytest.raises(StoreError, match="not what was written"):
        reader.read(where[2])


def test_what_a_process_has_just_written_it_need_not_read(tree: str) -> None:
    bundle = BundleWriter(tree, "b")
    where = bundle.add(b"one"), bundle.add(b"two")
    Path(layout.bundle_path(tree, "b")).unlink()
    reader = BundleReader(tree, bundle)
    assert reader.read(where[1]) == b"two"
    with pytest.raises(FileNotFoundError):
        reader.read(where[0])


def test_what_must_not_be_loaded(tree: str) -> None:
    bundle = BundleWriter(tree, "b")
    where = bundle.add(b"pickled")
    bundle.close()
    path = Path(layout.bundle_path(tree, "b"))
    assert path.stat().st_mode & 0o777 == 0o600

    for mode in (0o620, 0o602):
        path.chmod(mode)
        with pytest.raises(StoreError, match="written by other") as error:
            read_pickle(tree, where)
        assert error.value.code == "JT330"
    path.chmod(0o600)

    path.write_bytes(b"PICKLED")
    with pytest.raises(StoreError, match="not what was written") as error:
        read_pickle(tree, where)
    assert error.value.code == "JT331"
    path.write_bytes(b"pick")
    with pytest.raises(StoreError):
        read_pickle(tree, where)

    path.rename(f"{path}.real")
    path.symlink_to(f"{path}.real")
    with pytest.raises(StoreError, match="symbolic"):
        read_pickle(tree, where)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_bundle_is_refused(tree: str) -> None:
    bundle = BundleWriter(tree, "b")
    where = bundle.add(b"pickled")
    bundle.close()
    os.chown(layout.bundle_path(tree, "b"), 1234, 1234)
    with pytest.raises(StoreError, match="uid 1234"):
        read_pickle(tree, where)


# ---- files, doorbell ---------------------------------------------------------------------


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
