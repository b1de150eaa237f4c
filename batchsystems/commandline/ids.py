"""Ids: how a scheduler writes the id of an array's task. Data, and what follows from it.

Must not know a scheduler. Read next: dialect.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class IdFormat:
    """`12_3`: the submission, a separator, the number of the task, and what closes it."""

    task_separator: str = "_"
    first_task: int = 0
    """The number of an array's first task: 0 or 1."""
    task_end: str = ""
    submission: str = r"\d{1,12}"
    """A pattern of the ids of submissions."""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What matches an id whole; its groups are the submission and the task's number."""
        before, after = re.escape(self.task_separator), re.escape(self.task_end)
        return re.compile(rf"({self.submission})(?:{before}(\d{{1,9}}){after})?")

    def split(self, native: str) -> tuple[str, int | None] | None:
        """Return an id's submission and task (from 0); None if it is no id of this scheduler."""
        found = self.pattern.fullmatch(native)
        if found is None or not found[2]:
            return None if found is None else (found[1], None)
        task = int(found[2]) - self.first_task
        return None if task < 0 else (found[1], task)

    def join(self, submission: str, task: int) -> str:
        """Return the id of one task (from 0) of an array."""
        return f"{submission}{self.task_separator}{task + self.first_task}{self.task_end}"

    def submission_of(self, native: str) -> str:
        """Return the id of the submission that a job belongs to."""
        split = self.split(native)
        return native if split is None else split[0]
