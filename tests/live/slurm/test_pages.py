"""What pages for clusters tell people to type works on a real Slurm, and prints what they show.

Read next: tests/integration/pages.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.pages import follow, shimmed
from tests.live.slurm.lab import Lab


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", ["docs/admin.md", "docs/slurm.md"])
def test_a_page_does_what_it_says(page: str, slurm: Lab, open_tmp_path: Path) -> None:
    home = open_tmp_path / "home"
    home.mkdir()
    own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
    follow(page, home, shimmed(open_tmp_path / "bin", {**slurm.env, **own}))
    assert not slurm.run("squeue", "-h").stdout, "a page leaves no job behind"
    if "admin" in page:
        etc = open_tmp_path / "etc"
        assert (etc / "jobtree/site.toml").read_text() == (home / "site.toml").read_text()
        assert (etc / "slurm/jobtree-epilog.sh").read_text().startswith("#!/bin/sh")
