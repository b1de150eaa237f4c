"""What jobTree keeps of a Target: requirements, what was added to it, its context while it runs.

Owns that record, and the least class that has one; must not know the users' API. Read next:
serialize.py, ../target.py.
"""

from __future__ import annotations

from _weakref import ref
from typing import Any

from jobtree.core.job import Command, Requirements
from jobtree.errors import JobTreeError
from jobtree.payload.context import StepContext


class TargetBase:
    """What this package knows of a Target: that it has a Node, and a name."""

    _jobtree: Node

    def _jobtree_label(self) -> str:
        """Return the name by which run times are measured: the class, or the function."""
        return type(self).__name__

    def run(self) -> None:
        """Do the step's work."""
        raise NotImplementedError(f"{type(self).__name__}.run() is not written")


class Node:
    """What jobTree keeps of one Target. Only requirements and isolate are pickled with it."""

    __slots__ = (
        "adopted",
        "children",
        "context",
        "follow_on",
        "isolate",
        "owner",
        "requirements",
        "pickled_links",
    )

    def __init__(self, requirements: Requirements, isolate: bool, owner: Any = None) -> None:
        self.requirements, self.isolate = Requirements(*requirements), isolate
        self.owner = owner  # a weak reference to its Target: a copy of that needs a Node of its own
        self.children: list[TargetBase | Command] = []
        self.follow_on: TargetBase | Command | None = None
        self.pickled_links: Any = None  # restores those children and follow-on that are pickled
        self.adopted = False  # it was added to another Target
        self.context: StepContext | None = None  # while its run() runs

    def __reduce__(self) -> tuple[Any, ...]:
        return Node, (tuple(self.requirements), self.isolate)


def node_of(target: TargetBase) -> Node:
    """Return the Node of a Target. Raises JobTreeError (JT403) if it has none."""
    node = getattr(target, "_jobtree", None)
    if not isinstance(node, Node):
        raise JobTreeError(
            f"{type(target).__name__}.__init__ does not call Target.__init__",
            code="JT403",
            fix="call  super().__init__()  first thing in it",
        )
    if node.owner is None or node.owner() is not target:  # a copy: it starts with nothing added
        node = Node(node.requirements, node.isolate, ref(target))
        target._jobtree = node
    return node
