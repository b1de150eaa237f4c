"""What README.md and the tutorial tell people to type works, and prints what they show.

Owns which pages these are; those for a cluster are followed on a real one, in tests/live.
Read next: pages.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pages import ROOT, follow, shimmed

PAGES = ("README.md", "docs/tutorial.md")
OF_CLUSTERS = ("docs/admin.md", "docs/slurm.md", "docs/sge.md")

pytestmark = [pytest.mark.usefixtures("no_stray_processes"), pytest.mark.slow]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return shimmed(tmp_path / "bin", os.environ)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page: str, tmp_path: Path, environment: dict[str, str]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    follow(page, home, environment)


def verbs_named(page: str) -> Iterator[str]:
    for found in re.finditer(
        r"`jobtree ([a-z]+(?: (?:init|show|check|doctor)\b)?)", (ROOT / page).read_text()
    ):
        yield found[1]


@pytest.mark.parametrize("page", [*PAGES, *OF_CLUSTERS])
def test_the_verbs_a_page_names_exist(page: str, environment: dict[str, str]) -> None:
    for verb in {*verbs_named(page)}:
        argv = [sys.executable, "-m", "jobtree", *verb.split(), "--help"]
        done = subprocess.run(argv, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, f"{page} names `jobtree {verb}`: {done.stderr.decode()}"


@pytest.mark.parametrize("page", [*PAGES, *OF_CLUSTERS, "docs/index.md"])
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"
