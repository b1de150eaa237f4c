"""Dispatch: from ready jobs to submissions, while there is room.

Owns how much is out at once and what each issue asks for; must not read results.
Read next: recall.py.
"""

import os
from collections.abc import Callable
from math import ceil
from typing import NamedTuple

from batchsystems.interface import JobSpec, Resources
from jobtree.core import job_states
from jobtree.core.issue_states import State
from jobtree.core.job import Colour, CommandKind, Job, Requirements
from jobtree.core.packing import GROWTH, Known, Pack, ReadyJob, plan
from jobtree.core.sibling_estimates import sibling_group
from jobtree.mailbox.layout import SETUP_ENVIRONMENT, order_path, output_path
from jobtree.mailbox.orders import STACK_SENT, Assignment, Terms
from jobtree.master.issue import Issue
from jobtree.master.issue_events import fail_for_good
from jobtree.master.launch import program, worker_argv
from jobtree.master.recall import recall
from jobtree.master.run_state import RunState
from jobtree.payload.shell_environment import with_submission

MOST_CONSIDERED = 5_000
FEWEST_CONSIDERED = 256
"""Ready jobs considered in one turn."""

AHEAD_EVERY_S = 1.0
"""How often to look, when no slot is free and what was ready could not fill a batch job."""

FIRST_SLOTS = 100
"""Where the batch system cannot tell how many jobs it runs: so many at first, then twice as many
as were seen to run at once, up to settings.slots."""

UNTOLD_S = 10.0
"""A batch system that has not told its capacity by then is taken to run many jobs."""


def issue_ready(run: RunState) -> None:
    """Issue what is ready and has room: jobs turn grey now, and are submitted after the commit."""
    waiting, now = run.store.counts[Colour.WHITE], run.clock.now()
    if run.stopping or run.launches.held(now):
        return
    slots_in = run.in_use.slots_in
    run.slot_estimate.observe(slots_in[State.QUEUED], slots_in[State.RUNNING], now)
    room = _room(run)
    if not waiting:
        recall(run, room.free)
        return
    if room.free <= 0 and (room.ahead <= 0 or now < run.ahead_at):
        return
    jobs = {job.id: job for job in run.ready.pop(min(MOST_CONSIDERED, _wanted(run, room)))}
    ready = [entry for job in jobs.values() if (entry := _ready(run, job)) is not None]
    packs = plan(ready, room.free, room.total, _known(run), waiting, room.ahead)
    if not packs:
        run.ahead_at = now + AHEAD_EVERY_S
    run.largest_pack = max((len(pack.jobs) for pack in packs), default=1)
    packs = _affordable(run, packs)
    taken = {job for pack in packs for job in pack.jobs}
    known = {entry.job for entry in ready}
    run.ready.push_front([job for job in jobs.values() if job.id in known and job.id not in taken])
    alike: dict[Requirements, list[list[Job]]] = {}
    for pack in packs:
        alike.setdefault(pack.needs, []).append([jobs[number] for number in pack.jobs])
    for needs, members in alike.items():
        _submit(run, needs, members)


class _Room(NamedTuple):
    """How many slots of one cpu are free, of how many in all, and how many may be asked for."""

    free: int
    total: int
    ahead: int


def _room(run: RunState) -> _Room:
    """Return how much may be issued.

    Nothing, as long as the batch system has not said how many jobs it can run; but it is not
    waited for for long.
    """
    settings, capacity = run.settings, run.system.capacity()
    if not capacity.told and run.clock.now() - run.began < UNTOLD_S:
        return _Room(0, 0, 0)
    if capacity.slots is None:
        slots = min(settings.slots, max(FIRST_SLOTS, 2 * run.slot_estimate.peak))
    else:
        slots = max(1, capacity.slots)
    if run.slot_estimate.most is not None:
        slots = min(slots, run.slot_estimate.most)
    total = min(settings.max_cpus, slots)
    most = settings.max_jobs - run.in_use.issues
    free = min(total - run.in_use.slots, most)
    queued = 0 if run.system.here else min(settings.max_cpus, settings.slots)
    ahead = min(max(total, queued) - run.in_use.slots, most)
    return _Room(free, min(total, settings.max_jobs), ahead)


def _wanted(run: RunState, room: _Room) -> int:
    """Return how many ready jobs to look at: as many as packs now hold, and some more.

    Looking at all would take longer than issuing them, where packs are small and much waits.
    """
    share = ceil(run.store.counts[Colour.WHITE] / max(1, room.total))
    slots = max(room.free, room.ahead)
    return max(FEWEST_CONSIDERED, slots * min(share, GROWTH * run.largest_pack))


