"""What becomes of an issue as news of it arrives, and of its pack when it ends.

Owns the carrying out of core/issue_states.py's actions; must not decide when to look. Read next:
dispatch.py, where issues come from.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial

from batchsystems.common.jobscript import launch_words
from batchsystems.interface import Accepted, Ambiguous, JobEnd, Refused, Update
from jobtree.core import job_states
from jobtree.core.exit_status import WORKER_FAILED
from jobtree.core.issue_states import Action, News, State, advance
from jobtree.core.job import Job
from jobtree.core.rescue import (
    LAUNCHES,
    OUTDATED,
    UNCAUGHT,
    Charge,
    Ending,
    Verdict,
    failed_launch,
    judge,
    judge_unclaimed,
)
from jobtree.mailbox.last_error import last_error
from jobtree.mailbox.results import Hello
from jobtree.master.issue import Issue
from jobtree.master.launch import is_of_another
from jobtree.master.messages import log_given_up, log_loss
from jobtree.master.node_exclusion import mark_node_failure, note_end
from jobtree.master.result_events import apply_lines, drop_job, hand_back
from jobtree.master.run_state import RunState
from jobtree.payload import environment

log = logging.getLogger("jobtree")

HOLD_S = 5.0
"""Nothing is submitted for this long after the scheduler refused something for the moment."""

UNKNOWN = Ending("ENDED")


def on_update(run: RunState, issue: Issue, update: Update) -> None:
    """Take in what the batch system says of an issue."""
    if isinstance(update, Accepted):
        issue.native = update.native
        advance_issue(run, issue, News.ACCEPTED)
    elif isinstance(update, Ambiguous):
        log.warning("submission of %s got no clear answer: %s", issue.name, update.why)
        advance_issue(run, issue, News.UNSURE)
    elif isinstance(update, Refused):
        _on_refused(run, issue, update)
    elif isinstance(update, JobEnd):
        issue.node = update.node or issue.node
        all_read = issue.state == State.PUBLISHED and run.is_measured(issue)
        if all_read and update.wall_s is not None:
            run.overhead.ended(update.wall_s - issue.worked_s)
        ending = Ending(
            reason=update.reason.name,
            exit_status=update.exit_status,
            signal=update.signal,
            killed_for=issue.killed_for,
            node=issue.node,
            said="; ".join(update.evidence),
        )
        advance_issue(run, issue, News.ENDED, ending)


def _on_refused(run: RunState, issue: Issue, update: Refused) -> None:
    """Take in that a submission was refused; but its worker may have run all the same."""
    if update.transient:
        run.launches.hold(run.clock.now() + HOLD_S)
    else:
        read_results(run, issue)
    if advance(issue.state, News.REFUSED).state == State.ENDED:
        if not update.transient and not _asks_less_now(run, issue):
            _refuse_pack(run, issue, update.why)
        issue.note_kill(f"refused: {update.why}")
    advance_issue(run, issue, News.REFUSED)


def read_results(run: RunState, issue: Issue) -> None:
    """Read what an issue's worker has written since it was last read, and apply it to the tree."""
    lines = run.mailbox.read(issue.name)
    hello = run.mailbox.hello(issue.name)
    if hello is not None and issue.started_at is None:
        now = run.clock.now()
        issue.claimed(hello.host, now)
        if run.is_measured(issue) and not issue.adopted:
            run.overhead.started(issue.submission, now - issue.issued_at, now)
        advance_issue(run, issue, News.CLAIMED)
    if run.launches.failed_in_row and (
        run.mailbox.running(issue.name) is not None
        or any(not isinstance(line, Hello) for line in lines)  # with that they begin who give up
    ):
        run.launches.succeeded()
    if apply_lines(run, issue, lines):
        advance_issue(run, issue, News.PUBLISHED)


def advance_issue(run: RunState, issue: Issue, news: News, ending: Ending = UNKNOWN) -> None:
    """Advance an issue by the table, and carry out what the table says."""
    before = issue.state
    if ending is UNKNOWN:
        killed_for = issue.killed_for if before == State.KILLING else ""
        ending = UNKNOWN._replace(killed_for=killed_for, said=issue.killed_for)
    state, actions = advance(before, news)
    if state != before:
        run.change_state(issue, state)
    for action in actions:
        _act(run, issue, action, ending)
    if state == State.ENDED and before != State.ENDED:
        note_end(run, issue)


def _act(run: RunState, issue: Issue, action: Action, ending: Ending) -> None:
    if action == Action.KEEP_ID:
        run.store.renew_issue(issue.stored())
    elif action == Action.COLLECT:
        _collect(run, issue, ending)
    elif action == Action.RELEASE:
        _release(run, issue)
    elif action == Action.FENCE:
        run.tell_worker(issue)
    elif action == Action.KILL:
        run.kill_in_queue(issue)
    elif action == Action.TIDY:
        _tidy(run, issue)


