"""A node that does not see the tree: told, left out, and the tree finished on the others.

Owns that one condition. Read next: test_black_hole.py, nodes on which jobs die for another reason.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

import pytest

from tests.live.slurm.lab import Lab
from tests.live.slurm.trees import Tree

MANY = 60

BODY = """
class Root(Target):
    def run(self):
        for number in range({many}):
            self.addChildTarget(Leaf(number))
class Leaf(Target):
    def __init__(self, number):
        super().__init__(memory=(100 + number) * 2**20, time=60, cpu=4)
        self.number = number
    def run(self):
        note("ran", os.environ["SLURMD_NODENAME"])
        note("done", str(self.number))
"""

PYTHON = """#!/bin/sh
[ "$SLURMD_NODENAME" != {node} ] ||
    exec unshare --mount -- sh -c '{hide}' sh {directory} {python} "$@"
exec {python} "$@"
"""


def planted(plant: Callable[..., Tree]) -> Tree:
    """Return a tree below a directory of its own, which a node may not see."""
    tree = plant()
    tree.write(BODY.format(many=MANY))
    (tree.home / "mount").mkdir(mode=0o755)
    tree.directory = tree.home / "mount" / tree.name
    return tree


def assert_left_out(tree: Tree, node: str, said: str) -> None:
    assert sorted(map(int, tree.lines("done"))) == list(range(MANY))
    assert node not in tree.lines("ran")
    assert f"node {node} is left out for 60 minutes" in said
    lost = [line for line in said.splitlines() if line.startswith("lost ") or " lost job=" in line]
    assert 2 <= len(lost) <= 25, "few attempts are lost there"
    assert "its worker ended before it began (launch failed" in said


@pytest.mark.slow
def test_workers_that_find_no_tree_speak_against_their_node(
    slurm: Lab, plant: Callable[..., Tree]
) -> None:
    node = slurm.nodes[0]  # the first choice of Slurm
    tree = planted(plant)
    python = tree.home / "python"
    hide = 'mount -t tmpfs none "$1" && shift && exec "$@"'
    python.write_text(
        PYTHON.format(
            node=node, hide=hide, directory=tree.home / "mount", python=json.dumps(sys.executable)
        )
    )
    python.chmod(0o755)
    with tree.site.open("a") as site:
        site.write(f"\n[worker]\npython = {json.dumps(str(python))}\n")
    said = tree.run("--maxJobs", "8")
    assert_left_out(tree, node, said)
    assert f"the tree {tree.directory} is not to be seen on the node {os.uname().nodename}" in said


@pytest.mark.slow
def test_a_node_that_cannot_even_open_the_output_is_left_out(
    slurm: Lab, plant: Callable[..., Tree]
) -> None:
    node = slurm.nodes[0]
    tree = planted(plant)
    slurm.fault("hide", f"{node}:{tree.home / 'mount'}")
    assert_left_out(tree, node, tree.run("--maxJobs", "8"))
