"""The workloads, as a jobTree workflow: python workflow.py WORKLOAD N --jobTree DIR."""

import sys

from jobtree import Stack, Target


class Noop(Target):
    def run(self):
        pass


class Wide(Target):
    """Bears n - 1 others, so that there are n jobs in all."""

    def __init__(self, n, command=""):
        super().__init__()
        self.n, self.command = n, command

    def run(self):
        for _ in range(self.n - 1):
            if self.command:
                self.addChildCommand(self.command)
            else:
                self.addChildTarget(Noop())


class Node(Target):
    """One node of a binary tree: each needs its parent to be done."""

    def __init__(self, number, n):
        super().__init__()
        self.number, self.n = number, n

    def run(self):
        for child in (2 * self.number + 1, 2 * self.number + 2):
            if child < self.n:
                self.addChildTarget(Node(child, self.n))


class Link(Target):
    """One of a chain: each needs the one before it."""

    def __init__(self, n):
        super().__init__()
        self.n = n

    def run(self):
        if self.n > 1:
            self.setFollowOnTarget(Link(self.n - 1))


def root(workload, n):
    if workload == "targets":
        return Wide(n)
    if workload == "commands":
        return Wide(n, "true")
    return Node(0, n) if workload == "tree" else Link(n)


if __name__ == "__main__":
    from argparse import ArgumentParser

    parser = ArgumentParser()
    parser.add_argument("workload", choices=("targets", "commands", "tree", "chain"))
    parser.add_argument("n", type=int)
    Stack.addJobTreeOptions(parser)
    given = parser.parse_args()
    sys.exit(1 if Stack(root(given.workload, given.n)).startJobTree(given) else 0)
