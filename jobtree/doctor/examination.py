"""Clinic: one whole examination of a site, from its site file to verdicts and measures.

Owns the order of its rounds, and that nothing of them stays. Read next: runner.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import NamedTuple

from batchsystems import registry
from batchsystems.interface import BatchSystem, Caller
from batchsystems.site import Site
from batchsystems.sitefiles import schema
from jobtree.doctor.canary import RUNS, VISIT, Haste, Means, canaries, first_canary
from jobtree.doctor.grading import judge
from jobtree.doctor.model import Around, Case, Grade, Verdict, Visit, clock_of, word_s
from jobtree.doctor.runner import Limits, Round, place
from jobtree.options import Settings


class Wishes(NamedTuple):
    """What an examination is to be like. directory: where trees are to be."""

    directory: str
    quick: bool = False
    haste: Haste = Haste()
    limits: Limits = Limits()


class Report(NamedTuple):
    """What came of it. measures: seconds, by name."""

    system: str
    verdicts: list[Verdict]
    measures: dict[str, float]


def examine(
    site: Site,
    settings: Settings,
    wishes: Wishes,
    tell: Callable[[str], None],
    complain: Callable[[str], None],
) -> Report:
    """Run canaries as the site describes, and return what is to be said of them.

    Raises BatchSystemError if the batch system cannot be used or reached, SiteError if the
    directory cannot be written. complain: is given what could not be cleaned up.
    """
    name = registry.canonical(settings.batch_system)
    with place(wishes.directory) as (own, token):
        python = settings.python or sys.executable
        asked = site.get(f"{name}.memory") not in ("none", ())
        means = Means(own, token, python, settings.scratch, asked)
        keys = [key for key in schema().keys if key.startswith(f"{name}.")]
        around = Around(
            name,
            site,
            keys,
            means,
            clock_slack_s=site.get("grace.clock_slack", Around._field_defaults["clock_slack_s"]),
            published_s=settings.policy.publish_s,
            quick=wishes.quick,
        )
        with closing(registry.load_for(name, site, Caller())) as system:
            cases, visit = _run(system, own, token, around, wishes, tell, complain)
        return Report(name, judge(cases, visit, around), _measures(cases, visit))


def _run(
    system: BatchSystem,
    own: str,
    token: str,
    around: Around,
    wishes: Wishes,
    tell: Callable[[str], None],
    complain: Callable[[str], None],
) -> tuple[Mapping[str, Case], Visit]:
    """Run the first canary, and if it runs all others; leave none of them behind."""
    made = Round(system, own, token, wishes.limits, tell)
    try:
        output = f"{own}/setup.log" if around.site.get("worker.setup") else None
        made.run([first_canary(output)])
        if judge(made.cases, made.visit, around)[0].grade is not Grade.FAILED:
            made.run(canaries(around.means, wishes.haste, wishes.quick))
    finally:
        left = made.leave()
        if left:
            complain(f"the end of these batch jobs could not be confirmed: {', '.join(left)}")
    return made.cases, made.visit


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
    lag = word_s(visitor, visit)
    if lag is not None:
        found["word of a job's end after"] = lag
    return found
