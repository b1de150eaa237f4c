"""A place for hostile tests: a directory, a script, a tree, and a canary that must not appear.

Owns where things lie and what the canary is called; must not know how anything is attacked.
Read next: test_hostile_names.py, test_hostile_files.py, test_hostile_secrets.py.
"""

from __future__ import annotations

from pathlib import Path

CANARY = "canary"


class Place:
    """A directory with a workflow and a tree, all called as the test likes."""

    def __init__(self, home: Path, script: str = "flow.py", tree: str = "tree") -> None:
        self.home, self.script, self.tree = home, home / script, home / tree
        home.mkdir(parents=True, exist_ok=True)

    def no_canary(self) -> None:
        found = [path for path in self.home.rglob("*") if path.name == CANARY]
        assert not found
        assert not Path(CANARY).exists()