def kill(run: RunState, issue: Issue, why: str) -> None:
    """Have an issue ended. Its jobs are reissued when its end is known, or presumed."""
    issue.note_kill(why)
    advance_issue(run, issue, News.KILL)
    run.store.renew_issue(issue.stored())


def _collect(run: RunState, issue: Issue, ending: Ending) -> None:
    """Adopt all an issue's worker wrote, and give every job left of its pack a new chance."""
    final = issue.state == State.ENDED
    ended = apply_lines(run, issue, run.mailbox.read(issue.name, final=final))
    if not issue.open:
        return
    damage = run.mailbox.damage(issue.name)
    if damage:
        log.error("%s; what it says from there on is not believed", damage)
    hello = run.mailbox.hello(issue.name)
    if hello is None:
        _collect_unbegun(run, issue, ending)
        return
    ending = _outdated(run, issue, ending)
    mark_node_failure(issue, ending)
    if final:
        # what the batch system calls ended may live on, as an orphan: it is to begin nothing more
        run.tell_worker(issue)
    running = run.mailbox.running(issue.name)
    victim = next(iter(issue.open))
    run.effects.append(partial(run.mailbox.remove_local, hello))
    if running is not None and running.job in issue.open:
        _charge(run, issue, running.job, _judge_running(run, issue, running.job, ending))
    elif not ended and not damage:
        _slow_down(run, ending)
        _charge(run, issue, victim, Verdict(Charge.FAULT, _last_error(run, issue)))
    elif damage:
        _charge(run, issue, victim, Verdict(Charge.FAULT, "its worker's results are damaged"))
    for job_id in list(issue.open):
        hand_back(run, issue, job_id)


def _outdated(run: RunState, issue: Issue, ending: Ending) -> Ending:
    """Return how an issue ended; say so if its worker may have lacked a part of jobTree."""
    may_lack = ending.reason == "FAILED" and ending.exit_status in (UNCAUGHT, WORKER_FAILED)
    if may_lack and is_of_another(run, issue):
        return ending._replace(reason=OUTDATED)
    return ending


def _collect_unbegun(run: RunState, issue: Issue, ending: Ending) -> None:
    """Give every job of an issue that no worker has begun a new chance."""
    ending = _failed_launch(run, issue, ending)
    mark_node_failure(issue, ending)
    _slow_down(run, ending)
    for job_id in list(issue.open):
        _charge(run, issue, job_id, judge_unclaimed(ending))


def _failed_launch(run: RunState, issue: Issue, ending: Ending) -> Ending:
    """Return how an issue ended that no worker has begun; tell if another jobTree is why."""
    words = _launch_words(run, issue)
    of_another = ending.reason in LAUNCHES and is_of_another(run, issue)
    ending = failed_launch(ending, words, of_another)
    issue.launch_error = words if ending.reason == "LAUNCH_FAILED" else None
    if ending.reason == OUTDATED and issue.submission not in run.outdated:
        run.outdated.add(issue.submission)
        printed = run.mailbox.launch_tail(issue.submission).rstrip("\n").rpartition("\n")[2]
        log.warning(
            "%s was submitted by another jobTree or Python, which does not start any more (%s): "
            "what it was to run is issued again, and nobody is charged",
            issue.submission,
            words or printed or ending.said or f"exit status {ending.exit_status}",
        )
    return ending


def _judge_running(run: RunState, issue: Issue, job_id: int, ending: Ending) -> Verdict:
    """Return who pays for the step that was running when its worker ended like this."""
    if ending.exit_status == WORKER_FAILED:
        words = last_error(run.mailbox.worker_tail(issue.name), issue.task)
        ending = ending._replace(said=words)
    return judge(ending, issue.granted, run.policy_now(), _losses(run, job_id))


def _losses(run: RunState, job_id: int) -> list[str]:
    """Return why earlier attempts at a job's present step were lost."""
    job = run.store.get(job_id)
    if job is None:
        return []
    found = (row for row in run.store.history(job_id) if row.step == job.step)
    return [row.why or "" for row in found if row.event == "lost"]


def _slow_down(run: RunState, ending: Ending) -> None:
    """Wait before the next submission if launch after launch fails."""
    now = run.clock.now()
    if ending.killed_for or ending.reason not in ("LAUNCH_FAILED", "FAILED"):
        return
    if run.launches.held(now):  # of the same wave
        return
    with suppress(OSError):  # a file system that does not answer is not the tree's fault
        environment.require(run.directory, run.store.meta("environment", ""))
    wait_s = run.launches.failed(now, run.policy)
    if wait_s:
        failed = run.launches.failed_in_row
        log.warning("the last %d launches failed: nothing is submitted for %.0f s", failed, wait_s)


