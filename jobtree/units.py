"""Sizes and times as people write them: "2G", "90m", "2-00:00:00".

Owns the errors for what cannot be read, and how sizes and times are shown; the forms are
batchsystems.units' own. Must not know what is asked for, or why.
Read next: target.py and options.py, which take them from people.
"""

from __future__ import annotations

from batchsystems.units import LARGEST, NUMBER, SIZE_FORMS, TIME_FORMS, read_size, read_time
from jobtree.core.job import Requirements
from jobtree.errors import UsageError


def parse_size(value: object, what: str = "a size") -> int:
    """Return a size in bytes from "2G", "512M", "1.5 GiB", or a number of bytes.

    Raises UsageError (JT110) naming `what` and the accepted forms.
    """
    try:
        return read_size(value)
    except ValueError:
        raise _refused(what, value, SIZE_FORMS, "JT110") from None


def parse_time(value: object, what: str = "a time") -> float:
    """Return seconds from "90m", "1h30m", "01:30:00", "2-00:00:00", or a number of seconds.

    Two numbers with a colon are hours and minutes after days ("1-12:30"), as in Slurm, else
    minutes and seconds. Raises UsageError (JT111) naming `what` and the accepted forms.
    """
    try:
        return read_time(value)
    except ValueError:
        raise _refused(what, value, TIME_FORMS, "JT111") from None


def parse_count(value: object, what: str = "a number", least: int = 0) -> int:
    """Return a whole number of at least `least` from 4, 4.0 or "4".

    Raises UsageError (JT112) naming `what`.
    """
    number: float = -1
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
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
