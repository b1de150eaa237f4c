"""Job info: what a DRMAA library tells of how a job ended, in words of our own.

Pure; must not ask anybody anything. Rests on what libdrmaa of Grid Engine 8.1.9 was seen to tell.
Read next: session.py, which asks.
"""

from __future__ import annotations

import re
from typing import Any

KEPT_USAGE = (
    *("cpu", "maxvmem", "exit_status", "submission_time", "start_time", "end_time"),
    "ru_wallclock",
)
ON_ERROR = 100
"""With this a job asks Grid Engine to hold it in error."""


def how_of(info: Any) -> dict[str, Any]:
    """Return how a job ended, as the library's JobInfo tells it."""
    usage = {k: v for k, v in dict(info.resourceUsage or {}).items() if k in KEPT_USAGE}
    if info.wasAborted:
        return {"usage": usage, "how": "aborted"}
    if info.hasSignal:
        return {"usage": usage, "how": "signal", "signal": str(info.terminatedSignal)}
    return {"usage": usage, "how": "exit", "status": int(info.exitStatus)}


def in_error(usage: dict[str, Any]) -> bool:
    """Tell whether a cluster that aborted a job holds it in error, by what it used.

    Of one that never began Grid Engine tells no time of its beginning.
    """
    if usage.get("start_time") is None and "submission_time" in usage:
        return True
    return re.fullmatch(rf"{ON_ERROR}(\.0*)?", str(usage.get("exit_status", ""))) is not None
