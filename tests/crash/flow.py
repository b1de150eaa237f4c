"""The workflow that is killed: some sixty jobs with children, chains, packs, retries, publish().

Owns what the steps do and the right result; must not know that anything dies. Each step writes a
line to `audit` when it starts, in one O_APPEND write. Read next: audit.py, which judges.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from jobtree import Stack, Target

BRANCHES, LEAVES, PACKED, FLAKY, PUBLISHED, COMMANDS, LINKS = 3, 8, 14, 3, 4, 4, 8

PROTOCOL = """echo start grow 0 0 >> audit; echo 1 > "parts/grow~" && mv "parts/grow~" parts/grow
child() {
  echo "<child plain=\\"1\\" command=\\"echo start $1 0 0 &gt;&gt; audit; echo 1 &gt; parts/$1\\"/>"
}
echo "<job><children>$(child grown-1)$(child grown-2)</children></job>" > JOB_FILE"""


class Step(Target):
    """A step that leaves a trace and a part of the result."""

    def __init__(self, name: str) -> None:
        super().__init__(time=0.02, memory="64M")
        self.name = name

    def run(self) -> None:
        context = self._jobtree.context
        assert context is not None
        line = f"start {self.name} {context.job} {context.step}\n"
        fd = os.open("audit", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(fd, line.encode())
        os.close(fd)
        self.work()
        draft = Path(f"parts/{self.name}~{os.getpid()}")
        draft.write_text("1")
        draft.rename(f"parts/{self.name}")

    def work(self) -> None:
        """What this kind of step does besides."""


class Root(Step):
    def work(self) -> None:
        for number in range(BRANCHES):
            self.addChildTarget(Branch(f"branch-{number}"))
        for number in range(PACKED):
            self.addChildTarget(Step(f"packed-{number}"))
        for number in range(FLAKY):
            self.addChildTarget(Flaky(f"flaky-{number}"))
        for number in range(PUBLISHED):
            self.addChildTarget(Publisher(f"publisher-{number}"))
        for number in range(COMMANDS):
            name = f"command-{number}"
            self.addChildCommand(f"echo start {name} 0 0 >> audit; echo 1 > parts/{name}", 0.02)
        self.addChildCommand(PROTOCOL, 0.02)
        self.addChildTarget(Link("link-0"))
        self.setFollowOnTarget(Total("total"))


class Branch(Step):
    def work(self) -> None:
        for number in range(LEAVES):
            self.addChildTarget(Step(f"{self.name}-leaf-{number}"))
        Path(self.getGlobalTempDir(), "shared").write_text(self.name)
        self.setFollowOnTarget(Join(f"{self.name}-join"))


class Join(Step):
    def work(self) -> None:
        branch = self.name.removesuffix("-join")
        assert Path(self.getGlobalTempDir(), "shared").read_text() == branch
        assert all(Path(f"parts/{branch}-leaf-{n}").exists() for n in range(LEAVES))


class Flaky(Step):
    def work(self) -> None:
        try:
            os.close(os.open(f"tried/{self.name}", os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return
        raise ValueError("fails the first time")


class Publisher(Step):
    def work(self) -> None:
        Path(self.getLocalTempDir(), "scratch").write_text("x")
        draft = Path(self.getAttemptDir(), "draft")
        draft.write_text(self.name)
        self.publish(str(draft), os.path.abspath(f"published/{self.name}"))
        self.setFollowOnTarget(Reader(f"{self.name}-reader"))


class Reader(Step):
    def work(self) -> None:
        publisher = self.name.removesuffix("-reader")
        assert Path(f"published/{publisher}").read_text() == publisher


class Link(Step):
    def work(self) -> None:
        number = int(self.name.removeprefix("link-"))
        time.sleep(0.06)  # so that the chain is adopted while it goes on
        if number + 1 < LINKS:
            self.addChildTarget(Link(f"link-{number + 1}"))


class Total(Step):
    def work(self) -> None:
        draft = Path(self.getAttemptDir(), "total")
        parts = sorted(name for name in os.listdir("parts") if "~" not in name and name != "total")
        draft.write_text("\n".join(parts))
        self.publish(str(draft), os.path.abspath("result"))


def step_names() -> set[str]:
    """Return the name of every step that a whole run takes, but the last."""
    names = {"root", "grow", "grown-1", "grown-2"}
    names |= {f"branch-{n}" for n in range(BRANCHES)}
    names |= {f"branch-{n}-join" for n in range(BRANCHES)}
    names |= {f"branch-{n}-leaf-{leaf}" for n in range(BRANCHES) for leaf in range(LEAVES)}
    for kind, count in (
        ("packed", PACKED),
        ("flaky", FLAKY),
        ("publisher", PUBLISHED),
        ("command", COMMANDS),
        ("link", LINKS),
    ):
        names |= {f"{kind}-{n}" for n in range(count)}
    return names | {f"publisher-{n}-reader" for n in range(PUBLISHED)}


def main() -> int:
    for directory in ("parts", "tried", "published"):
        Path(directory).mkdir(exist_ok=True)
    parser = argparse.ArgumentParser()
    Stack.addJobTreeOptions(parser)
    return min(1, Stack(Root("root")).startJobTree(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
