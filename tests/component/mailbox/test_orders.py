"""Orders, claims and bundles: what arrives, what is refused, who wins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobtree.core.job import Command, CommandKind, Pickle, Requirements
from jobtree.errors import StoreError
from jobtree.mailbox import layout
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
from jobtree.mailbox.orders import Assignment, is_of_another, read_order, write_order
from tests.component.worker.workers import TERMS


@pytest.fixture
def tree(tmp_path: Path) -> str:
    for name in layout.SUBDIRECTORIES:
        (tmp_path / name).mkdir(exist_ok=True)
    return str(tmp_path)


COMMAND = Command(
    CommandKind.TARGET, "Cläss", "", Requirements(1, 2, 3, 4.5), Pickle("b", 1, 2, "d"), True
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
