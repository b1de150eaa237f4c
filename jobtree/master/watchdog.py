"""Rescuing: the regular looks for issues that are missing, over-long, silent or stuck.

Owns when to look and what evidence to gather; judgement is core/rescue.py's. Read next: loop.py.
"""

from __future__ import annotations

import logging

from batchsystems.errors import Unobtainable
from jobtree.core import rescue
from jobtree.core.issue_states import News, State
from jobtree.master.issue_events import kill, take_lines, take_news
from jobtree.master.node_exclusion import forgive
from jobtree.master.run_state import Issue, Live

log = logging.getLogger("jobtree")

OUTAGE_SAID_S = 600.0


def look(live: Live) -> None:
    """Look at every live issue once. Called every --rescueJobsFrequency."""
    running: dict[str, dict[int, float]] = {}
    listed: dict[str, frozenset[int] | None] = {}
    for name, system in live.systems.items():
        listed[name] = _listed(live, name)
        running[name] = system.getRunningJobIDs()
    for issue in list(live.issues.values()):
        live.mailbox.keep_alive()
        if issue.state == State.ENDED:
            continue
        ids = listed.get(issue.batch_system)
        if ids is not None and issue.handle:
            _compare(live, issue, issue.handle in ids)
        running_s = running[issue.batch_system].get(issue.handle)
        if issue.state == State.QUEUED and running_s is not None:
            _check_unclaimed(live, issue, running_s)
        if issue.state == State.RUNNING:
            take_lines(live, issue)
            _check_running(live, issue, running_s)
        check_grace(live, issue)
    forgive(live)


def check_grace(live: Live, issue: Issue) -> None:
    """End the waiting of an issue whose present state has lasted long enough."""
    waited = live.clock.now() - issue.since
    policy = live.policy
    if issue.state == State.VANISHED:
        if rescue.missing_long_enough(waited, issue.absences, policy):
            issue.killed_for = issue.killed_for or "missing from the batch system"
            take_news(live, issue, News.OVERDUE)
    elif issue.state in (State.SUBMITTING, State.AMBIGUOUS):
        if rescue.unanswered_long_enough(waited, issue.absences, policy):
            issue.killed_for = issue.killed_for or "its submission was never answered"
            take_news(live, issue, News.OVERDUE)
    elif issue.state == State.KILLING and waited > policy.kill_s:
        log.warning("the end of %s could not be confirmed; its worker is fenced", issue.name)
        take_news(live, issue, News.OVERDUE)
    elif issue.state == State.PUBLISHED and issue.batch_system not in live.outages:
        _check_overstaying(live, issue, waited)


def _check_overstaying(live: Live, issue: Issue, waited: float) -> None:
    """End what is still in the queue though all of it is known; a lost node's may stay there."""
    if issue.overstayed and waited > live.policy.kill_s:
        log.warning("the end of %s could not be confirmed; all it did is known", issue.name)
        take_news(live, issue, News.ABSENT)
    elif not issue.overstayed and waited > live.policy.publish_s:
        issue.overstayed, issue.since = True, live.clock.now()
        take_news(live, issue, News.OVERDUE)


def _listed(live: Live, name: str) -> frozenset[int] | None:
    """Return the adapter's complete answer, or None; say so when there has been none for long."""
    try:
        ids = live.systems[name].getIssuedJobIDs()
    except Unobtainable as error:
        since = live.outages.setdefault(name, live.clock.now())
        if live.clock.now() - since > OUTAGE_SAID_S:
            log.warning("%s gives no answer: %s; jobs are unaffected", name, error.what)
        return None
    live.outages.pop(name, None)
    return ids


def _compare(live: Live, issue: Issue, present: bool) -> None:
    if present:
        issue.absences = 0
        take_news(live, issue, News.PRESENT)
    else:
        issue.absences += 1
        take_lines(live, issue)
        if issue.state != State.ENDED:
            take_news(live, issue, News.ABSENT)


def _check_unclaimed(live: Live, issue: Issue, running_s: float) -> None:
    """End an issue that is said to run, and that no worker has begun for very long."""
    if not _silent_twice(live, issue, running_s):
        return
    take_lines(live, issue)
    if issue.state == State.QUEUED:
        issue.fared_well = False
        kill(live, issue, rescue.NEVER_BEGAN)


def _check_running(live: Live, issue: Issue, running_s: float | None) -> None:
    """End an issue whose step takes too long, or that is silent.

    running_s: how long the batch system says it has run. It does not grow while a job is
    suspended: then neither its steps take longer, nor is it silent.
    """
    now = live.clock.now()
    start = live.mailbox.running(issue.name)
    if start is not None:
        mark = (start.job, start.attempt, start.step)
        if issue.step_began is None or issue.step_began[0] != mark:
            issue.step_began = (mark, now)
        lasted = now - issue.step_began[1] if running_s is None else running_s - start.at_s
        if rescue.over_long(lasted, live.policy):
            most = live.policy.longest_step_s
            kill(live, issue, f"a step ran for more than --maxJobDuration ({most:g} s)")
            return
    beat = live.mailbox.beat(issue.name)
    if beat != issue.beat:
        issue.beat, issue.beat_at = beat if beat is not None else -1, now
        issue.ran_at_beat_s, issue.silent = running_s, False
        return
    silent_s = now - issue.beat_at
    if running_s is not None and issue.ran_at_beat_s is not None:
        silent_s = min(silent_s, running_s - issue.ran_at_beat_s)
    if _silent_twice(live, issue, silent_s):
        issue.fared_well = False
        kill(live, issue, f"no heartbeat for {live.policy.silent_s:.0f} s")


def _silent_twice(live: Live, issue: Issue, silent_s: float) -> bool:
    """Tell whether an issue is silent for too long, and was when it was last looked at.

    What has stalled this master for that long, as a file server does that is away, has stalled its
    workers, too: they have until the next look to be heard.
    """
    before, issue.silent = issue.silent, rescue.silent_too_long(silent_s, live.policy)
    return before and issue.silent
