"""Sort a text file of any size, in the order of `LC_ALL=C sort`, as a tree of jobs.

    python examples/sort.py words.txt --jobTree sort.jt

A Split too large to sort at once cuts its lines into parts, a child for each, and sets a Merge as
follow-on: it runs when all parts are sorted. No step alters what it reads, and each publishes its
result whole or not at all, so kill anything at any moment and give the same command again.
"""

from __future__ import annotations

import argparse
import os
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from jobtree import Stack, Target

LINE_BYTES = 48
"""What Python needs for a line of text beside the text itself."""


class Plan(NamedTuple):
    """What all steps of one sort have in common. leaf_lines: 0 for any number of them."""

    source: str
    leaf_bytes: int
    leaf_lines: int
    ways: int

    def memory(self, size: int) -> int:
        """Return the bytes that a step holds, be it that all lines are two bytes long."""
        return 64 * 1024**2 + min(size, self.leaf_bytes) * (2 + LINE_BYTES // 2)

    def seconds(self, size: int) -> float:
        """Return a time that even a slow disk keeps."""
        return 10 + size / 4e6


class Split(Target):
    """Sort the lines from `start` to `end` into `output`: at once, or each part by a child."""

    def __init__(self, plan: Plan, start: int, end: int, output: str) -> None:
        size = end - start
        super().__init__(time=plan.seconds(size), memory=plan.memory(size), cpu=1)
        self.plan, self.start, self.end, self.output = plan, start, end, output

    def run(self) -> None:
        """Sort, or grow children and what waits for them."""
        with open(self.plan.source, "rb") as file:
            cuts = self.cuts(file)
            if len(cuts) == 2:
                self.sort(file)
                return
        directory = self.getGlobalTempDir()
        parts = [f"{directory}/{number}" for number in range(len(cuts) - 1)]
        for part, (start, end) in zip(parts, pairwise(cuts), strict=True):
            self.addChildTarget(Split(self.plan, start, end, part))
        self.setFollowOnTarget(Merge(self.plan, self.end - self.start, parts, self.output))

    def sort(self, file: BinaryIO) -> None:
        """Sort in memory. Line ends are set aside first: a tab sorts before a line's end."""
        file.seek(self.start)
        lines = file.read(self.end - self.start).split(b"\n")
        if not lines[-1]:
            lines.pop()
        lines.sort()
        publish(self, [lines], self.output)

    def cuts(self, file: BinaryIO) -> list[int]:
        """Return where the parts begin and end; no more than two offsets say: do not cut."""
        size, plan = self.end - self.start, self.plan
        if size <= plan.leaf_bytes and not self.has_too_many_lines(file):
            return [self.start, self.end]
        found = {self.start, self.end}
        for way in range(1, plan.ways):
            position = max(self.start, self.start + size * way // plan.ways - 1)
            found.add(after_newline(file, position, self.end))
        return sorted(found)

    def has_too_many_lines(self, file: BinaryIO) -> bool:
        """Count lines, but never more than needed."""
        position = file.seek(self.start)
        for _ in range(self.plan.leaf_lines):
            position += len(file.readline(self.end - position))
            if position == self.end:
                return False
        return self.plan.leaf_lines > 0


class Merge(Target):
    """Merge sorted files into `output`, with no more than a block of each in memory."""

    def __init__(self, plan: Plan, size: int, parts: list[str], output: str) -> None:
        super().__init__(time=plan.seconds(size), memory=plan.memory(size), cpu=1)
        self.plan, self.parts, self.output = plan, parts, output

    def run(self) -> None:
        """Merge."""
        block_bytes = max(64 * 1024, self.plan.leaf_bytes // (2 * len(self.parts)))
        with ExitStack() as files:
            runs = [Run(files.enter_context(open(p, "rb")), block_bytes) for p in self.parts]
            publish(self, merged(runs), self.output)


class Run:
    """A sorted file, of which one block of lines is in memory: those from `at` on are left."""

    def __init__(self, file: BinaryIO, block_bytes: int) -> None:
        self.file, self.block_bytes = file, block_bytes
        self.lines: list[bytes] = []
        self.at = 0

    def fill(self) -> bool:
        """Read the next block if this one is used up; tell whether there are lines left."""
        if self.at == len(self.lines):
            block = self.file.read(self.block_bytes)
            self.lines, self.at = (block + self.file.readline()).split(b"\n"), 0
            self.lines.pop()
        return bool(self.lines)

    def take(self, limit: bytes) -> list[bytes]:
        """Return the lines in memory that do not come after `limit`."""
        start, self.at = self.at, bisect_right(self.lines, limit, self.at)
        return self.lines[start : self.at]


def merged(runs: Iterable[Run]) -> Iterator[list[bytes]]:
    """Yield all lines in order, in batches.

    Of the blocks in memory, the one that ends first sets the limit: nothing still on disk comes
    before it. Sorting what is below the limit is quick, being made of sorted pieces.
    """
    while runs := [run for run in runs if run.fill()]:
        limit = min(run.lines[-1] for run in runs)
        batch: list[bytes] = []
        for run in runs:
            batch += run.take(limit)
        batch.sort()
        yield batch


def publish(target: Target, batches: Iterable[list[bytes]], output: str) -> None:
    """Write lines where no other attempt at this step writes; have them moved when it is done."""
    draft = f"{target.getAttemptDir()}/sorted"
    with open(draft, "wb") as file:
        for lines in batches:
            if lines:
                file.write(b"\n".join(lines))
                file.write(b"\n")
    target.publish(draft, output)


def after_newline(file: BinaryIO, position: int, end: int) -> int:
    """Return the offset after the first newline at or after `position`, at most `end`."""
    file.seek(position)
    while position < end:
        block = file.read(min(64 * 1024, end - position))
        found = block.find(b"\n")
        if found >= 0:
            return position + found + 1
        if not block:
            raise OSError(f"{file.name} has become shorter")
        position += len(block)
    return end


def main() -> int:
    """Sort the file named on the command line; return 0 when it is done."""
    parser = argparse.ArgumentParser(description="Sort a text file as `LC_ALL=C sort` does.")
    parser.add_argument("file", help="the file to sort; it is not altered")
    parser.add_argument("--output", help="where to put the result (default: FILE.sorted)")
    parser.add_argument("--chunkBytes", type=int, default=4_000_000, metavar="N",
                        help="cut what is larger (default: 4000000)")  # fmt: skip
    parser.add_argument("--lines", type=int, default=0, metavar="N",
                        help="cut what has more lines, too (default: any number)")  # fmt: skip
    parser.add_argument("--ways", type=int, default=4, metavar="N",
                        help="into how many parts (default: 4)")  # fmt: skip
    Stack.addJobTreeOptions(parser)
    options = parser.parse_args()
    if options.chunkBytes < 1 or options.lines < 0 or options.ways < 2:
        parser.error("--chunkBytes must be at least 1, --lines 0, --ways 2")
    source = os.path.abspath(options.file)
    output = os.path.abspath(options.output or f"{options.file}.sorted")
    try:
        with open(source, "rb") as file:
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        parser.error(f"{options.file} cannot be sorted: {error.strerror}")
    plan = Plan(source, options.chunkBytes, options.lines, options.ways)
    if Stack(Split(plan, 0, size, output)).startJobTree(options):
        print("not sorted yet; to go on, give the same command again", file=sys.stderr)
        return 1
    print(f"sorted: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
