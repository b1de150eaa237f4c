"""Trees of four shapes, whose jobs take a while on the way up and leave a daemon behind.

A daemon keeps the output of its job open and would live for ten minutes. Each job writes down when
it began and ended, so that one can see how many ran at once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from jobtree import Stack, Target

WORK_S = 0.5
SHAPES: dict[str, dict[int, list[int]]] = {
    "comb": {0: [1], 1: [2], 2: [3], 3: [4], 4: [5]},
    "star": {0: list(range(1, 9))},
    "balanced": {0: [1, 2], 1: [3, 4], 2: [5, 6], 3: [7, 8], 4: [9, 10]},
    "fly": {0: [1, 2], 1: [3], 2: [4], 3: [5, 6, 7], 4: [8, 9, 10]},
}


class Down(Target):
    def __init__(self, shape: str, node: int, times: str) -> None:
        super().__init__(time=60, memory="100M")
        self.shape, self.node, self.times = shape, node, times

    def run(self) -> None:
        for child in SHAPES[self.shape].get(self.node, []):
            self.addChildTarget(Down(self.shape, child, self.times))
        self.setFollowOnTarget(Up(self.node, self.times))


class Up(Target):
    def __init__(self, node: int, times: str) -> None:
        super().__init__(time=60, memory="100M")
        self.node, self.times = node, times

    def run(self) -> None:
        began = time.time()
        subprocess.run(["sh", "-c", "setsid sleep 600 &"], check=True)
        time.sleep(WORK_S)  # the work
        fd = os.open(self.times, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, f"{self.node} {began:.6f} {time.time():.6f}\n".encode())
        os.close(fd)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--times", required=True)
    Stack.addJobTreeOptions(parser)
    options = parser.parse_args()
    return 1 if Stack(Down(options.shape, 0, options.times)).startJobTree(options) else 0


if __name__ == "__main__":
    sys.exit(main())
