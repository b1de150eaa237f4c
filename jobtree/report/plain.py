"""Plain forms: text made harmless, times, and the lines of a log.

Owns how text from jobs is made fit for a terminal or a file; writes nothing itself.
Read next: console.py.
"""

from __future__ import annotations

import time

KEPT = "\n\t"


def printable(text: str) -> str:
    r"""Return text in which every character a terminal would act upon is escaped.

    Newlines and tabs stay; what is not printable (escape sequences, carriage returns, marks
    that turn the direction of writing) becomes `\x1b` and the like.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c in KEPT or c.isprintable() else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


def one_line(text: str, longest: int = 200) -> str:
    """Return text as one harmless line of at most `longest` characters."""
    flat = printable(" ".join(text.split()))
    return flat if len(flat) <= longest else f"{flat[: longest - 3]}..."


def indented(text: str) -> str:
    """Return harmless text whose further lines cannot be taken for lines of the log."""
    first, *more = printable(text).split("\n")
    rest = (line if line.startswith("    ") else f"    {line}" for line in more)
    return "\n".join([first, *rest])


def iso_time(epoch_s: float) -> str:
    """Return a time as 2026-11-22T09:14:02Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch_s))


def clock_time(epoch_s: float) -> str:
    """Return a local time as HH:MM, with the date before it if it is not today's."""
    then, today = time.localtime(epoch_s), time.localtime()
    same = then[:3] == today[:3]
    return time.strftime("%H:%M" if same else "%Y-%m-%d %H:%M", then)


def plural(count: int, noun: str) -> str:
    """Return "1 job" or "7 jobs"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
