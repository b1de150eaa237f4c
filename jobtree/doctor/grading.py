"""Grading: from what became of canaries to one result for each check. Pure.

Owns the order of rows, and which failure explains which; must not run or print anything.
Read next: checks.py, each check by itself; diagnosis.py, failures that any canary may have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobtree.doctor import canary as jobs
from jobtree.doctor.checks import CHECKS, NODE_CHECKS
from jobtree.doctor.diagnosis import common_failure
from jobtree.doctor.model import Case, CheckResult, Grade, JudgingContext, Visit


def grade_all(
    cases: Mapping[str, Case], visit: Visit, context: JudgingContext
) -> list[CheckResult]:
    """Return the results, row by row; what cannot be judged for another's failure is skipped."""
    found = {row: _grade(row, cases, visit, context) for row in jobs.rows(cases)}
    for row, causes in _DEPENDS.items():
        cause = next((c for c in causes if c in found and found[c].grade is Grade.FAILED), None)
        if row in found and found[row].grade is not Grade.PASSED and cause:
            found[row] = CheckResult(row, Grade.SKIPPED, f"not judged: first mend {cause!r}")
    return sorted([*found.values(), *_left_out(found, context)], key=_place)


def all_passed(results: Sequence[CheckResult]) -> bool:
    """Tell whether no check failed."""
    return not any(result.grade is Grade.FAILED for result in results)


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


def _place(result: CheckResult) -> int:
    return jobs.ORDER.index(result.check)


def _left_out(found: Mapping[str, CheckResult], context: JudgingContext) -> list[CheckResult]:
    """Return a row for each check that was not made, with the reason."""
    first = found[jobs.RUNS]
    if first.grade is Grade.FAILED:
        why = f"not tried: first mend {jobs.RUNS!r}"
        return [CheckResult(row, Grade.SKIPPED, why) for row in jobs.ORDER if row not in found]
    reasons = {
        jobs.TIME: "left out by --quick",
        jobs.MEMORY: f"memory is not asked for ({context.system}.memory)",
    }
    return [
        CheckResult(row, Grade.SKIPPED, why) for row, why in reasons.items() if row not in found
    ]


def _grade(
    row: str, cases: Mapping[str, Case], visit: Visit, context: JudgingContext
) -> CheckResult:
    case = cases.get(row) or cases[jobs.VISIT]
    found = common_failure(row, case, context)
    if found is not None:
        return found
    if row in NODE_CHECKS:
        return CheckResult(row, *NODE_CHECKS[row](case, visit, context))
    return CheckResult(row, *CHECKS[row](case, context))
