"""A tree whose every step, when it is through, says so in an audit file.

Leaves are Targets, shell commands and chains of single children; sums go up through files. A step
appends "NAME ATTEMPT" as its last act: a name that stands there twice ran twice to its end.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from shlex import quote

from jobtree import Stack, Target

WORK_S = 0.03


class Step(Target):
    """A step with a name; it takes a while, then says that it is through."""

    def __init__(self, audit: str, name: str) -> None:
        super().__init__(time=60, memory="100M")
        self.audit, self.name = audit, name

    def finish(self) -> None:
        time.sleep(WORK_S)  # the work
        fd = os.open(self.audit, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, f"{self.name} {self.getAttempt()}\n".encode())
        os.close(fd)

    def leave(self, value: int, path: str) -> None:
        draft = f"{path}.{self.getAttempt()}"
        with open(draft, "w", encoding="ascii") as file:
            file.write(f"{value}\n")
        os.replace(draft, path)


class Down(Step):
    def __init__(self, audit: str, name: str, depth: int, width: int, output: str) -> None:
        super().__init__(audit, name)
        self.depth, self.width, self.output = depth, width, output

    def run(self) -> None:
        if self.depth == 0:
            self.leave(1, self.output)
            self.finish()
            return
        shared = self.getGlobalTempDir()
        for number in range(self.width):
            name, output = f"{self.name}.{number}", f"{shared}/{number}.sum"
            if number == 0:
                self.addChildTarget(Link(self.audit, name, self.depth - 1, self.width, output))
            elif number == 1 and self.depth == 1:
                self.addChildCommand(
                    f"echo 1 >{quote(output)}; echo {name} 0 >>{quote(self.audit)}",
                    runTime=60,
                    memory="100M",
                )
            else:
                self.addChildTarget(Down(self.audit, name, self.depth - 1, self.width, output))
        self.setFollowOnTarget(Up(self.audit, f"{self.name}-up", shared, self.width, self.output))
        self.finish()


class Link(Step):
    """A step with a single child and no follow-on: one worker runs both in a row."""

    def __init__(self, audit: str, name: str, depth: int, width: int, output: str) -> None:
        super().__init__(audit, name)
        self.depth, self.width, self.output = depth, width, output

    def run(self) -> None:
        below = f"{self.name}-below"
        self.addChildTarget(Down(self.audit, below, self.depth, self.width, self.output))
        self.finish()


class Up(Step):
    def __init__(self, audit: str, name: str, shared: str, width: int, output: str) -> None:
        super().__init__(audit, name)
        self.shared, self.width, self.output = shared, width, output

    def run(self) -> None:
        total = 0
        for number in range(self.width):
            with open(f"{self.shared}/{number}.sum", encoding="ascii") as file:
                total += int(file.read())
        draft = f"{self.getAttemptDir()}/sum"
        self.leave(total, draft)
        self.publish(draft, self.output)
        self.finish()


def names(name: str, depth: int, width: int) -> list[str]:
    """Return the names of all steps, each after those it has to wait for, but for `-up`."""
    if depth == 0:
        return [name]
    found = [name]
    for number in range(width):
        child = f"{name}.{number}"
        if number == 0:
            found += [child, *names(f"{child}-below", depth - 1, width)]
        elif number == 1 and depth == 1:
            found.append(child)
        else:
            found += names(child, depth - 1, width)
    return [*found, f"{name}-up"]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("audit")
    parser.add_argument("output")
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--width", type=int, default=3)
    Stack.addJobTreeOptions(parser)
    options = parser.parse_args()
    root = Down(options.audit, "root", options.depth, options.width, options.output)
    return 1 if Stack(root).startJobTree(options) else 0


if __name__ == "__main__":
    sys.exit(main())
