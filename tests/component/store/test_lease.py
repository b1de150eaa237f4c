"""The lease: of any two masters one wins, and the dead are told from the living."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobtree.errors import StoreError
from jobtree.store import holder, lease
from jobtree.store.holder import Holder, Place, is_alive
from jobtree.store.lease import Leases


@pytest.fixture
def tree(tmp_path: Path) -> str:
    (tmp_path / "leases").mkdir()
    return str(tmp_path)


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


class OtherHost:
    """A holder on another host, and a clock that a test turns by waiting."""

    def __init__(self, tree: str, renews_at: float | None) -> None:
        held, _ = lease.acquire(tree)
        self.time, self.renews_at, self.path = 0.0, renews_at, f"{tree}/leases/1"
        self.holder = held.holder._replace(host="elsewhere")
        self.write()

    def write(self) -> None:
        Path(self.path).write_bytes(holder.encode(self.holder))

    def wait(self, seconds: float) -> None:
        self.time += seconds
        if self.renews_at is not None and self.time >= self.renews_at:
            self.holder = self.holder._replace(renewed=self.holder.renewed + 1)
            self.write()


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

HERE = holder.here()
ELSEWHERE = {
    "another host": HERE._replace(host="elsewhere"),
    "another PID namespace of this host": HERE._replace(namespace="pid:[1] time:[1]"),
    "another machine of this host's name": HERE._replace(machine="0" * 32, boot="another"),
    "a clone of this machine, or this one before it was started again": HERE._replace(
        boot="another"
    ),
    "a container with a machine's id of its own": HERE._replace(machine=""),
    "a machine that does not tell its boot": HERE._replace(boot=""),
    "a place where /proc is another namespace's": HERE._replace(namespace=""),
}


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


class Time:
    """A clock that is turned by waiting."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


# ---- what a lease file may say ------------------------------------------------------------


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
