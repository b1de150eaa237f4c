"""Diagnosis: failures that any canary may have, and which key of the site file to change. Pure.

Owns refusals, waiting, and ends that no canary asked for, with their remedies, and the words by
which keys are known in messages; knows no batch system. Read next: checks.py, each check by itself.
"""

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from batchsystems.common.jobscript import KEY
from batchsystems.interface import JobEnd, Reason
from batchsystems.site import Site
from jobtree.doctor import canary as jobs
from jobtree.doctor.model import Case, CheckResult, Delay, Grade, JudgingContext, on_node

SHARE = (
    "nodes must see the same directory, and write there: try  --directory DIR  on a file system "
    "that all nodes mount, and put trees there with --jobTree"
)

_EXPECTED = {jobs.TIME: Reason.TIME_LIMIT, jobs.MEMORY: Reason.OUT_OF_MEMORY}
"""Ends that these canaries are made for."""

SYNONYMS = {
    "constraint": "features?",
    "directives": "(?:unrecognized |invalid )?options?|licen[cs]es?",
    "queue": "partition",
    "partition": "queues?",
    "gres": "generic resources?|gpus?",
    "project": "account",
    "cluster": "clusters?",
}
"""What schedulers' messages call keys, beside the keys' own names."""

COMMON_WORDS = ("grace", "memory", "accounting")
"""Names of keys that messages about other things contain, too."""

MOST_SHOWN = 60
"""Characters of a value: a list of queues is long."""


class Remedy(NamedTuple):
    """What to do, and the keys of the site file to do it with."""

    text: str
    keys: tuple[str, ...] = ()


def common_failure(row: str, case: Case, context: JudgingContext) -> CheckResult | None:
    """Return the failure of a canary that could not show what it was to show."""
    if case.refused is not None:
        remedy = remedy_against(case.refused.why, context)
        return CheckResult(row, Grade.FAILED, f"refused: {case.refused.why}", *remedy)
    if case.delay is Delay.WAITED:
        return _waiting(row, case, context)
    if case.delay is Delay.RAN and row not in _EXPECTED:
        seen = f"still runs, or its end is still not told, after {case.waited_s:.0f} s"
        advice = f"see what the batch system says of it; a slow node, or a late {jobs.WORD!r}?"
        return CheckResult(row, Grade.FAILED, seen, advice)
    for end in case.ends:
        if end.reason not in (Reason.OK, Reason.FAILED, _EXPECTED.get(row)):
            return CheckResult(row, Grade.FAILED, describe_end(end), *_advice(end, case, context))
    return None


def describe_end(end: JobEnd) -> str:
    """Return all that is known of an end."""
    evidence = "; ".join(end.evidence)
    return f"{end.reason.value}{on_node(end)}" + (f": {evidence}" if evidence else "")


def _waiting(row: str, case: Case, context: JudgingContext) -> CheckResult:
    why = case.explained or "the batch system does not say why"
    seen = f"still waits after {case.waited_s:.0f} s: {why}"
    text, keys = remedy_against(why, context)
    if not keys:
        known = [_key(context, name) for name in ("partition", "queue", "account", "qos")]
        there = ", ".join(key for found in known for key in found)
        text = f"free room in the queue, or let it go elsewhere ({there or 'the site file'})"
    return CheckResult(row, Grade.FAILED, seen, f"{text}; or wait for longer: --wait 1h", keys)


def _advice(end: JobEnd, case: Case, context: JudgingContext) -> Remedy:
    """Return what to do against an end that was not asked for."""
    reason = end.reason
    if reason is Reason.LAUNCH_FAILED and any(each.startswith(KEY) for each in end.evidence):
        return Remedy(
            "mend that line, or have it end with `|| true` if jobs can do without", (KEY,)
        )
    if reason is Reason.LAUNCH_FAILED and case.canary.output is not None:
        return Remedy(f"{os.path.dirname(context.directory)}: {SHARE}")
    if reason is Reason.OUT_OF_MEMORY:
        keys = _key(context, "memory")
        also = f", and set {keys[0]}" if keys else ""
        return Remedy(
            f"it needs next to nothing: see how the batch system counts memory{also}", keys
        )
    if reason is Reason.TIME_LIMIT:
        return Remedy("it takes no time: see whether the queue has a limit of its own")
    if reason is Reason.ENDED:
        keys = (*_key(context, "accounting"), "pacing.poll_interval")
        said = "jobs are forgotten before it is told how they ended: have accounting asked, or look"
        return Remedy(f"{said} more often ({', '.join(keys)})", keys)
    return Remedy("if nobody did this on purpose, see what the batch system says of that node")


def _key(context: JudgingContext, name: str) -> tuple[str, ...]:
    """Return the batch system's key of that name, if it has one."""
    key = f"{context.system}.{name}"
    return (key,) if key in context.keys else ()


# ---- which key a message is about --------------------------------------------------------


def remedy_against(message: str, context: JudgingContext) -> Remedy:
    """Return what to change for a batch system to say this no more.

    A key that is set is at fault before one that is not, and one that is called by its own name
    before one that is called by another.
    """
    own = [key for key in context.keys if _names(message, _pattern(key))]
    other = [key for key in context.keys if _names(message, SYNONYMS.get(_pattern(key), ""))]
    settings = context.site.settings
    for named in (own, other):
        if given := [key for key in named if key in settings]:
            return Remedy(f"change {_listed(given, context.site)}", tuple(given))
    if named := own or other:
        return Remedy(f"set {' or '.join(named)} to what this cluster wants", tuple(named))
    return Remedy(f"mend what it names, in the table [{context.system}] of the site file")


def _pattern(key: str) -> str:
    """Return a pattern for a key's name in a message; "" if it cannot be told by its name."""
    name = key.partition(".")[2]
    return "" if "[]" in name or name in COMMON_WORDS else name.replace("_", "[ _-]?")


def _names(message: str, pattern: str) -> bool:
    return bool(pattern) and re.search(rf"\b(?:{pattern})\b", message, re.I) is not None


def _listed(keys: Iterable[str], site: Site) -> str:
    settings = [site.settings[key] for key in keys]
    return ", or ".join(f"{each.key} = {_short(each.written)} ({each.origin})" for each in settings)


def _short(written: str) -> str:
    return written if len(written) <= MOST_SHOWN else f"{written[: MOST_SHOWN - 3]}..."
