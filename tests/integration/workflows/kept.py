"""The workflow of the trees in tests/data/trees: something of all that a tree can hold.

Every step says in the file `audit` that it is through. Whoever makes the files `go`, `late` and
`input` lets it run to its end; without them it comes to where the half-finished tree stands. All
paths are relative to where it is run, so that a tree of it can be moved. What it is made of is
pickled in those trees: names and arguments must stay.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from itertools import pairwise
from pathlib import Path

from jobtree import Stack, Target

LONG_S, SHORT_S = 600, 10
"""Estimates: of the long ones each gets a batch job, the short ones are packed."""

GROWS = (
    """sed -i 's|<job |<job command="echo regrown >>audit" plain="1" |; """
    """s|<children/>|<children><child command="echo grown >>audit" plain="1"/></children>|' """
    "JOB_FILE; echo grows >>audit"
)
"""A command of the JOB_FILE protocol: it adds a child and a follow-on."""

EARLY = ("function", "grown", "grows", "isolated", "published", "regrown", "shell", "subclass")
SHORT = tuple(f"short-{number}" for number in range(10))
NAMES = (
    *("root", "sum", "opener", "input", "branch", "branch-1", "branch-1-1", "branch-2"),
    *("branch-after", "chain-1", "chain-2", "chain-3", "chain-4", "held-isolated", "held-last"),
    *("held-pack", "published-late", "shell-late", *EARLY, *SHORT),
)
"""All steps: each stands in the audit once when the tree is done."""


def wait_for(name: str) -> None:
    while not os.path.exists(name):
        time.sleep(0.01)


def note(name: str) -> None:
    with open("audit", "a", encoding="ascii") as audit:
        audit.write(f"{name}\n")


def function(target: Target, name: str) -> None:
    target.logToMaster(f"this is {name}")
    note(name)


class Step(Target):
    """Says that it is through."""

    def __init__(self, name: str, time: float = LONG_S, isolate: bool = False) -> None:
        super().__init__(time=time, isolate=isolate)
        self.name = name

    def run(self) -> None:
        self.work()
        print(f"{self.name} prints")
        note(self.name)

    def work(self) -> None:
        pass


class Held(Step):
    """Begins, and ends when there is a file `go`."""

    def work(self) -> None:
        Path(f"{self.name}.begun").touch()
        wait_for("go")


class Reader(Step):
    """Fails as long as its input is missing."""

    def work(self) -> None:
        Path("input").read_text()


class Publisher(Step):
    def work(self) -> None:
        draft = Path(self.getAttemptDir(), "draft")
        draft.write_text(f"{self.name}\n")
        self.publish(draft, os.path.abspath(self.name))


class Tally:
    """What the links of the chain share: each counts itself in it."""

    def __init__(self) -> None:
        self.counted: list[str] = []


class Link(Step):
    """One of a chain that was set up beforehand. gate: the file without which it does not end."""

    def __init__(self, name: str, tally: Tally, gate: str = "") -> None:
        super().__init__(name)
        self.tally, self.gate = tally, gate

    def work(self) -> None:
        Path(f"{self.name}.begun").touch()
        if self.gate:
            wait_for(self.gate)
        self.tally.counted.append(self.name)
        if not self.getFollowOn():
            Path("tally").write_text(" ".join(self.tally.counted))


def chain() -> Target:
    tally = Tally()
    links = [
        Link("chain-1", tally),
        Link("chain-2", tally, "late"),
        Link("chain-3", tally, "go"),
        Link("chain-4", tally),
    ]
    for link, following in pairwise(links):
        link.setFollowOnTarget(following)
    return links[0]


def branch() -> Target:
    """Return a Target whose descendants are all set up beforehand."""
    top, below = Step("branch"), Held("branch-1")
    below.addChildTarget(Step("branch-1-1"))
    top.addChildTarget(below)
    top.addChildTargetFn(function, ("branch-2",), time=LONG_S)
    top.setFollowOnTargetFn(function, kwargs={"name": "branch-after"}, time=LONG_S)
    return top


class Root(Step):
    def work(self) -> None:
        self.addChildTarget(Opener("opener"))
        self.addChildTarget(Step("subclass"))
        self.addChildTargetFn(function, ("function",), time=LONG_S)
        self.addChildCommand("echo shell >>audit", runTime=LONG_S)
        self.addChildCommand(GROWS, runTime=LONG_S)
        self.addChildTarget(Step("isolated", isolate=True))
        self.addChildTarget(Publisher("published"))
        self.addChildTarget(Reader("input"))
        self.setFollowOnTarget(Sum("sum"))


class Opener(Step):
    """Lets the rest of the tree come when the first part of it is over."""

    def work(self) -> None:
        while not set(EARLY) <= set(Path("audit").read_text().split()):
            time.sleep(0.01)
        self.addChildTarget(chain())
        self.addChildTarget(branch())
        self.addChildTarget(Held("held-isolated", isolate=True))
        self.addChildTarget(Held("held-pack", SHORT_S))
        for name in SHORT:
            self.addChildTarget(Step(name, SHORT_S))
        self.addChildCommand("echo shell-late >>audit", runTime=SHORT_S)
        self.addChildTarget(Publisher("published-late", SHORT_S))
        self.addChildTarget(Held("held-last"))


class Sum(Step):
    """The last step of all: what all others have noted, in order."""

    def work(self) -> None:
        Path("result").write_text(" ".join(sorted(Path("audit").read_text().split())))


def main() -> int:
    parser = argparse.ArgumentParser()
    Stack.addJobTreeOptions(parser)
    return min(1, Stack(Root("root")).startJobTree(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
