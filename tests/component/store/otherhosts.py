"""Holders elsewhere, and a clock that is turned by waiting."""

from __future__ import annotations

from pathlib import Path

from jobtree.store import holder, lease

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


class Time:
    """A clock that is turned by waiting."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds
