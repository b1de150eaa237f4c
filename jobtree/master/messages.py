"""What the log says of jobs: that they failed, were lost, or have something to say.

Owns these texts; changes nothing. Read next: result_events.py and issue_events.py, which log them.
"""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterable

from jobtree.core.job import Colour, Job, attempt_count
from jobtree.mailbox.layout import log_path
from jobtree.master.issue import Issue
from jobtree.master.run_state import RunState

log = logging.getLogger("jobtree")

SHOWN_LINES = 20
"""Lines of a failed step's output that the log repeats."""


def log_said(job: Job, messages: Iterable[str]) -> None:
    """Pass on what a step told the master."""
    for message in messages:
        log.warning("message job=%d: %s", job.id, message)


def log_loss(
    run: RunState, issue: Issue, job: Job, after: Job, label: str, why: str, charged: bool
) -> None:
    """Log that an attempt was lost; if its step pays for it, with what its worker last said."""
    if charged:
        tail = run.mailbox.worker_tail(issue.name)
        where = log_path(run.directory, issue.name) if tail else ""
        log_failure(job, after, label, why, tail, where)
        return
    left = f"{after.rescues} rescues left"
    outlook = "given up: no rescues left" if after.colour == Colour.RED else f"again, {left}"
    attempt = attempt_count(job.attempt)
    log.warning("lost job=%d class=%s attempt=%d: %s; %s", job.id, label, attempt, why, outlook)


def log_failure(
    job: Job, after: Job, label: str, why: str, tail: str = "", where: str = ""
) -> None:
    """Log that a step failed, the end of its output, and which file has the rest."""
    if after.colour == Colour.RED:
        outlook = "failed for good: no retries left"
    else:
        outlook = f"retried, {after.retries} retries left"
    shown = [f"    {label}.{job.id} | {line}" for line in tail.splitlines()[-SHOWN_LINES:]]
    if where:
        shown.append(f"    {label}.{job.id} | (log: {where})")
    log.error(
        "failed job=%d class=%s attempt=%d: %s; %s%s",
        job.id,
        label,
        attempt_count(job.attempt),
        textwrap.shorten(why, 400),
        outlook,
        "".join(f"\n{line}" for line in shown),
    )


def log_given_up(job: Job, label: str, why: str) -> None:
    """Log that a job failed for good, whatever retries it had."""
    log.error("failed job=%d class=%s: %s", job.id, label, why)
