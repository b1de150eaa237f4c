"""Whatever a master does for long, its lease is renewed meanwhile."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobtree.errors import LostTree
from jobtree.mailbox import keepalive
from jobtree.mailbox.keepalive import keep_alive_during
from jobtree.mailbox.layout import SUBDIRECTORIES
from jobtree.mailbox.master_side import Mailbox
from jobtree.master.loop import Master
from jobtree.store.lease import RENEW_S, STALE_S, Lease, Leases, Watch, acquire
from tests.unit.master.runs import living

PIECE_S = 5.0
"""By the clock here each call of the file system, and each answer of a scheduler, takes so long."""


def test_a_call_is_waited_for_and_its_result_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepalive, "LOOK_S", 0.001)
    enough, looks = threading.Event(), []

    def keep_alive() -> None:
        looks.append(1)
        if len(looks) == 3:
            enough.set()

    assert keep_alive_during(lambda: enough.wait(60), keep_alive) is True
    assert len(looks) >= 3


def test_what_a_call_raises_is_raised() -> None:
    def failing() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        keep_alive_during(failing, lambda: None)


class Slow:
    """A tree held by a master for whom time passes with each call that changes a directory."""

    def __init__(self, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in SUBDIRECTORIES:
            (tree / name).mkdir(parents=True, exist_ok=True)
        self.now, self.tree = 0.0, tree
        self.leases = Leases(str(tree))
        held, _ = acquire(self.leases)
        self.lease = Lease(self.leases, held.holder, lambda: self.now, lambda: self.now)
        elsewhere = Leases(str(tree), self.leases.place._replace(namespace="pid:[1]"))
        self.watch = Watch(elsewhere, clock=lambda: self.now)
        self.longest_s = 0.0
        self._changed_at, self._renewed = 0.0, 0
        for name in ("unlink", "rmdir", "fsync"):
            monkeypatch.setattr(os, name, self._slow(getattr(os, name)))

    def _slow(self, real: Any) -> Any:
        def call(*arguments: Any, **known: Any) -> Any:
            if not isinstance(arguments[0], str) or "leases" not in arguments[0]:
                self.pass_time(PIECE_S)
            return real(*arguments, **known)

        return call

    def pass_time(self, seconds: float) -> None:
        """Let time pass; note for how long the lease has not been renewed."""
        if self.lease.holder.renewed != self._renewed:
            self._renewed, self._changed_at = self.lease.holder.renewed, self.now
        self.now += seconds
        self.longest_s = max(self.longest_s, self.now - self._changed_at)

    def is_kept(self) -> bool:
        """Tell whether nobody may have taken the tree, though much more than a minute passed."""
        return self.now > 3 * STALE_S and self.longest_s < STALE_S - RENEW_S


def filled(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name / "below").mkdir(parents=True)
        for number in range(30):
            (folder / name / "below" / str(number)).write_bytes(b"x")


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(tmp_path / "tree", monkeypatch)


def mailbox_of(slow: Slow) -> Mailbox:
    mailbox = Mailbox(str(slow.tree), None)
    mailbox.keep_alive = slow.lease.keep
    return mailbox


def test_the_directory_of_a_finished_job_is_removed(slow: Slow) -> None:
    filled(slow.tree / "directories" / "0" / "1")
    mailbox_of(slow).remove_job_directory(1)
    assert not (slow.tree / "directories" / "0" / "1").exists()
    assert slow.is_kept()


def test_outputs_are_published(slow: Slow, tmp_path: Path) -> None:
    filled(tmp_path / "source")
    mailbox_of(slow).move(str(tmp_path / "source"), str(tmp_path / "target"))
    assert (tmp_path / "target" / "b" / "below" / "29").exists()
    assert slow.is_kept()


def test_what_a_lost_master_left_is_swept(slow: Slow) -> None:
    for number in range(30):
        (slow.tree / "orders" / f"j-{number}").touch()
        (slow.tree / "bundles" / f"j-{number}.0").touch()
    filled(slow.tree / "directories" / "0" / "7")
    mailbox_of(slow).sweep(set(), set(), lambda _: False)
    assert not list((slow.tree / "orders").iterdir())
    assert slow.is_kept()


def test_submissions_are_tidied_and_bundles_forgotten(slow: Slow) -> None:
    for number in range(60):
        (slow.tree / "results" / f"j.{number}").touch()
        (slow.tree / "bundles" / f"j.{number}").touch()
    mailbox = mailbox_of(slow)
    mailbox.tidy("j", [f"j.{number}" for number in range(60)])
    mailbox.forget_bundles(f"j.{number}" for number in range(60))
    assert not list((slow.tree / "results").iterdir())
    assert slow.is_kept()


def test_a_master_renews_its_lease_between_all_it_was_to_do(slow: Slow, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with living(home) as run:
        run.mailbox = mailbox_of(slow)
        master = Master(run, slow.lease)
        run.effects += [lambda: slow.pass_time(PIECE_S) for _ in range(60)]
        master.commit_and_act()
        assert slow.is_kept()
        master.close()
        run.mailbox.close()


def test_a_scheduler_that_is_slow_at_a_restart_is_waited_for(
    slow: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keepalive, "LOOK_S", 0.001)
    renewed = threading.Event()
    keep = slow.lease.keep

    def noting() -> None:
        slow.pass_time(PIECE_S)
        keep()
        if slow.lease.holder.renewed > 20:
            renewed.set()

    monkeypatch.setattr(slow.lease, "keep", noting)
    adopted = keep_alive_during(lambda: renewed.wait(60), slow.lease.keep)
    assert adopted
    assert slow.is_kept()


def test_what_is_being_done_ends_where_the_tree_is_lost(slow: Slow) -> None:
    filled(slow.tree / "directories" / "0" / "1")
    mailbox = mailbox_of(slow)
    other = slow.lease.holder._replace(epoch=2, host="elsewhere", nonce="other")
    assert slow.leases.make(other)
    with pytest.raises(LostTree):
        mailbox.remove_job_directory(1)
    assert len(list((slow.tree / "directories" / "0" / "1").rglob("*"))) > 40


def test_a_master_gives_its_mailbox_something_to_do_between(tmp_path: Path) -> None:
    with living(tmp_path) as run:
        lease: Any = SimpleNamespace(keep=lambda: None)
        master = Master(run, lease)
        assert run.mailbox.keep_alive is lease.keep
        master.close()