def _ready(run: RunState, job: Job) -> ReadyJob | None:
    """Return the job as packing sees it; None if it asks for what it can never get."""
    needs = run.needs_of(job)
    settings = run.settings
    for asked, most, option, unit in (
        (needs.cpus or 1, settings.max_cpus, "--maxCpus", 1),
        (needs.memory_bytes or 0, settings.max_memory_bytes, "--maxMemory", 2**30),
    ):
        if asked > most:
            fail_for_good(
                run,
                job,
                f"asks for {asked / unit:.4g}{' GiB' if unit > 1 else ' cpus'}, but {option} is "
                f"{most / unit:.4g}: raise it, or lower the job's request",
            )
            return None
    command = job.stack[-1]
    estimated = command.requirements.time_s is not None
    # not by keywords: each ready job passes here, some of them many times
    return ReadyJob(job.id, command.label, needs, estimated, sibling_group(job), job.time_s > 0)


def _known(run: RunState) -> Known:
    """Return what packing goes by."""
    return Known(
        classes=run.measured,
        job_time_s=run.settings.job_time_s,
        uneven=run.uneven,
        siblings=run.siblings.get,
        start_s=run.overhead.start_s,
        gap_s=run.overhead.gap_s,
    )


def _affordable(run: RunState, packs: list[Pack]) -> list[Pack]:
    """Drop the packs that --maxMemory has no room for now."""
    most = run.settings.max_memory_bytes
    used = run.in_use.memory_bytes
    kept = []
    for pack in packs:
        used += pack.needs.memory_bytes or 0
        if used > most:
            break
        kept.append(pack)
    return kept


def _submit(run: RunState, needs: Requirements, packs: list[list[Job]]) -> None:
    submission = run.next_submission(packs[0][0].stack[-1].label)
    granted = needs._replace(time_s=_time_s(run, needs, packs))
    issues, orders = [], []
    for task, jobs in enumerate(packs):
        jobs.sort(key=_runs_in_the_worker)  # a worker's process serves those best that come first
        assignments = [_assign(run, job) for job in jobs]
        issue = Issue(
            submission=submission,
            task=task,
            batch_system=run.settings.batch_system,
            granted=granted,
            pack=[(given.job, given.attempt, given.step) for given in assignments],
            submitted=run.clock.epoch(),
            issued_at=run.clock.now(),
        )
        run.add_issue(issue)
        issues.append(issue)
        orders.append(assignments)
    run.store.put_issues([issue.stored() for issue in issues])
    terms = _terms(run, submission, granted)
    run.effects.append(_submission(run, terms, issues, orders))


def _time_s(run: RunState, needs: Requirements, packs: list[list[Job]]) -> float:
    """Return the time to ask for: the reserve is given up where no queue has that much.

    What the longest job itself needs is asked for all the same: it is refused with that figure.
    """
    settings = run.settings
    wanted = max(settings.least_time_s, settings.time_margin * (needs.time_s or 0.0))
    most = run.system.capacity().largest.time_s
    if most is None or wanted <= most:
        return wanted
    return max(most, *(run.needs_of(job).time_s or 0.0 for pack in packs for job in pack))


def _runs_in_the_worker(job: Job) -> bool:
    """Tell whether a job's next step runs in the worker's own process, and so uses it up."""
    command = job.stack[-1]
    return command.kind == CommandKind.TARGET and not (job.isolate or command.isolate)


def _assign(run: RunState, job: Job) -> Assignment:
    job = run.apply(job, job_states.Issued(run.epoch))
    sent = job.stack[-STACK_SENT:]
    depth = len(job.stack) - len(sent)
    return Assignment(job.id, job.attempt, job.step, depth, job.isolate, sent)


def _submission(
    run: RunState, terms: Terms, issues: list[Issue], orders: list[list[Assignment]]
) -> Callable[[], None]:
    """Return the effect that writes the order and submits it."""

    def submit() -> None:
        run.mailbox.post(terms, orders)
        granted = terms.granted
        memory = (granted.memory_bytes or 0) + run.settings.worker_memory_bytes
        resources = Resources(
            cpus=granted.cpus or 1,
            memory_bytes=memory,
            gpus=granted.gpus or 0,
            time_s=granted.time_s,
        )
        argv = worker_argv(run.settings.python, order_path(run.directory, terms.submission))
        output = output_path(run.directory, terms.submission)
        env, private = with_submission(os.environ), f"{run.directory}/{SETUP_ENVIRONMENT}"
        specs = [
            JobSpec(
                terms.submission,
                argv,
                resources,
                issue.task,
                env=env,
                output=output,
                private_env=private,
            )
            for issue in issues
        ]
        handles = run.systems[issues[0].batch_system].issueJobs(specs)
        for issue, handle in zip(issues, handles, strict=True):
            run.set_handle(issue, handle)

    return submit


def _terms(run: RunState, submission: str, granted: Requirements) -> Terms:
    settings = run.settings
    return Terms(
        submission=submission,
        epoch=run.epoch,
        granted=granted,
        defaults=settings.defaults,
        doorbell=run.mailbox.bell.address,
        heartbeat_s=settings.heartbeat_s,
        max_log_bytes=settings.max_log_bytes,
        log_level=settings.log_level,
        job_time_s=settings.job_time_s,
        scratch=settings.scratch,
        environment=run.store.meta("environment", ""),
        local_logs=settings.local_logs,
        program=program(settings.python),
    )
