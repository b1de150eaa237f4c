"""Sizes and times as people write them: "2G", "90m", "2-00:00:00".

Owns both directions of the conversion; must not know what is asked for, or why.
Read next: target.py and options.py, which take them from people.
"""

from __future__ import annotations

import re

from jobtree.errors import UsageError
from jobtree.job import Requirements

_DECIMAL = r"(?:\d+(?:\.\d*)?|\.\d+)"
_NUMBER = re.compile(_DECIMAL + r"(?:[eE]\+?\d{1,3})?", re.ASCII)
_SIZE = re.compile(
    rf"({_DECIMAL}(?:e\+?\d{{1,3}})?)\s*(?:([kmgtp])(?:i?b)?|b(?:ytes?)?)?",
    re.IGNORECASE | re.ASCII,
)
_CLOCK = re.compile(r"(?:(\d{1,9})-)?(\d{1,9}):(\d{1,2})(?::(\d{1,2}(?:\.\d+)?))?", re.ASCII)
_SPANS = re.compile(rf"({_DECIMAL})\s*([a-z]+)[\s,]*", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_UNIT_WORDS = {
    word: _SECONDS[letter]
    for letter, words in {
        "w": "w week weeks",
        "d": "d day days",
        "h": "h hr hrs hour hours",
        "m": "m min mins minute minutes",
        "s": "s sec secs second seconds",
    }.items()
    for word in words.split()
}

SIZE_FORMS = "bytes as a number, or a number with K, M, G, T or P (powers of 1024): 512M, 1.5 GiB"
TIME_FORMS = "seconds as a number, or 90s, 90m, 1h30m, 2d, 01:30:00, 2-00:00:00 (days first)"

LARGEST = 2**60
"""Beyond an exbibyte, or as many seconds, a value is a slip of the pen."""


def parse_size(value: object, what: str = "a size") -> int:
    """Return a size in bytes from "2G", "512M", "1.5 GiB", or a number of bytes.

    Raises UsageError (JT110) naming `what` and the accepted forms.
    """
    size: float
    if isinstance(value, int | float) and not isinstance(value, bool):
        size = value
    else:
        match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise _refused(what, value, SIZE_FORMS, "JT110")
        size = float(match[1]) * 1024 ** _POWERS[(match[2] or "").lower()]
    if not 0 <= size <= LARGEST:
        raise _refused(what, value, SIZE_FORMS, "JT110")
    return round(size)


def parse_time(value: object, what: str = "a time") -> float:
    """Return seconds from "90m", "1h30m", "01:30:00", "2-00:00:00", or a number of seconds.

    Two numbers with a colon are hours and minutes after days ("1-12:30"), as in Slurm, else
    minutes and seconds. Raises UsageError (JT111) naming `what` and the accepted forms.
    """
    seconds: float
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    else:
        seconds = _seconds(value.strip()) if isinstance(value, str) else -1
    if not 0 <= seconds <= LARGEST:
        raise _refused(what, value, TIME_FORMS, "JT111")
    return float(seconds)


def parse_count(value: object, what: str = "a number", least: int = 0) -> int:
    """Return a whole number of at least `least` from 4, 4.0 or "4".

    Raises UsageError (JT112) naming `what`.
    """
    number: float = -1
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        number = float(value.strip())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    if not least <= number <= LARGEST or number != int(number):
        raise _refused(what, value, f"a whole number, {least} or more", "JT112")
    return int(number)


def parse_requirements(
    memory: object = None, cpus: object = None, gpus: object = None, time: object = None
) -> Requirements:
    """Return what is asked for, as people write it; None leaves it to the tree's default.

    Raises UsageError (JT110, JT111, JT112) naming the value at fault.
    """
    return Requirements(
        None if memory is None else parse_size(memory, "memory"),
        None if cpus is None else parse_count(cpus, "cpu", least=1),
        None if gpus is None else parse_count(gpus, "gpus"),
        None if time is None else parse_time(time, "time"),
    )


def _seconds(text: str) -> float:
    """Return what `text` says in seconds, -1 if it says nothing."""
    if _NUMBER.fullmatch(text):
        return float(text)
    if clock := _CLOCK.fullmatch(text):
        days, first, second, third = clock.groups()
        if third is not None:
            return int(days or 0) * 86400 + int(first) * 3600 + int(second) * 60 + float(third)
        if days is not None:
            return int(days) * 86400 + int(first) * 3600 + int(second) * 60
        return int(first) * 60 + int(second)
    total, at = 0.0, 0
    while at < len(text):
        span = _SPANS.match(text, at)
        if span is None or span[2].lower() not in _UNIT_WORDS:
            return -1.0
        total += float(span[1]) * _UNIT_WORDS[span[2].lower()]
        at = span.end()
    return total if text else -1.0


def _refused(what: str, value: object, forms: str, code: str) -> UsageError:
    return UsageError(f"{what} cannot be {value!r}", code=code, fix=f"write {forms}")


def format_size(size_bytes: int) -> str:
    """Return a size the way people read it: 512 B, 1.5 KB, 2.0 GB (powers of 1024)."""
    size, unit = float(size_bytes), "B"
    for larger in ("KB", "MB", "GB", "TB", "PB"):
        if abs(size) < 999.5:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "B" or abs(size) >= 99.95 else f"{size:.1f} {unit}"


def format_time(seconds: float) -> str:
    """Return a time the way people read it: 0.4s, 12s, 4m12s, 1h42m, 3d04h."""
    if seconds < 0:
        return "-" + format_time(-seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"
