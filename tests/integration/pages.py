"""Pages of the documentation, followed as people would: typed, saved, and compared.

Owns the reading of pages: sh blocks are run in one directory in order, python and toml blocks are
saved under the name in their first line, text blocks must be found in what the block before
printed. Read next: test_readme.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LONGEST_S = 600.0
SAVED = ("python", "toml")
"""Kinds of blocks that are files."""

SKIPPED = re.compile(
    r"(python3 -m venv|\S+/bin/pip install|export PATH=/shared/jobtree/bin) *\S*.*"
)
"""Installing, which test_wheel.py does."""


class Block(NamedTuple):
    """One block of a page. where: PAGE:LINE."""

    kind: str
    text: str
    where: str


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page, in order."""
    content = (ROOT / page).read_text()
    return [
        Block(found[1], found[2], f"{page}:{content.count(chr(10), 0, found.start()) + 1}")
        for found in BLOCK.finditer(content)
    ]


def shimmed(place: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which `jobtree` and `python` are those under test.

    sudo acts on `etc` beside these commands, in the place of /etc.
    """
    place.mkdir()
    etc = place.parent / "etc"
    script = f"for word; do shift; case $word in /etc/*) word={etc}${{word#/etc}};; esac; "
    script += 'set -- "$@" "$word"; done; "$@"'
    for name, words in (
        ("jobtree", f"exec '{sys.executable}' -m jobtree \"$@\""),
        ("python", f"exec '{sys.executable}' \"$@\""),
        ("sudo", script),
    ):
        shim = place / name
        shim.write_text(f"#!/bin/sh\n{words}\n")
        shim.chmod(0o755)
    path = os.pathsep.join(p for p in (str(ROOT), environment.get("PYTHONPATH", "")) if p)
    return {**environment, "PATH": f"{place}:{environment['PATH']}", "PYTHONPATH": path}


def follow(page: str, home: Path, environment: Mapping[str, str]) -> None:
    """Do what a page says, from its beginning to its end; fail where it says what is not so."""
    printed = ""
    for block in blocks(page):
        if block.kind in SAVED:
            name = re.match(r"# ([\w/.-]+\.(?:py|toml))\n", block.text)
            assert name, f"{block.where}: no file name in the first line"
            (home / name[1]).write_text(block.text)
        elif block.kind == "sh":
            printed = run(block, home, environment)
        elif block.kind == "text":
            assert_shown(block, printed)


def run(block: Block, home: Path, environment: Mapping[str, str]) -> str:
    """Run a block; what is for a checkout, not for this directory, is checked instead."""
    lines = []
    for line in block.text.splitlines():
        if line.startswith("make "):
            assert_in_makefile(line.removeprefix("make "), block)
        elif line == ". .venv/bin/activate":
            assert re.search(r"^VENV +\?= \.venv$", makefile(), re.MULTILINE), block.where
        elif SKIPPED.fullmatch(line):
            continue
        else:
            lines.append(line)
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join(lines)],
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LONGEST_S,
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{block.where}: exit status {done.returncode}\n{said}"
    assert "Traceback" not in said or "Traceback" in (ROOT / page_of(block)).read_text(), said
    return said


def page_of(block: Block) -> str:
    """Return the page a block stands on."""
    return block.where.rpartition(":")[0]


def makefile() -> str:
    """Return the Makefile."""
    return (ROOT / "Makefile").read_text()


def assert_in_makefile(target: str, block: Block) -> None:
    """Fail unless the Makefile has a target."""
    found = re.search(rf"^{re.escape(target)}:", makefile(), re.MULTILINE)
    assert found, f"{block.where}: the Makefile has no {target}"


def assert_shown(block: Block, printed: str) -> None:
    """Fail unless the lines of a text block stand in what was printed, in that order."""
    left = iter(printed.splitlines())
    for line in block.text.splitlines():
        parts = (re.escape(part) for part in line.split("..."))
        wanted = re.compile(".*".join(parts))
        assert any(wanted.fullmatch(said) for said in left), (
            f"{block.where}: not printed, or not in this place: {line!r}\n{printed}"
        )