def _release(run: RunState, issue: Issue) -> None:
    """Give back the pack of a refused issue; but it may have run all the same, so read first."""
    apply_lines(run, issue, run.mailbox.read(issue.name, final=True))
    for job_id in list(issue.open):
        _charge(run, issue, job_id, Verdict(Charge.NOBODY, "refused"))


def _launch_words(run: RunState, issue: Issue) -> str:
    """Return why no step was begun, as far as the batch job could say."""
    printed = run.mailbox.launch_tail(issue.submission)
    return last_error(printed, issue.task) or launch_words(printed, issue.task)


def _last_error(run: RunState, issue: Issue) -> str:
    """Return why a worker ended between two steps, as far as it could say."""
    words = last_error(run.mailbox.worker_tail(issue.name), issue.task)
    return f"its worker gave up: {words}" if words else "its worker ended between two steps"


def _charge(run: RunState, issue: Issue, job_id: int, verdict: Verdict) -> None:
    """Have a job's lost attempt paid for as judged, and make the job ready again if it may be."""
    held = drop_job(run, issue, job_id)
    if held is None:
        return
    job = held._replace(has_directory=True)  # who knows how far its lost attempt came
    run.store.put(held, job)
    if verdict.charge == Charge.NOBODY:
        run.apply(job, job_states.Unstarted())
        return
    label = job.stack[-1].label
    charged = verdict.charge in (Charge.USER, Charge.CRASH)
    run.record(job, "failed" if charged else "lost", label, issue=issue.name, why=verdict.why)
    after = run.apply(job, _event(verdict, run.settings.time_margin))
    log_loss(run, issue, job, after, label, verdict.why, charged)


def _event(verdict: Verdict, time_margin: float) -> job_states.Event:
    """Return the job event of a verdict; the tree keeps times without the margin added on top."""
    if verdict.charge == Charge.FAULT:
        return job_states.Faulted(verdict.isolate)
    if verdict.charge in (Charge.MEMORY, Charge.TIME):
        return job_states.Exhausted(verdict.memory_bytes, verdict.time_s / time_margin)
    return job_states.StepFailed(crashed=verdict.charge == Charge.CRASH)


def _asks_less_now(run: RunState, issue: Issue) -> bool:
    """Tell whether an issue was refused only for the margin that was added to its time.

    How long jobs may be is often not known before the first one is submitted.
    """
    most, asked = run.systems[issue.batch_system].capacity().largest.time_s, issue.granted.time_s
    if most is None or asked is None or asked <= most:
        return False
    jobs = (run.store.get(job) for job in issue.open)
    needed = [run.needs_of(job).time_s or 0.0 for job in jobs if job is not None and job.stack]
    return max(needed, default=asked) < asked


def _refuse_pack(run: RunState, issue: Issue, why: str) -> None:
    for job_id in list(issue.open):
        job = drop_job(run, issue, job_id)
        if job is not None:
            fail_for_good(run, job, why, issue.name)


def fail_for_good(run: RunState, job: Job, why: str, issue: str = "") -> None:
    """Fail a job for good, whatever retries it has: trying again cannot help."""
    label = job.stack[-1].label
    hopeless = job._replace(retries=0)
    run.record(job, "failed", label, issue=issue, why=why)
    run.store.put(job, hopeless)
    run.apply(hopeless, job_states.StepFailed())
    log_given_up(job, label, why)


def _tidy(run: RunState, issue: Issue) -> None:
    """Forget an ended issue; the files of its submission go with the last one."""
    if run.note_ended(issue):
        tidy_submission(run, issue.submission)
    else:
        run.store.renew_issue(issue.stored())


def tidy_submission(run: RunState, submission: str) -> None:
    """Remove all that is kept of a submission whose issues have all ended.

    If a move of outputs still needs its results, they stay until the move is made.
    """
    issues = run.submission_of(submission)
    waiting = set(run.moves.values())
    if any(issue.name in waiting for issue in issues):
        run.untidy.add(submission)
        for issue in issues:
            run.store.renew_issue(issue.stored())
        return
    run.untidy.discard(submission)
    for issue in issues:
        run.forget(issue)
    names = [issue.name for issue in issues]

    def remove() -> None:
        """Withdraw the order first: after that no worker starts to fill a bundle."""
        run.mailbox.tidy(submission, names)
        run.mailbox.forget_bundles(n for n in names if not run.store.needs_bundle(n))

    run.effects.append(remove)
