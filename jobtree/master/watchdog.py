"""Regular checks for issues that are missing, over-long, silent or stuck.

The life of a lost job:

1. Its batch job is not in a complete answer of the scheduler (VANISHED), or its worker's heartbeat
   stands still, or its step runs for longer than any may. One such sign decides nothing.
2. If the sign stays for the policy's grace, the issue is killed or given up, with a reason.
   First its worker is *fenced*: told, in a file it reads between steps, to begin nothing more.
3. When its end is known or presumed, its results are read to their end: what was done counts.
4. The step that was running pays (core/rescue.py says what: a rescue, a retry, nothing). The rest
   of its pack goes back for nothing. All of them turn white again.
5. Each is issued again as a new *attempt*. Whatever the old worker still writes has the old
   attempt's number, and is not believed. So a lost job may come back to life, and does no harm.

Owns when to look and what evidence to gather; judgement is core/rescue.py's. Read next:
issue_events.py, for steps 2 to 4.
"""

from __future__ import annotations

import logging

from batchsystems.errors import Unobtainable
from jobtree.core import rescue
from jobtree.core.issue_states import News, State
from jobtree.master.issue import Issue
from jobtree.master.issue_events import advance_issue, kill, read_results
from jobtree.master.node_exclusion import readmit_due
from jobtree.master.run_state import RunState

log = logging.getLogger("jobtree")

OUTAGE_SAID_S, OUTAGE_SAID_AGAIN_S = 600.0, 3600.0


def check_issues(run: RunState) -> None:
    """Look at every live issue once. Called every --rescueJobsFrequency."""
    running: dict[str, dict[int, float]] = {}
    listed: dict[str, frozenset[int] | None] = {}
    for name, system in run.systems.items():
        listed[name] = _listed(run, name)
        running[name] = system.getRunningJobIDs()
    for issue in list(run.issues.values()):
        run.mailbox.keep_alive()
        if issue.state == State.ENDED:
            continue
        ids = listed.get(issue.batch_system)
        running_s = running[issue.batch_system].get(issue.handle)
        if ids is not None and issue.handle:
            _compare(run, issue, issue.handle in ids, running_s is not None)
        if issue.state == State.QUEUED and running_s is not None:
            _check_unclaimed(run, issue, running_s)
        if issue.state == State.RUNNING:
            read_results(run, issue)
            _check_running(run, issue, running_s)
        check_grace(run, issue)
    readmit_due(run)


def check_grace(run: RunState, issue: Issue) -> None:
    """End the waiting of an issue whose present state has lasted long enough."""
    waited = run.clock.now() - issue.since
    policy = run.policy
    if issue.state == State.VANISHED:
        if rescue.missing_long_enough(waited, issue.absences, policy):
            issue.note_kill("missing from the batch system")
            advance_issue(run, issue, News.OVERDUE)
    elif issue.state in (State.SUBMITTING, State.AMBIGUOUS):
        if rescue.unanswered_long_enough(waited, issue.absences, policy):
            issue.note_kill("its submission was never answered")
            advance_issue(run, issue, News.OVERDUE)
    elif issue.state == State.KILLING and waited > policy.kill_s:
        log.warning("the end of %s could not be confirmed; its worker is fenced", issue.name)
        advance_issue(run, issue, News.OVERDUE)
    elif issue.state == State.PUBLISHED and issue.batch_system not in run.outages:
        _check_overstaying(run, issue, waited)


def _check_overstaying(run: RunState, issue: Issue, waited: float) -> None:
    """End what is still in the queue though all of it is known; a lost node's may stay there."""
    if issue.kill_sent and waited > run.policy.kill_s:
        log.warning("the end of %s could not be confirmed; all it did is known", issue.name)
        advance_issue(run, issue, News.ABSENT)
    elif not issue.kill_sent and waited > run.policy.publish_s:
        issue.kill_sent, issue.since = True, run.clock.now()
        advance_issue(run, issue, News.OVERDUE)


def _listed(run: RunState, name: str) -> frozenset[int] | None:
    """Return the adapter's complete answer, or None; say so when there has been none for long."""
    try:
        ids = run.systems[name].getIssuedJobIDs()
    except Unobtainable as error:
        now = run.clock.now()
        if now > run.outages.setdefault(name, now + OUTAGE_SAID_S):
            log.warning("%s gives no answer: %s; jobs are unaffected", name, error.what)
            run.outages[name] = now + OUTAGE_SAID_AGAIN_S
        return None
    run.outages.pop(name, None)
    return ids


def _compare(run: RunState, issue: Issue, present: bool, runs: bool) -> None:
    """Take in whether a complete answer lists an issue, and whether it is said to run.

    An adapter lists what it was handed before the scheduler has taken that: then it is not queued.
    """
    issue.listed(present)
    if present and (runs or issue.state == State.VANISHED):
        advance_issue(run, issue, News.PRESENT)
    elif not present:
        read_results(run, issue)
        if issue.state != State.ENDED:
            advance_issue(run, issue, News.ABSENT)


def _check_unclaimed(run: RunState, issue: Issue, running_s: float) -> None:
    """End an issue that is said to run, and that no worker has begun for very long."""
    if not issue.silent_twice(running_s, run.policy):
        return
    read_results(run, issue)
    if issue.state == State.QUEUED:
        issue.node_ok = False
        kill(run, issue, rescue.NEVER_BEGAN)


def _check_running(run: RunState, issue: Issue, running_s: float | None) -> None:
    """End an issue whose step takes too long, or that is silent.

    running_s: how long the batch system says it has run. It does not grow while a job is
    suspended: then neither its steps take longer, nor is it silent.
    """
    now = run.clock.now()
    start = run.mailbox.running(issue.name)
    if start is not None:
        lasted_s = issue.step_runs_s(start, now, running_s)
        if rescue.over_long(lasted_s, run.policy):
            most = run.policy.longest_step_s
            kill(run, issue, f"a step ran for more than --maxJobDuration ({most:g} s)")
            return
    if issue.heard_beat(run.mailbox.beat(issue.name), now, running_s):
        return
    if issue.silent_twice(issue.silent_s(now, running_s), run.policy):
        issue.node_ok = False
        kill(run, issue, f"no heartbeat for {run.policy.silent_s:.0f} s")
