"""Copies of trees: what they share, and what they must not.

Read next: flows.py.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from jobtree.store.store import Store
from tests.integration.flows import Workflow


def identity_of(tree: Path) -> str:
    store = Store(f"{tree}/tree.db")
    known = store.identity()
    store.close()
    return known


def test_a_copy_of_a_tree_gets_an_id_of_its_own_and_a_tree_renamed_keeps_its(
    tmp_path: Path,
) -> None:
    flow = Workflow(tmp_path)
    flow.write("class Root(Target):\n    def run(self):\n        raise ValueError\n")
    flow.run("--retryCount", "0", code=1)
    known = identity_of(flow.tree)
    assert known == json.loads((flow.tree / "jobtree.json").read_text())["id"]
    copy, renamed = tmp_path / "copy", tmp_path / "renamed"
    shutil.copytree(flow.tree, copy)
    flow.tree.rename(renamed)
    for tree in (copy, renamed):
        flow.command("restart", str(tree), code=None)
    assert identity_of(renamed) == known
    assert identity_of(copy) != known
