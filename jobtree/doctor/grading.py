"""Judging: from what became of canaries to a verdict on each check. Pure.

Owns the order of rows, and which failure explains which; must not run or print anything.
Read next: checks.py, each check by itself; diagnosis.py, what may happen to all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobtree.doctor import canary as jobs
from jobtree.doctor.checks import JUDGES, OF_VISIT
from jobtree.doctor.diagnosis import trouble
from jobtree.doctor.model import Around, Case, Grade, Verdict, Visit


def judge(cases: Mapping[str, Case], visit: Visit, around: Around) -> list[Verdict]:
    """Return the verdicts, row by row; what cannot be judged for another's failure is skipped."""
    found = {row: _judge(row, cases, visit, around) for row in jobs.rows(cases)}
    for row, causes in _DEPENDS.items():
        cause = next((c for c in causes if c in found and found[c].grade is Grade.FAILED), None)
        if row in found and found[row].grade is not Grade.PASSED and cause:
            found[row] = Verdict(row, Grade.SKIPPED, f"not judged: first mend {cause!r}")
    return sorted([*found.values(), *_left_out(found, around)], key=_place)


def all_passed(verdicts: Sequence[Verdict]) -> bool:
    """Tell whether no check failed."""
    return not any(verdict.grade is Grade.FAILED for verdict in verdicts)


_DEPENDS = {
    jobs.LOG: (jobs.RUNS,),
    jobs.DIRECTORY: (jobs.RUNS,),
    jobs.ARRAY: (jobs.DIRECTORY,),
    jobs.MEMORY: (jobs.LOG, jobs.PYTHON),
    jobs.WORKER: (jobs.LOG, jobs.DIRECTORY, jobs.PYTHON),
    jobs.FILES: (jobs.LOG, jobs.DIRECTORY, jobs.PYTHON, jobs.WORKER),
    **dict.fromkeys(
        (jobs.SCRATCH, jobs.CLOCK, jobs.WORD),
        (jobs.LOG, jobs.DIRECTORY, jobs.PYTHON, jobs.WORKER, jobs.FILES),
    ),
}


def _place(verdict: Verdict) -> int:
    return jobs.ORDER.index(verdict.check)


def _left_out(found: Mapping[str, Verdict], around: Around) -> list[Verdict]:
    """Return a row for each check that was not made, with the reason."""
    first = found[jobs.RUNS]
    if first.grade is Grade.FAILED:
        why = f"not tried: first mend {jobs.RUNS!r}"
        return [Verdict(row, Grade.SKIPPED, why) for row in jobs.ORDER if row not in found]
    reasons = {}
    if around.quick:
        reasons[jobs.TIME] = "left out by --quick"
    if not around.means.memory:
        reasons[jobs.MEMORY] = f"memory is not asked for ({around.system}.memory)"
    return [Verdict(row, Grade.SKIPPED, why) for row, why in reasons.items() if row not in found]


def _judge(row: str, cases: Mapping[str, Case], visit: Visit, around: Around) -> Verdict:
    case = cases.get(row) or cases[jobs.VISIT]
    found = trouble(row, case, around)
    if found is not None:
        return found
    if row in OF_VISIT:
        return OF_VISIT[row](case, visit, around)
    return JUDGES[row](case, around)
