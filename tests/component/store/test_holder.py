"""Who holds a tree: seen where it can be looked at, watched where it cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobtree.errors import StoreError
from jobtree.store import holder, lease
from jobtree.store.holder import Place, is_alive
from jobtree.store.lease import Leases
from tests.component.store.otherhosts import ELSEWHERE, HERE, OtherHost


def test_a_holder_tells_its_machine_its_boot_and_its_namespace(tree: str) -> None:
    held, _ = lease.acquire(tree)
    assert held.holder.place == HERE
    assert HERE.boot
    assert HERE.namespace
    assert Path("/etc/machine-id").read_text().strip() not in holder.encode(held.holder).decode()


def test_a_machine_is_known_by_what_leases_of_all_versions_call_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a newer version watches for a minute whom an older one has left dead."""
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    monkeypatch.setattr(holder, "MACHINE_IDS", (str(tmp_path / "machine-id"),))
    assert holder.here().machine == "ccbcc391a21319d1956bea6cbca4a127"


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_process_elsewhere_is_neither_alive_nor_dead(tree: str, where: str) -> None:
    held, _ = lease.acquire(tree)
    assert is_alive(held.holder) is True
    gone = held.holder._replace(started=held.holder.started - 1)
    assert is_alive(gone) is False
    assert is_alive(held.holder, ELSEWHERE[where]) is None
    assert is_alive(gone, ELSEWHERE[where]) is None


@pytest.mark.parametrize("place", [HERE._replace(boot=""), HERE._replace(namespace="")])
def test_a_place_that_cannot_be_told_is_not_the_same_as_itself(tree: str, place: Place) -> None:
    held, _ = lease.acquire(Leases(tree, place))
    assert is_alive(held.holder, place) is None


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_command_that_only_looks_takes_no_tree_whose_holder_it_cannot_see(
    tree: str, where: str
) -> None:
    lease.acquire(tree)

    def no_waiting(_: float) -> None:
        raise AssertionError("waited")

    with pytest.raises(StoreError, match="held by another master"):
        lease.acquire(Leases(tree, ELSEWHERE[where]), looks=True, wait=no_waiting)
    found = lease.latest(tree)
    assert found is not None
    assert found.epoch == 1


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_dead_holder_elsewhere_is_watched_and_its_database_copied(tree: str, where: str) -> None:
    other = OtherHost(tree, renews_at=None)
    place = ELSEWHERE[where]
    other.holder = other.holder._replace(
        host=place.host, machine=place.machine, boot=place.boot, namespace=place.namespace
    )
    other.write()
    taken, _ = lease.acquire(tree, wait=other.wait, clock=lambda: other.time)
    assert other.time >= lease.STALE_S
    assert taken.holder.copying


def test_a_holder_that_let_go_while_it_was_watched_needs_no_copy(tree: str) -> None:
    other = OtherHost(tree, renews_at=None)

    def wait(seconds: float) -> None:
        other.time += seconds
        other.holder = other.holder._replace(released=True)
        other.write()

    taken, _ = lease.acquire(tree, wait=wait, clock=lambda: other.time)
    assert taken.epoch == 2
    assert not taken.holder.copying


def test_a_watch_begun_before_counts(tree: str) -> None:
    other = OtherHost(tree, renews_at=None)
    watch = lease.Watch(Leases(tree), clock=lambda: other.time)
    assert watch.lives() is None
    other.time = lease.STALE_S - 1.5
    before = other.time
    lease.acquire(tree, wait=other.wait, clock=lambda: other.time, watch=watch)
    assert other.time - before < 3


def test_a_process_that_proc_hides_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(_: str) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(holder, "_start_of", hidden)
    assert holder.process_start(os.getpid()) is None
    assert holder.process_start(2**22 + 1) == 0


def test_running_out_of_descriptors_says_nothing_of_the_holder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(_: str) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(holder, "_start_of", exhausted)
    assert holder.process_start(os.getpid()) is None
