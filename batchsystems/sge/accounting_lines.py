"""Cutting a line of Grid Engine's accounting file into its fields. Pure, and never raises.

Owns where one field ends and the next begins, though free text of a field may hold the separator:
Grid Engine escapes nothing (`-l os=centos:7` stands in a job's category as it is). Must not judge
what the fields say. Read next: accounting.py, which does.
"""

from __future__ import annotations

import re

NUMBER, TIMES = 5, slice(8, 11)

_AMOUNT = r"\d{1,18}(?:\.\d{1,9})?"
_PART = r"NONE|\d+\.[\w.-]*[A-Za-z][\w.-]*"

_NUMBERS = re.compile(
    rf"(?<=:)-?\d{{1,9}}(?::\d{{1,13}}){{3}}:\d{{1,9}}:\d{{1,9}}(?::{_AMOUNT}){{18}}(?=:)"
)
"""Priority, three times, failed, exit status, wall clock, and what getrusage tells: 24 numbers in
a row. By them a record is told, whatever stands before and after them."""

_WHERE = rf"([^:]*):([^:]*):([^:]*):(\d+):(\d+):({_AMOUNT}):({_AMOUNT}):({_AMOUNT})"
_LAST = rf"({_AMOUNT}):({_PART}):({_AMOUNT})"
_BACK = (
    re.compile(rf":{_WHERE}:(.*):{_LAST}(?::\d+:\d+)?"),
    re.compile(rf":{_WHERE}:(.*?):{_LAST}(?::.*)?"),
)
"""Project, department and environment, which are names and hold no separator, five numbers, the
category, three last fields. The first is read from both ends; the other is of editions that have
more fields, free text among them."""


def key_cells(line: str) -> list[str] | None:
    """Return a record's cells up to its times at the least, None if it is none. Cheap."""
    cells = line.split(":", 11)
    if len(cells) == 12 and cells[NUMBER].isdecimal() and all(t.isdecimal() for t in cells[TIMES]):
        return None if line.startswith("#") else cells
    front = None if line.startswith("#") else _front(line)
    return None if front is None else [*front[0], *line[front[1] :].split(":", 4)]


def cut(line: str) -> list[str] | None:
    """Return the first 43 cells of a record, None if it is none or damaged."""
    front = None if line.startswith("#") else _front(line)
    if front is None:
        return None
    cells, start, end = front
    found = next((each for back in _BACK if (each := back.fullmatch(line, end))), None)
    if found is None:
        return None
    return [*cells, *line[start:end].split(":"), *found.groups()]


def _front(line: str) -> tuple[list[str], int, int] | None:
    """Return the seven cells before a record's numbers, and where these begin and end.

    A job's name holds no separator (Grid Engine refuses it): it is what stands before the id.
    """
    numbers = _NUMBERS.search(line)
    if numbers is None:
        return None
    cells = line[: numbers.start() - 1].split(":")
    at = next((i for i in range(NUMBER, len(cells) - 1) if cells[i].isdecimal()), None)
    if at is None:
        return None
    owner, account = ":".join(cells[3 : at - 1]), ":".join(cells[at + 1 :])
    return [*cells[:3], owner, cells[at - 1], cells[at], account], numbers.start(), numbers.end()
