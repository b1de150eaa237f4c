"""What pages for Grid Engine tell people to type works on a real one, and prints what they show.

Read next: tests/integration/pages.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.pages import follow, shimmed
from tests.live.sge.lab import Lab


@pytest.mark.slow
@pytest.mark.parametrize("page", ["docs/sge.md", "docs/drmaa.md"])
def test_a_page_does_what_it_says(page: str, sge: Lab, open_tmp_path: Path) -> None:
    home = open_tmp_path / "home"
    home.mkdir()
    own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
    follow(page, home, shimmed(open_tmp_path / "bin", {**sge.env, **own}))
    assert not sge.run("qstat", "-u", "*").stdout, "a page leaves no job behind"
