"""Shutdown: what has not been sent yet, and what is said of it when nobody will send it any more.

Owns the words for jobs that are left; must not run a command. Read next: adapter.py.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from batchsystems.commandline.engine import Engine
from batchsystems.commandline.jobs import Job
from batchsystems.commandline.submissions import NEVER_SUBMITTED
from batchsystems.interface import Ambiguous, Refused

log = logging.getLogger("jobtree.batchsystems")

SHOWN = 5
"""So many jobs are named."""


def sending(engine: Engine) -> bool:
    """Tell whether anything is unsent."""
    return engine.submitting is not None or bool(engine.submission_queue.waiting)


def unsent(engine: Engine) -> frozenset[int]:
    """Return the jobs of which the scheduler has not heard, or has not answered."""
    flying = engine.submitting.jobs if engine.submitting is not None else []
    waiting = [job for batch in engine.submission_queue.waiting for job in batch.jobs]
    return frozenset(
        job.handle for job in (*flying, *waiting) if job.handle in engine.job_table.jobs
    )


def withdraw(engine: Engine) -> frozenset[int]:
    """Take back all that was not submitted, and what is just being submitted if that fails."""
    if engine.submitting is not None:
        engine.submitting.withdrawn = True
    dropped = engine.submission_queue.empty(NEVER_SUBMITTED)
    return frozenset(job.handle for job in dropped)


def refuse_unsent(engine: Engine) -> None:
    """Refuse what still waits, and say so."""
    name, submission_queue = engine.dialect.name, engine.submission_queue
    why = submission_queue.held_for or "there was no time to submit it at the pace that is allowed"
    said = f"{name} was closed before it was submitted: {why}"
    dropped = submission_queue.empty(Refused(said, transient=True))
    if dropped:
        text = "%s: closed before %d jobs were submitted (%s), and they are not: %s"
        log.warning(text, name, len(dropped), why, _names(dropped))


def leave_unclear(engine: Engine) -> None:
    """Say of which submissions it is not known whether the scheduler has them."""
    flying = engine.submitting.jobs if engine.submitting is not None else []
    for job in flying:
        engine.job_table.tell(job, Ambiguous("closed before there was an answer"))
    left = [*flying, *(job for search in engine.reconciler.searches for job in search.jobs)]
    if left:
        text = (
            "%s: closed before it was clear whether %d jobs, which may have been accepted, were: %s"
        )
        log.warning(text, engine.dialect.name, len(left), _names(left))


def _names(jobs: Sequence[Job]) -> str:
    names = list(dict.fromkeys(job.part_name or job.name for job in jobs))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
