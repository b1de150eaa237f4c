"""The pages that say which tests hold a rule or a promise name tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = [page for page in ("rules.md", "reliability.md") if (ROOT / "docs" / page).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_every_test_a_page_names_exists(page: str) -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", (ROOT / "docs" / page).read_text()))
    defined = set()
    for path in (ROOT / "tests").rglob("*.py"):
        defined |= set(re.findall(r"def (test_[a-zA-Z0-9_]+)\(", path.read_text()))
        defined.add(path.stem)
    assert named
    assert not named - defined


MAYBE_THERE = re.compile(r"""["'=](/nonexistent|/no/such)\b""")
ONLY_TEXT = {"test_defaults.py", "test_parse.py"}


def test_what_must_not_exist_cannot_be_made() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / "tests").rglob("*.py")
        if path.name not in ONLY_TEXT
        for line in path.read_text().splitlines()
        if MAYBE_THERE.search(line) and "MAYBE_THERE" not in line
    ]
    assert not found, "name a place in /proc instead"
