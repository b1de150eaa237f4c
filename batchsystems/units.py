"""Sizes and times as people write them: "2G", "90m", "2-00:00:00". Pure.

Owns their forms; raises ValueError alone, so that whoever asks can say where a value stands.
Read next: site/fields.py, which reads site files with it; jobtree/units.py, for options.
"""

from __future__ import annotations

import re

DECIMAL = r"(?:\d+(?:\.\d*)?|\.\d+)"
NUMBER = re.compile(DECIMAL + r"(?:[eE]\+?\d{1,3})?", re.ASCII)
_SIZE = re.compile(
    rf"({DECIMAL}(?:e\+?\d{{1,3}})?)\s*(?:([kmgtp])(?:i?b)?|b(?:ytes?)?)?",
    re.IGNORECASE | re.ASCII,
)
_CLOCK = re.compile(r"(?:(\d{1,9})-)?(\d{1,9}):(\d{1,2})(?::(\d{1,2}(?:\.\d+)?))?", re.ASCII)
_SPANS = re.compile(rf"({DECIMAL})\s*([a-z]+)[\s,]*", re.IGNORECASE | re.ASCII)
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


def read_size(value: object) -> int:
    """Return a size in bytes. Raises ValueError naming the accepted forms."""
    size: float = -1
    if isinstance(value, int | float) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = float(match[1]) * 1024 ** _POWERS[(match[2] or "").lower()]
    if not 0 <= size <= LARGEST:
        raise ValueError(f"write {SIZE_FORMS}")
    return round(size)


def read_time(value: object) -> float:
    """Return seconds. Raises ValueError naming the accepted forms.

    Two numbers with a colon are hours and minutes after days ("1-12:30"), as in Slurm, else
    minutes and seconds.
    """
    seconds: float = -1
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str):
        seconds = _seconds(value.strip())
    if not 0 <= seconds <= LARGEST:
        raise ValueError(f"write {TIME_FORMS}")
    return float(seconds)


def _seconds(text: str) -> float:
    """Return what `text` says in seconds, -1 if it says nothing."""
    if NUMBER.fullmatch(text):
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
