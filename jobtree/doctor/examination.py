"""One whole examination of a site, from its site file to a report.

Owns the order in which canaries run, and that nothing of them stays. Read next: runner.py.
"""

import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import NamedTuple

from batchsystems import registry
from batchsystems.interface import BatchSystem, Caller
from batchsystems.site import Site
from batchsystems.sitefiles import schema
from jobtree.doctor.canary import RUNS, VISIT, canaries, first_canary
from jobtree.doctor.grading import grade_all
from jobtree.doctor.model import (
    Case,
    CheckResult,
    ExaminationOptions,
    Grade,
    JudgingContext,
    Visit,
    clock_of,
    end_delay_s,
)
from jobtree.doctor.runner import CanaryRunner, own_directory
from jobtree.options import Settings


class Report(NamedTuple):
    """What came of an examination."""

    system: str
    """the batch system, by its one name"""
    results: list[CheckResult]
    measures: dict[str, float]
    """seconds, by what was measured"""


def examine(
    site: Site,
    settings: Settings,
    options: ExaminationOptions,
    tell: Callable[[str], None],
    complain: Callable[[str], None],
) -> Report:
    """Run canaries as the site describes, and return what is to be said of them.

    Raises BatchSystemError if the batch system cannot be used or reached, SiteError if the
    directory cannot be written. complain: is given what could not be cleaned up.
    """
    name = registry.canonical(settings.batch_system)
    with own_directory(options.directory) as (directory, token):
        context = JudgingContext(
            name,
            site,
            keys=[key for key in schema().keys if key.startswith(f"{name}.")],
            directory=directory,
            token=token,
            python=settings.python or sys.executable,
            scratch=settings.scratch,
            asks_memory=site.get(f"{name}.memory") not in ("none", ()),
            published_s=settings.policy.publish_s,
        )
        with closing(registry.load_for(name, site, Caller())) as system:
            cases, visit = _run(system, context, options, tell, complain)
        return Report(name, grade_all(cases, visit, context), _measures(cases, visit))


def _run(
    system: BatchSystem,
    context: JudgingContext,
    options: ExaminationOptions,
    tell: Callable[[str], None],
    complain: Callable[[str], None],
) -> tuple[Mapping[str, Case], Visit]:
    """Run the first canary, and if it runs all others; leave none of them behind."""
    runner = CanaryRunner(system, context.directory, context.token, options, tell)
    try:
        output = f"{context.directory}/setup.log" if context.site.get("worker.setup") else None
        runner.run([first_canary(output)])
        if grade_all(runner.cases, runner.visit, context)[0].grade is not Grade.FAILED:
            runner.run(canaries(context, options))
    finally:
        left = runner.kill_rest()
        if left:
            complain(f"the end of these batch jobs could not be confirmed: {', '.join(left)}")
    return runner.cases, runner.visit


def _measures(cases: Mapping[str, Case], visit: Visit) -> dict[str, float]:
    """Return what was measured, in seconds; what was not is left out."""
    found: dict[str, float] = {}
    first, visitor = cases[RUNS], cases.get(VISIT)
    if first.accepted is not None:
        found["submission accepted after"] = first.accepted - first.issued
    clock = clock_of(visit)
    if visitor is None or visit.hello is None or clock is None:
        return found
    ahead, give = clock
    began = float(visit.hello["began"]) - ahead
    if visitor.accepted is not None:
        found["waited in the queue"] = max(0.0, began - visitor.accepted)
    written = float(visit.hello["written"]) - ahead
    found["a file of the node seen here after"] = max(0.0, visit.hello_at - written)
    found["a file to the node and its answer back"] = visit.pong_at - visit.ping_at
    found["the node's clock is ahead by"] = ahead
    found["known to within"] = give
    lag = end_delay_s(visitor, visit)
    if lag is not None:
        found["word of a job's end after"] = lag
    return found
