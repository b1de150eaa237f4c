"""How the lines a worker wrote become events of the tree.

Owns which lines count: only those of a job's current attempt and step. Must not talk to a
scheduler. Read next: issue_events.py, for what is left when an issue ends.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from functools import partial

from jobtree.core import job_states
from jobtree.core.job import Colour, Command, Job
from jobtree.core.rescue import REPLACED, Charge, Ending, judge, lacks_a_part
from jobtree.mailbox.layout import failed_log_path
from jobtree.mailbox.results import (
    Done,
    End,
    Failed,
    ResultLine,
    Returned,
    decode_line,
    encode_line,
)
from jobtree.master.issue import Issue
from jobtree.master.launch import is_of_another
from jobtree.master.messages import log_failure, log_loss, log_said
from jobtree.master.run_state import RunState

FILE_SYSTEM_FAILS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS)
"""Errors of a file system that are no step's fault."""


def apply_lines(run: RunState, issue: Issue, lines: list[ResultLine]) -> bool:
    """Carry the lines of an issue into the tree; True if the last of them was read."""
    ended = False
    for line in lines:
        if isinstance(line, Done):
            _apply_done(run, issue, line)
        elif isinstance(line, Failed):
            _apply_failed(run, issue, line)
        elif isinstance(line, Returned):
            issue.recalled_at = None
            for job_id in line.jobs:
                hand_back(run, issue, job_id)
        elif isinstance(line, End):
            ended = True
    return ended


def held_job(run: RunState, issue: Issue, job_id: int) -> Job | None:
    """Return the job if this issue holds its current attempt and step, else None."""
    job = run.store.get(job_id)
    held = issue.open.get(job_id)
    if job is None or held != (job.attempt, job.step) or job.colour != Colour.GREY:
        return None
    return job


def drop_job(run: RunState, issue: Issue, job_id: int) -> Job | None:
    """Expect nothing more of a job from an issue; return the job if the issue held it."""
    job = held_job(run, issue, job_id)
    issue.drop(job_id)
    return job


def hand_back(run: RunState, issue: Issue, job_id: int) -> None:
    """Make a job ready again that its issue did not begin; nobody is charged."""
    job = drop_job(run, issue, job_id)
    if job is not None:
        run.apply(job, job_states.Unstarted())


def _apply_done(run: RunState, issue: Issue, line: Done) -> None:
    job = held_job(run, issue, line.job)
    if job is None or (line.attempt, line.step) != (job.attempt, job.step):
        return
    command = job.stack[-1]
    issue.step_done(line.usage.wall_s, run.clock.now())
    waited = None if issue.started_at is None else max(0.0, issue.started_at - issue.issued_at)
    run.measure(job, line.usage.wall_s)
    run.record(
        job,
        "done",
        command.label,
        issue=issue.name,
        estimate_s=command.requirements.time_s,
        wall_s=line.usage.wall_s,
        cpu_s=line.usage.cpu_s,
        memory_bytes=line.usage.memory_bytes,
        waited_s=waited,
        log_offset=line.log.offset,
        log_length=line.log.length,
        detail=line.said or None,
    )
    log_said(job, line.messages)
    if line.publish:
        issue.drop(job.id)
        run.apply(job, job_states.StepDone(moves=True, has_directory=line.has_directory))
        run.begin_move(job, issue.name, encode_line(line).decode())
        run.effects.append(partial(make_moves, run, job.id, issue.name, line))
        return
    after = run.apply(job, _event(line), _children(run, issue.name, line))
    if after.colour == Colour.GREY:
        issue.expect(after)
    else:
        issue.drop(job.id)


