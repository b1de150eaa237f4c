"""What README.md and the tutorial tell people to type works, and prints what they show.

Owns the reading of the pages: sh blocks are run in one directory in order, python blocks are saved
under the name in their first line, text blocks must be found in what the block before printed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/tutorial.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LONGEST_S = 120.0

pytestmark = [pytest.mark.usefixtures("no_stray_processes"), pytest.mark.slow]


class Block(NamedTuple):
    """One block of a page. where: PAGE:LINE."""

    kind: str
    text: str
    where: str


def blocks(page: str) -> list[Block]:
    content = (ROOT / page).read_text()
    return [
        Block(found[1], found[2], f"{page}:{content.count(chr(10), 0, found.start()) + 1}")
        for found in BLOCK.finditer(content)
    ]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which `jobtree` and `python` are those under test."""
    shims = tmp_path / "bin"
    shims.mkdir()
    for name, words in (("jobtree", '-m jobtree "$@"'), ("python", '"$@"')):
        shim = shims / name
        shim.write_text(f"#!/bin/sh\nexec '{sys.executable}' {words}\n")
        shim.chmod(0o755)
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    return os.environ | {"PATH": f"{shims}:{os.environ['PATH']}", "PYTHONPATH": path}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page: str, tmp_path: Path, environment: dict[str, str]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    printed = ""
    for block in blocks(page):
        if block.kind == "python":
            name = re.match(r"# (\w+\.py)\n", block.text)
            assert name, f"{block.where}: no file name in the first line"
            (home / name[1]).write_text(block.text)
        elif block.kind == "sh":
            printed = run(block, home, environment)
        elif block.kind == "text":
            assert_shown(block, printed)


def run(block: Block, home: Path, environment: dict[str, str]) -> str:
    """Run a block; what is for a checkout, not for this directory, is checked instead."""
    lines = []
    for line in block.text.splitlines():
        if line.startswith("make "):
            assert_in_makefile(line.removeprefix("make "), block)
        elif line == ". .venv/bin/activate":
            assert re.search(r"^VENV +\?= \.venv$", makefile(), re.MULTILINE), block.where
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
    return block.where.rpartition(":")[0]


def makefile() -> str:
    return (ROOT / "Makefile").read_text()


def assert_in_makefile(target: str, block: Block) -> None:
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


def verbs_named(page: str) -> Iterator[str]:
    for found in re.finditer(r"`jobtree ([a-z]+)\b", (ROOT / page).read_text()):
        yield found[1]


@pytest.mark.parametrize("page", PAGES)
def test_the_verbs_a_page_names_exist(page: str, environment: dict[str, str]) -> None:
    for verb in {*verbs_named(page)}:
        argv = [sys.executable, "-m", "jobtree", verb, "--help"]
        done = subprocess.run(argv, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, f"{page} names `jobtree {verb}`: {done.stderr.decode()}"


@pytest.mark.parametrize("page", [*PAGES, "docs/index.md"])
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"
