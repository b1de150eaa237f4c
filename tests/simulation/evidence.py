"""What is known of a run so far, and what was wrong with it.

Owns the evidence that events add to, and the list of broken promises; must not hear events.
Shares no code with the product. Read next: conduct.py, commits.py.

Rows of jobs: (id, parent, colour, attempt, step, child_count, black_child_count, retries,
rescues). Rows of the tree's own history: (job, step, attempt, event, issue).
"""

from __future__ import annotations

from typing import Any, NamedTuple

WHITE, GREY, BLUE, BLACK, RED = range(5)

Data = dict[str, Any]


class Row(NamedTuple):
    """A job as it was committed."""

    id: int
    parent: int
    colour: int
    attempt: int
    step: int
    child_count: int
    black_child_count: int
    retries: int
    rescues: int


class Violation(NamedTuple):
    """A broken promise. promise: P1 to P7, or the name of an invariant."""

    at: float
    promise: str
    what: str


class Known:
    """The run as its events have told it until now."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.now = 0.0
        self.epoch = 0
        self.retries = 0
        self.steps: dict[int, tuple[int, bool, list[int], int, bool, int]] = {}
        # what workers did
        self.node_of: dict[tuple[str, int, int, int], int] = {}
        self.finished: dict[tuple[str, int, int, int], Data] = {}
        self.done_by_worker: dict[tuple[str, int], set[int]] = {}
        self.holder: dict[str, str] = {}
        self.late_claims: set[str] = set()
        self.returned: set[tuple[str, int]] = set()
        # what was to be seen of their results
        self.visible: dict[tuple[str, int, int, int], float] = {}
        self.hello: set[str] = set()
        self.unsynced: dict[str, set[tuple[int, int, int]]] = {}
        self.synced: set[tuple[str, int, int, int]] = set()
        # what masters did
        self.issue_of: dict[tuple[int, int], str] = {}
        self.last_ordered: dict[int, int] = {}
        self.withdrawn: set[str] = set()
        self.fenced: set[str] = set()
        self.recalled: set[str] = set()
        self.not_adopted: set[str] = set()
        self.end_told: set[str] = set()
        self.intents: set[str] = set()
        # what was committed
        self.jobs: dict[int, Row] = {}
        self.gone_jobs: set[int] = set()
        self.born: dict[int, int] = {}
        self.dead_children: dict[int, int] = {}
        self.history: list[tuple[int, int, int, str, str]] = []
        self.done: dict[tuple[int, int], tuple[int, str]] = {}
        self.done_count: dict[int, int] = {}
        self.adopted: dict[int, tuple[int, int, int]] = {}
        self.adopted_of_job: dict[int, list[int]] = {}
        self.lost_of: dict[str, set[int]] = {}
        self.moved: dict[tuple[int, int, int], int] = {}
        self.move_failed: set[tuple[int, int, int]] = set()
        self.late_directories: set[int] = set()
        self.late_files: set[str] = set()
        self.unkempt: set[str] = set()
        self.run_over = False
        self.to_kill: dict[str, bool] = {}
        # how nodes fared
        self.unseen: dict[str, list[float]] = {}

    def must(self, holds: bool, promise: str, what: str, about: object = "") -> None:
        """Note a broken promise if it does not hold."""
        if not holds:
            told = f"{what}: {about}" if about else what
            self.violations.append(Violation(self.now, promise, told))

    def must_have_tree(self, data: Data) -> None:
        """A master acts only while it has the tree."""
        self.must(
            data["epoch"] == self.epoch,
            "P5",
            f"the master of epoch {data['epoch']} acts, though {self.epoch} has the tree: {data}",
        )

    def needed(self, node: int) -> list[int]:
        """Return the steps that must be adopted before this one starts."""
        parent, is_follow_on, *_ = self.steps[node]
        if not parent:
            return []
        if not is_follow_on:
            return [parent]
        needed, below = [parent], list(self.steps[parent][2])
        while below:
            step = below.pop()
            needed.append(step)
            _, _, children, follow_on, _, _ = self.steps[step]
            below += children
            if follow_on:
                below.append(follow_on)
        return needed

    def is_settled(self, node: int) -> bool:
        """Tell whether a step was adopted, and its output moved into place."""
        found = self.adopted.get(node)
        return found is not None and (not self.steps[node][4] or found in self.moved)
