"""A master in a process of its own, with a host's name, a patience and a clock of its choice.

Owns what of the world is bent, and says so by its options; must not change the master itself.
Run by test_takeover.py: `masters.py [--host H] [--stale S] [--renew S] [--jumps] SCRIPT ARGS`,
or `masters.py --race ROUNDS DIRECTORY`.
"""

from __future__ import annotations

import argparse
import os
import runpy
import socket
import sys
import time
from pathlib import Path

from jobtree import Stack, Target
from jobtree.errors import StoreError
from jobtree.store import lease


class Jumpy:
    """A wall clock that jumps an hour forward and back, at every look."""

    def __init__(self) -> None:
        self._real, self._looks = time.time, 0

    def __call__(self) -> float:
        self._looks += 1
        return self._real() + (0.0, 3600.0, 0.0, -3600.0)[self._looks % 4]


class Gated(Target):
    """Counts itself, and ends when the gate says so."""

    def __init__(self, home: str) -> None:
        super().__init__()
        self.home = home

    def run(self) -> None:
        with open(f"{self.home}/ran", "a") as ran:
            ran.write("x\n")
        with open(f"{self.home}/gate") as gate:
            gate.read()


def start_one(home: str) -> int:
    """Be one of two masters; return its exit status."""
    parser = argparse.ArgumentParser()
    Stack.addJobTreeOptions(parser)
    given = parser.parse_args(["--jobTree", f"{home}/tree", "--logLevel", "CRITICAL"])
    try:
        return min(1, Stack(Gated(home)).startJobTree(given))
    except StoreError as error:
        Path(home, f"refused.{error.code}").touch()
        return 5


def race(rounds: int, directory: str) -> None:
    """Start two masters at the same instant, again and again; print how each round went."""
    for number in range(rounds):
        home = f"{directory}/{number}"
        os.mkdir(home)
        os.mkfifo(f"{home}/gate")
        reader, writer = os.pipe()
        racers = []
        for _ in range(2):
            pid = os.fork()
            if pid == 0:
                os.close(writer)
                os.read(reader, 1)  # until the writer's end is closed: both at once
                os._exit(start_one(home))
            racers.append(pid)
        os.close(reader)
        os.close(writer)
        first, status = os.wait()
        gate = os.open(f"{home}/gate", os.O_WRONLY)
        os.close(gate)
        _, last = os.waitpid(racers[1 - racers.index(first)], 0)
        ran = len(Path(home, "ran").read_text().split())
        codes = sorted(path.suffix[1:] for path in Path(home).glob("refused.*"))
        print(os.waitstatus_to_exitcode(status), os.waitstatus_to_exitcode(last), ran, *codes)


def main() -> None:
    """Bend the world, and be a master in it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host")
    parser.add_argument("--stale", type=float)
    parser.add_argument("--renew", type=float)
    parser.add_argument("--jumps", action="store_true")
    parser.add_argument("--race", type=int)
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.race:
        race(given.race, given.rest[0])
        return
    if given.host:
        socket.gethostname = lambda: given.host
    if given.stale:
        lease.STALE_S, lease.POLL_S = given.stale, given.stale / 20
    if given.renew:
        lease.RENEW_S = given.renew
    if given.jumps:
        vars(time)["time"] = Jumpy()
    sys.argv = given.rest
    runpy.run_path(given.rest[0], run_name="__main__")


if __name__ == "__main__":
    main()
