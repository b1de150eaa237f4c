"""Recalls: packs give back what they have not begun, when slots would stay empty.

Owns which packs, how much of each, and what becomes of one that does not answer; must not issue
anything. Read next: watchdog.py.

A worker keeps its own share of what it has not begun: it goes on with that at once, while every
other batch job has to be started.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from jobtree.core.issue_states import State
from jobtree.core.sibling_estimates import sibling_group
from jobtree.mailbox.claims import Fence, count_kept
from jobtree.master.issue import Issue
from jobtree.master.issue_events import read_results
from jobtree.master.result_events import hand_back
from jobtree.master.run_state import RunState

RECALL_S = 2.0
"""A pack's unstarted tail is recalled if it would wait for longer than this, or has."""

RECLAIM_S = 5.0
"""A recalled worker that has not answered for so long has what it did not begin taken back."""

RECALL_EVERY_S = 0.5

STALLED_STEPS = 3.0
"""A step that takes RECALL_S and so many times as long as its class's mean holds up its pack."""

FOREVER = float("inf")


def recall(run: RunState, free: int) -> None:
    """Have running packs share what they have not begun with slots that are free, or soon will be.

    free: less than 0 if more is out than can run. To be called when nothing is ready. Packs held
    up by one long step come first, then those that would last longest.
    """
    now = run.clock.now()
    if now < run.recall_at or free + run.in_use.slots_in[State.RUNNING] <= 0:
        return
    run.recall_at = now + RECALL_EVERY_S
    worth_s = max(RECALL_S, run.overhead.start_s)
    found: list[tuple[bool, float, Issue]] = []
    for issue in list(run.issues.values()):
        if issue.state != State.RUNNING:
            continue
        if len(issue.open) < 2:
            free += 1  # soon
            continue
        stalled, left_s = _outlook(run, issue, now)
        if issue.recalled_at is not None:
            if now - issue.recalled_at > RECLAIM_S:
                free -= _reclaim_tail(run, issue)
        elif stalled or (left_s > worth_s and len(issue.open) > 2):
            found.append((stalled, left_s, issue))
    if free > 0 and found:
        found.sort(key=lambda each: each[:2], reverse=True)
        _share(run, found[:free], free)


def _outlook(run: RunState, issue: Issue, now: float) -> tuple[bool, float]:
    """Return whether a step holds up its pack, and what is not begun is expected to take."""
    mean_s = _mean_s(run, issue)
    stalled = now - issue.progress_at > RECALL_S + STALLED_STEPS * mean_s
    if stalled:
        run.uneven.update(_labels(run, issue.open))
    return stalled, mean_s * (len(issue.open) - 1)


def _share(run: RunState, chosen: list[tuple[bool, float, Issue]], free: int) -> None:
    """Recall all parts but one of each pack; of a stalled one, all."""
    parts = 1 + ceil(free / len(chosen))
    for stalled, _, issue in chosen:
        issue.recall(0 if stalled else parts, run.clock.now())
        run.tell_worker(issue, Fence.recall(issue.recall_parts, issue.recalls))


def _reclaim_tail(run: RunState, issue: Issue) -> int:
    """Make ready again what a worker was told long ago to hand back; return how many jobs.

    It is busy with a long step, or it would have answered. It will see what it must not begin; if
    it has begun some of that, those results are of an attempt that no longer counts.
    """
    read_results(run, issue)
    begun = run.mailbox.running(issue.name)
    held = list(issue.open)
    if issue.recalled_at is None or issue.state != State.RUNNING:  # it has answered just now
        return 0
    if begun is None or begun.job not in held:
        return 0
    issue.recalled_at = FOREVER
    waiting = held[held.index(begun.job) + 1 :]  # what came before has results on their way
    tail = waiting[count_kept(issue.recall_parts, len(waiting)) :]
    for job in tail:
        hand_back(run, issue, job)
    return len(tail)


def _mean_s(run: RunState, issue: Issue) -> float:
    """Return how long a job of an issue is expected to take, as its last one; 0: not known."""
    job = run.store.get(next(reversed(issue.open)))
    if job is None or not job.stack:
        return 0.0
    command = job.stack[-1]
    found = run.measured.get(command.label) or run.siblings.get(sibling_group(job))
    return (command.requirements.time_s or 0.0) if found is None else found.mean_s


def _labels(run: RunState, jobs: Iterable[int]) -> set[str]:
    """Return the classes of the next steps of these jobs."""
    known = (run.store.get(job) for job in jobs)
    return {job.stack[-1].label for job in known if job is not None and job.stack}
