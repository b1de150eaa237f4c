"""Last words: what a worker prints that ends by a failure of its own, and how they are found again.

Owns their form; must not judge them. Read next: ../worker/main.py, which says them;
../core/rescue.py.
"""

from __future__ import annotations

import re

from jobtree.core.rescue import UNEXPECTED

PREFIX = "jobtree worker: "

_LINE = re.compile(rf"^{re.escape(PREFIX)}(?:task (\d+): )?(.*)$", re.M)


def format_error(index: int, error: BaseException, expected: bool) -> str:
    """Return what the worker of a task of an order says, for its error; of the first line."""
    said = str(error) if expected else f"{UNEXPECTED}{type(error).__name__}: {error}"
    return f"{PREFIX}task {index}: {said}\n"


def last_error(printed: str, index: int) -> str:
    """Return the first line of what the worker of a task said as it gave up, "" if nothing."""
    mine = [said for task, said in _LINE.findall(printed) if not task or int(task) == index]
    return mine[-1].strip() if mine else ""
