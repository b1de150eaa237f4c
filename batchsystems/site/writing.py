"""Writing: values as they stand in a site file. Pure.

Owns the way back from values to TOML; must not know a key. Read next: schema.py.
"""

from __future__ import annotations

import json
import re
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def write_value(value: Any) -> str:
    """Return a value as TOML writes it on one line; "none" for None, which TOML has not."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(write_value, value))}]"
    if isinstance(value, dict):
        pairs = (f"{_write_key(str(key))} = {write_value(each)}" for key, each in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    return str(value)


def write_time(seconds: float) -> str:
    """Return a time as a TOML value that reads as the same: "2h", "90s", 0.5."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= size and seconds % size == 0:
            return f'"{seconds // size:.0f}{unit}"'
    return f"{seconds:g}"


def write_size(size: int) -> str:
    """Return a size as a TOML value that reads as the same: "2GB", 50120."""
    for power, unit in ((5, "PB"), (4, "TB"), (3, "GB"), (2, "MB")):
        if size and size % 1024**power == 0:
            return f'"{size // 1024**power}{unit}"'
    return str(size)


def _write_key(key: str) -> str:
    return key if _BARE.fullmatch(key) else write_value(key)
