"""What a lease's file may say: of other versions, torn, empty."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from jobtree.errors import StoreError
from jobtree.store import holder, lease
from jobtree.store.holder import Holder, is_alive
from jobtree.store.lease import Leases
from tests.component.store.otherhosts import ELSEWHERE, HERE, OtherHost, Time


def of_the_version_before(found: Holder) -> bytes:
    said = found._asdict()
    del said["machine"], said["namespace"]
    return json.dumps(said).encode() + b"\n"


def test_a_lease_of_the_version_before_is_read_and_its_holder_watched(tree: str) -> None:
    other = OtherHost(tree, renews_at=None)
    here = other.holder._replace(host=HERE.host)
    Path(other.path).write_bytes(of_the_version_before(here))
    found = lease.latest(tree)
    assert found == here._replace(machine="", namespace="")
    assert is_alive(found) is None
    released = here._replace(released=True)
    Path(other.path).write_bytes(of_the_version_before(released))
    taken, _ = lease.acquire(tree)
    assert not taken.holder.copying


def test_a_lease_of_a_later_version_is_read(tree: str) -> None:
    held, _ = lease.acquire(tree)
    said = held.holder._asdict() | {"colour": "blue"}
    assert holder.decode(1, json.dumps(said).encode()) == held.holder


def torn(tree: str) -> list[bytes]:
    held, _ = lease.acquire(tree)
    whole = holder.encode(held.holder)
    return [
        b"",
        *(whole[:n] for n in range(1, len(whole) - 1, 17)),
        bytes(len(whole)),
        whole[:40] + bytes(len(whole) - 40),
        b"null\n",
        b"[1]\n",
        b"{}\n",
        b'"x"\n',
        whole.replace(b'"tree.db"', b'"../../x.db"'),
        whole.replace(b'"epoch": 1', b'"epoch": 7'),
    ]


def test_a_torn_lease_is_a_holder_unknown_who_is_watched(tree: str) -> None:
    for content in torn(tree):
        Path(f"{tree}/leases/1").write_bytes(content)
        found = lease.latest(tree)
        assert found is not None, content
        assert (found.epoch, found.is_known, is_alive(found)) == (1, False, None), content
        time = Time()
        taken, _ = lease.acquire(tree, wait=time.wait, clock=time)
        assert time.now >= lease.STALE_S
        assert (taken.epoch, taken.holder.copying) == (2, True)
        assert taken.holder.database == "tree.db"
        os.unlink(f"{tree}/leases/2")


def test_a_torn_lease_that_is_renewed_keeps_its_tree(tree: str) -> None:
    held, _ = lease.acquire(tree)
    Path(f"{tree}/leases/1").write_bytes(b"")
    time = [0.0]

    def wait(seconds: float) -> None:
        time[0] += seconds
        if time[0] > 30:
            Path(f"{tree}/leases/1").write_bytes(holder.encode(held.holder))

    with pytest.raises(StoreError, match="held by another master"):
        lease.acquire(Leases(tree, ELSEWHERE["another host"]), wait=wait, clock=lambda: time[0])


def test_a_torn_lease_is_ours_and_mended(tree: str) -> None:
    held, _ = lease.acquire(tree)
    Path(f"{tree}/leases/1").write_bytes(b"")
    later = lease.Lease(Leases(tree), held.holder, clock=iter([0.0, 20.0]).__next__)
    assert later.renew()
    assert lease.latest(tree) == held.holder._replace(renewed=1)


def test_the_newest_copy_is_the_tree_where_no_lease_says(tree: str) -> None:
    for name in ("tree.db", "tree.9.db", "tree.10.db", "tree.11.db~copy", "tree.x.db"):
        Path(tree, name).touch()
    Path(f"{tree}/leases/12").write_bytes(b"")
    time = [0.0]

    def wait(seconds: float) -> None:
        time[0] += seconds

    taken, _ = lease.acquire(tree, wait=wait, clock=lambda: time[0])
    assert taken.holder.database == "tree.10.db"


def test_a_lease_is_synced_every_ten_seconds(tree: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held, _ = lease.acquire(tree)
    synced: list[str] = []
    fsync = os.fsync

    def noting(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noting)
    times = iter([0.0, 5.0, 10.1, 10.2])
    renewed = lease.Lease(Leases(tree), held.holder, clock=lambda: next(times))
    assert renewed.renew()
    assert synced == []
    assert renewed.renew()
    assert renewed.renew()
    assert [path.rpartition("/")[2].partition("~")[0] for path in synced] == ["1", "leases"]
