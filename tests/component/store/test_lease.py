"""The lease: of any two masters one wins, and the dead are told from the living."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from jobtree.errors import StoreError
from jobtree.store import lease
from jobtree.store.holder import is_alive
from jobtree.store.lease import Leases
from tests.component.store.otherhosts import OtherHost


def test_the_first_master_gets_epoch_one_and_the_next_two(tree: str) -> None:
    first, before = lease.acquire(tree)
    assert (first.epoch, before) == (1, None)
    first.release()
    second, before = lease.acquire(tree)
    assert second.epoch == 2
    assert before is not None
    assert before.released


def test_a_second_master_is_refused_naming_host_pid_and_remedy(tree: str) -> None:
    lease.acquire(tree)
    with pytest.raises(StoreError) as caught:
        lease.acquire(tree)
    said = str(caught.value)
    assert caught.value.code == "JT302"
    assert str(os.getpid()) in said
    assert os.uname().nodename in said
    assert "jobtree status" in said


def test_a_dead_process_on_this_host_is_taken_over_at_once(tree: str) -> None:
    script = f"""
import os, signal
from jobtree.store import lease
lease.acquire({tree!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False)

    def no_waiting(_: float) -> None:
        raise AssertionError("waited for a dead process of this host")

    taken, _ = lease.acquire(tree, wait=no_waiting)
    assert taken.epoch == 2


def test_a_reused_pid_is_not_the_holder(tree: str) -> None:
    held, _ = lease.acquire(tree)
    impostor = held.holder._replace(started=held.holder.started - 1)
    assert is_alive(impostor) is False


def test_a_command_that_only_looks_is_waited_for(tree: str) -> None:
    looking, _ = lease.acquire(tree, looks=True)

    def wait(_: float) -> None:
        looking.release()

    taken, _ = lease.acquire(tree, wait=wait)
    assert taken.epoch == 2


def test_another_host_is_waited_for_and_then_taken_for_dead(tree: str) -> None:
    other = OtherHost(tree, renews_at=None)
    taken, before = lease.acquire(tree, wait=other.wait, clock=lambda: other.time)
    assert taken.epoch == 2
    assert other.time >= lease.STALE_S
    assert before is not None
    assert before.host == "elsewhere"


def test_another_host_that_renews_keeps_its_tree(tree: str) -> None:
    other = OtherHost(tree, renews_at=30.0)
    with pytest.raises(StoreError, match="held by another master"):
        lease.acquire(tree, wait=other.wait, clock=lambda: other.time)


def test_a_master_that_wakes_up_late_sees_that_it_lost_the_tree(tree: str) -> None:
    held, _ = lease.acquire(tree)
    other = held.holder._replace(epoch=2, host="elsewhere", nonce="other")
    assert Leases(tree).make(other)
    late = lease.Lease(Leases(tree), held.holder, clock=iter([0.0, 1e9]).__next__)
    assert late.renew() is False
    late.release()
    newest = lease.latest(tree)
    assert newest is not None
    assert not newest.released


def test_of_masters_started_together_exactly_one_wins(tree: str) -> None:
    script = f"""
import sys
from jobtree.store import holder, lease
from jobtree.errors import StoreError
from jobtree.store.holder import Holder, Place, is_alive
from jobtree.store.lease import Leases
print("ready", flush=True)
sys.stdin.readline()
try:
    lease.acquire({tree!r})
except StoreError as error:
    print("lost", flush=True)
else:
    print("won", flush=True)
sys.stdin.readline()
"""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    said = []
    for racer in racers:
        assert racer.stdout is not None
        said.append(racer.stdout.readline().strip())
    for racer in racers:
        racer.send_signal(signal.SIGKILL)
        racer.communicate()
    assert sorted(said) == ["lost"] * 5 + ["won"]


# ---- where a holder can be looked at, and where not --------------------------------------

# ---- what a lease file may say ------------------------------------------------------------
