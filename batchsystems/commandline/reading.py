"""Reading: what the parsers of several schedulers have in common. Pure, and never raises.

Owns forms of times, ranges and tables that commands print; must not know a scheduler.
Read next: answers.py, what parsers return; ../slurm/parse.py, which uses this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from batchsystems.commandline.answers import Rejected, Rejection, Submitted
from batchsystems.transport.local import CommandResult

MOST_TASKS = 10**6
"""No array has more tasks: a longer range is no range."""

T = TypeVar("T")


def first_match(table: Sequence[tuple[str, T]], text: str, otherwise: T) -> T:
    """Return what the first pattern that is found in a text stands for."""
    return next((value for pattern, value in table if re.search(pattern, text, re.M)), otherwise)


def read_submission(
    ran: CommandResult, line: str, judge: Callable[[CommandResult, bool], Rejected]
) -> Submitted | Rejected:
    """Read the answer to a submission: success is exit status 0, and one line that is an id.

    line: a pattern of that line, whose first group is the id. judge: tells what any other answer
    of a command that ended by itself means, and is told whether there was such a line.
    """
    if not ran.started:
        return Rejected(Rejection.OUTAGE, ran.words())
    ids = re.findall(rf"^{line}\n", ran.stdout, re.M)
    if ran.whole and ran.status == 0 and len(ids) == 1:
        return Submitted(ids[0])
    if not ran.whole or (ran.status or 0) < 0:
        return Rejected(Rejection.UNKNOWN, ran.words())
    return judge(ran, bool(ids))


def epoch(text: str) -> float | None:
    """Read `2026-11-29T23:05:00`, as it is printed under TZ=UTC; None for anything else."""
    try:
        told = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        return None
    return told.replace(tzinfo=UTC).timestamp() if told.tzinfo is None else None


def seconds(text: str) -> float | None:
    """Read `D-HH:MM:SS`, `MM:SS` and what lies between; None for anything else."""
    found = re.fullmatch(r"(?:(\d{1,6})-)?(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2})", text)
    if found is None:
        return None
    days, hours, minutes, rest = (int(each or 0) for each in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + rest)


def ranges(text: str) -> list[int] | None:
    """Unfold `0-4,7` and `2-8:3`; None if it is nothing of that kind."""
    numbers: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9})(?::([1-9]\d{0,8}))?)?", part)
        if found is None:
            return None
        first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
        if (last - first) // step + len(numbers) > MOST_TASKS:
            return None
        numbers += range(first, last + 1, step)
    return numbers


def spans(numbers: Iterable[int]) -> list[str]:
    """Return `2-4` and `8` for 2, 3, 4 and 8."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return [f"{first}-{last}" if last > first else str(first) for first, last in found]


def pairs(text: str) -> dict[str, str]:
    """Read `KEY=value OTHER=value`."""
    return dict(re.findall(r"(\w+)=(\S*)", text))


def fixed_rows(
    text: str, widths: Sequence[int], bar: str
) -> Iterator[tuple[str, list[str] | None]]:
    """Yield the rows of a table of fixed widths, each with its cells.

    bar: what stands behind each cell. The cells of a line that does not fit are None. A cell may
    have a line break in it.
    """
    row = re.compile("".join(rf"(.{{{width}}}){re.escape(bar)}" for width in widths) + "\n", re.S)
    at = 0
    while at < len(text):
        found = row.match(text, at)
        end = found.end() if found else text.find("\n", at) + 1 or len(text)
        yield (
            text[at:end].removesuffix("\n"),
            [cell.rstrip() for cell in found.groups()] if found else None,
        )
        at = end