def make_moves(run: RunState, job_id: int, issue: str, line: Done) -> None:
    """Move a step's outputs into place, then let the tree go on from it, or fail it.

    Runs after the adoption was committed, and again after a crash; what it brings about is
    part of the next commit. What the file system itself fails at (it is full, it is gone) is
    not the step's fault: that ends this master, and the next one makes the move.
    """
    job = run.store.get(job_id)
    if job is None or job.colour != Colour.BLACK:
        return
    try:
        for source, destination in line.publish:
            run.mailbox.move(source, destination)
    except OSError as error:
        if error.errno in FILE_SYSTEM_FAILS:
            raise
        why = f"an output could not be published: {error}"
        label = job.stack[-1].label
        run.record(job, "failed", label, issue=issue, why=why)
        after = run.apply(job, job_states.StepFailed())
        log_failure(job, after, label, why)
    else:
        run.apply(job, job_states.Moved(_event(line)), _children(run, issue, line))
    run.end_move(job_id)


def replay_moves(run: RunState) -> None:
    """Make again the moves that an earlier master may not have finished."""
    for job_id, _attempt, issue, text in run.store.moves():
        line = decode_line(text.encode())
        assert isinstance(line, Done)
        run.moves[job_id] = issue
        make_moves(run, job_id, issue, line)


def _event(line: Done) -> job_states.StepDone:
    return job_states.StepDone(
        child_count=line.child_count,
        child=line.children[0] if line.child_count == 1 else None,
        follow_on=line.follow_on,
        goes_on=line.goes_on,
        has_directory=line.has_directory,
    )


def _children(run: RunState, issue: str, line: Done) -> Iterable[Command]:
    if line.children_at < 0:
        return line.children
    return run.mailbox.children(issue, line.children_at, line.job, line.child_count)


def _apply_failed(run: RunState, issue: Issue, line: Failed) -> None:
    job = held_job(run, issue, line.job)
    if job is None or (line.attempt, line.step) != (job.attempt, job.step):
        return
    label = job.stack[-1].label
    log_said(job, line.messages)
    if lacks_a_part(line.why) and is_of_another(run, issue):
        _lose(run, issue, job, line, f"{REPLACED}: {line.why}", job_states.Faulted())
        return
    issue.node_ok = False
    if line.out_of_memory and _give_more_memory(run, issue, job, line):
        return
    run.record(
        job,
        "failed",
        label,
        issue=issue.name,
        wall_s=line.usage.wall_s,
        cpu_s=line.usage.cpu_s,
        memory_bytes=line.usage.memory_bytes,
        why=line.why,
        detail=line.detail,
    )
    issue.drop(job.id)
    after = run.apply(job, job_states.StepFailed(line.crashed, line.has_directory))
    tail = run.mailbox.failure_tail(job.id, line.step, line.attempt) if line.log_kept else ""
    if line.detail and line.detail not in tail:
        tail = f"{tail}\n{line.detail}".strip("\n")
    where = failed_log_path(run.directory, job.id, line.step, line.attempt)
    log_failure(job, after, label, line.why, tail, where if line.log_kept else "")


def _give_more_memory(run: RunState, issue: Issue, job: Job, line: Failed) -> bool:
    """Have a step tried with more memory that failed for want of it; False if none is left."""
    ending = Ending("OUT_OF_MEMORY", node=issue.node)
    verdict = judge(ending, issue.granted, run.policy_now())
    if verdict.charge != Charge.MEMORY:
        return False
    more = job_states.Exhausted(verdict.memory_bytes, 0.0)
    _lose(run, issue, job, line, f"{verdict.why}: {line.why}", more)
    return True


def _lose(
    run: RunState, issue: Issue, job: Job, line: Failed, why: str, event: job_states.Event
) -> None:
    """Have a step tried again that failed by no doing of its own."""
    issue.drop(job.id)
    begun = job._replace(has_directory=job.has_directory or line.has_directory)
    run.store.put(job, begun)
    label = job.stack[-1].label
    run.record(job, "lost", label, issue=issue.name, why=why, detail=line.detail)
    after = run.apply(begun, event)
    log_loss(run, issue, job, after, label, why, charged=False)
