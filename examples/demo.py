"""Sort 100 MB of real text with jobTree on this machine, and compare with what sort(1) makes of it.

    make demo                               or   python examples/demo.py --megabytes 500

The text is that of the installed Python library, /usr/share/doc, /usr/share/dict and /usr/include:
whatever of it there is, more than once if it takes that. All of it happens in a temporary
directory, which is removed. The exit status is 0 only if the result is right.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

SORT = Path(__file__).resolve().with_name("sort.py")
TEXT = (sysconfig.get_path("stdlib"), "/usr/share/doc", "/usr/share/dict", "/usr/include")
SKIPPED = ("site-packages", "dist-packages", "__pycache__")
BLOCK_BYTES = 1024 * 1024


class Sum(NamedTuple):
    """What does not change when lines are put into another order."""

    lines: int
    bytes: int
    digest: int


def main() -> int:
    """Run the demonstration; return 0 if all went well."""
    parser = argparse.ArgumentParser(description="Sort real text with jobTree, and check it.")
    parser.add_argument("--megabytes", type=int, default=100, metavar="N",
                        help="how much, at least (default: 100)")  # fmt: skip
    wanted = parser.parse_args().megabytes * 1_000_000
    place = Path(tempfile.mkdtemp(prefix="jobtree-demo-"))
    try:
        return demonstrate(place, wanted)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def demonstrate(place: Path, wanted: int) -> int:
    """Gather, sort, compare, and say how it went."""
    text, output, tree = place / "text", place / "text.sorted", place / "sort.jt"
    files = gather(text, wanted)
    size = text.stat().st_size
    say(f"gathered {size / 1e6:,.0f} MB of text from {files:,} files")

    command = [sys.executable, str(SORT), str(text), "--output", str(output)]
    command += ["--jobTree", str(tree), "--batchSystem", "singleMachine", "--stats"]
    say("now running: python examples/sort.py text --jobTree sort.jt --stats")
    started = time.monotonic()
    status = subprocess.run(command, check=False).returncode
    took_s = time.monotonic() - started
    if status:
        say(f"FAILED: the sort ended with exit status {status}")
        return 1

    by_whom = "sort(1)" if shutil.which("sort") else "a check of order and content"
    fault = why_not_right(text, output, place / "expected")
    if fault:
        say(f"FAILED: {fault}")
        return 1
    jobs = jobs_done(tree)
    say(f"right, says {by_whom}: {size / 1e6:,.0f} MB in {took_s:.1f} s, {jobs} jobs")
    return 0


def gather(text: Path, wanted: int) -> int:
    """Write real text until there is enough; return from how many files it came."""
    written = files = 0
    with text.open("wb") as out:
        while written < wanted:
            before = written
            for path in text_files():
                try:
                    content = path.read_bytes()
                except OSError:
                    continue
                if b"\0" in content[:8192] or not content.strip():
                    continue
                written += out.write(content if content.endswith(b"\n") else content + b"\n")
                files += 1
                if written >= wanted:
                    break
            if written == before:
                raise SystemExit(f"there is no text on this machine in {', '.join(TEXT)}")
    return files


def text_files() -> Iterator[Path]:
    """Yield the files to read, in the same order each time."""
    for root in TEXT:
        for place, directories, names in os.walk(root):
            directories[:] = sorted(name for name in directories if name not in SKIPPED)
            for name in sorted(names):
                path = Path(place, name)
                if path.is_file() and not name.endswith((".gz", ".pyc", ".png", ".gif")):
                    yield path


def why_not_right(text: Path, output: Path, expected: Path) -> str:
    """Return what is wrong with the sorted text; "" if nothing is."""
    if not output.is_file():
        return f"there is no {output.name}"
    if shutil.which("sort"):
        environment = os.environ | {"LC_ALL": "C", "TMPDIR": str(expected.parent)}
        subprocess.run(["sort", "-o", str(expected), str(text)], env=environment, check=True)
        return "" if same(output, expected) else "sort(1) makes something else of it"
    with output.open("rb") as file:
        if any(a.rstrip(b"\n") > b.rstrip(b"\n") for a, b in pairwise(file)):
            return "the lines are not in order"
    return "" if content_of(text) == content_of(output) else "lines were lost or added"


def same(one: Path, other: Path) -> bool:
    """Tell whether two files are the same, byte by byte."""
    with one.open("rb") as first, other.open("rb") as second:
        while block := first.read(BLOCK_BYTES):
            if block != second.read(BLOCK_BYTES):
                return False
        return not second.read(1)


def content_of(path: Path) -> Sum:
    """Return how many lines a file has, and the sum of their digests."""
    lines = size = digest = 0
    with path.open("rb") as file:
        for line in file:
            lines, size = lines + 1, size + len(line)
            digest += int.from_bytes(blake2b(line, digest_size=8).digest())
    return Sum(lines, size, digest % 2**64)


def jobs_done(tree: Path) -> str:
    """Return the number of jobs, as `jobtree status` tells it."""
    command = [sys.executable, "-m", "jobtree", "status", str(tree), "--json"]
    told = subprocess.run(command, check=False, stdout=subprocess.PIPE).stdout
    return f"{json.loads(told)['done']:,}"


def say(message: str) -> None:
    """Tell people how far it is."""
    print(f"demo: {message}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
