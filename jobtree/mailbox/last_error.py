"""The error line that a worker prints when it ends by a failure of its own, and how it is found.

Owns its form; must not judge it. Read next: ../worker/main.py, which prints it; ../core/rescue.py.
"""

from __future__ import annotations

import re

from jobtree.core.rescue import UNEXPECTED

PREFIX = "jobtree worker: "

_LINE = re.compile(rf"^{re.escape(PREFIX)}(?:task (\d+): )?(.*)$", re.M)


def format_error(index: int, error: BaseException, expected: bool) -> str:
    """Return the line that the worker of a task prints for its error."""
    said = str(error) if expected else f"{UNEXPECTED}{type(error).__name__}: {error}"
    return f"{PREFIX}task {index}: {said}\n"


def last_error(printed: str, index: int) -> str:
    """Return the error that the worker of a task printed last, "" if none."""
    mine = [said for task, said in _LINE.findall(printed) if not task or int(task) == index]
    return mine[-1].strip() if mine else ""
