"""A node on which every job dies at once: found, left out, and the tree finished elsewhere.

Owns that one condition. Read next: ../../unit/core/test_node_health.py, for what makes a node bad.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.live.slurm.lab import Lab
from tests.live.slurm.trees import Tree

MANY = 120
"""So many that enough are left once the node is found, however slow that is. Eight of them, of four
processors each, are what four nodes of eight hold: none of these is spared."""

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
        node = os.environ["SLURMD_NODENAME"]
        note("ran", node)
        if node == {hole!r}:
            raise OSError("the scratch disk is read-only")
        note("done", str(self.number))
"""


def test_a_black_hole_is_left_out_and_the_tree_finished_elsewhere(
    slurm: Lab, plant: Callable[..., Tree]
) -> None:
    tree, hole = plant(), slurm.nodes[1]
    tree.write(BODY.format(hole=hole, many=MANY))
    said = tree.run("--retryCount", "20", "--maxJobs", "8")
    assert sorted(map(int, tree.lines("done"))) == list(range(MANY))
    assert f"node {hole} is left out for 60 minutes" in said
    assert said.count("is left out") == 1
    nodes = tree.lines("ran")
    last = len(nodes) - nodes[::-1].index(hole)
    assert len(nodes) - last >= 20, "it gets none of the later jobs"
    assert f"node {hole} is left out until" in tree.verb("nodes").end().said
    assert f"node {hole} may be used again" in tree.verb("nodes", "--clear").end().said
    assert tree.verb("nodes").end().said == "no node is left out\n"
