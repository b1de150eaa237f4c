"""Troubles: what may keep any canary from showing what it is to show. Pure.

Owns refusals, waiting, and ends that no canary asked for, with their remedies. Read next:
suspects.py, which key of the site file is at fault; checks.py, each check by itself.
"""

from __future__ import annotations

import os

from batchsystems.common.jobscript import KEY
from batchsystems.interface import JobEnd, Reason
from jobtree.doctor import canary as jobs
from jobtree.doctor.model import Around, Case, Delay, Grade, Verdict, on_node
from jobtree.doctor.suspects import Suspects, blamed

SHARE = (
    "nodes must see the same directory, and write there: try  --directory DIR  on a file system "
    "that all nodes mount, and put trees there with --jobTree"
)

_WANTED = {jobs.TIME: Reason.TIME_LIMIT, jobs.MEMORY: Reason.OUT_OF_MEMORY}
"""Ends that these canaries ask for."""

_Advice = tuple[str, tuple[str, ...]]
"""What to do, and the keys to do it with."""


def trouble(row: str, case: Case, around: Around) -> Verdict | None:
    """Return a verdict on a canary that could not show what it was to show."""
    if case.refused is not None:
        found = blamed(case.refused.why, Suspects(around.system, around.keys, around.site))
        return Verdict(row, Grade.FAILED, f"refused: {case.refused.why}", found.remedy, found.keys)
    if case.delay is Delay.WAITED:
        return _waiting(row, case, around)
    if case.delay is Delay.RAN and row not in _WANTED:
        seen = f"still runs, or its end is still not told, after {case.waited_s:.0f} s"
        remedy = f"see what the batch system says of it; a slow node, or a late {jobs.WORD!r}?"
        return Verdict(row, Grade.FAILED, seen, remedy)
    for end in case.ends:
        if end.reason not in (Reason.OK, Reason.FAILED, _WANTED.get(row)):
            remedy, keys = _advice(end, case, around)
            return Verdict(row, Grade.FAILED, told(end), remedy, keys)
    return None


def told(end: JobEnd) -> str:
    """Return all that is known of an end."""
    evidence = "; ".join(end.evidence)
    return f"{end.reason.value}{on_node(end)}" + (f": {evidence}" if evidence else "")


def _waiting(row: str, case: Case, around: Around) -> Verdict:
    why = case.explained or "the batch system does not say why"
    seen = f"still waits after {case.waited_s:.0f} s: {why}"
    found = blamed(why, Suspects(around.system, around.keys, around.site))
    remedy = found.remedy
    if not found.keys:
        keys = [f"{around.system}.{name}" for name in ("partition", "queue", "account", "qos")]
        there = ", ".join(key for key in keys if key in around.keys)
        remedy = f"free room in the queue, or let it go elsewhere ({there or 'the site file'})"
    return Verdict(row, Grade.FAILED, seen, f"{remedy}; or wait for longer: --wait 1h", found.keys)


def _advice(end: JobEnd, case: Case, around: Around) -> _Advice:
    """Return what to do against an end that was not asked for."""
    reason = end.reason
    if reason is Reason.LAUNCH_FAILED and any(each.startswith(KEY) for each in end.evidence):
        said = "mend that line, or have it end with `|| true` if jobs can do without"
        return said, (KEY,)
    if reason is Reason.LAUNCH_FAILED and case.canary.output is not None:
        return f"{os.path.dirname(around.means.directory)}: {SHARE}", ()
    if reason is Reason.OUT_OF_MEMORY:
        said = "it needs next to nothing: see how the batch system counts memory"
        keys = _there(around, "memory")
        return (f"{said}, and set {keys[0]}" if keys else said), keys
    if reason is Reason.TIME_LIMIT:
        return "it takes no time: see whether the queue has a limit of its own", ()
    if reason is Reason.ENDED:
        keys = (*_there(around, "accounting"), "pacing.poll_interval")
        said = "jobs are forgotten before it is told how they ended: have accounting asked, or look"
        return f"{said} more often ({', '.join(keys)})", keys
    return "if nobody did this on purpose, see what the batch system says of that node", ()


def _there(around: Around, name: str) -> tuple[str, ...]:
    """Return the batch system's key of that name, if it has one."""
    key = f"{around.system}.{name}"
    return (key,) if key in around.keys else ()
