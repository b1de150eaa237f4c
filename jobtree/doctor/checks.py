"""The checks: what counts as passed, row by row, and what is to be changed otherwise. Pure.

Owns a function for each row of the table; must not run, read or print anything.
Read next: grading.py, which calls them; diagnosis.py, failures that any canary may have.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from batchsystems.interface import JobEnd, Reason
from jobtree.core.exit_status import NOT_OURS
from jobtree.doctor import canary as jobs
from jobtree.doctor.diagnosis import SHARE, describe_end
from jobtree.doctor.model import (
    Case,
    Delay,
    Grade,
    JudgingContext,
    Visit,
    clock_of,
    end_delay_s,
    on_node,
    status_of,
)
from jobtree.doctor.node_script import UNANSWERED, UNWRITABLE

SLOW_FILES_S = 5.0

Finding = tuple[Grade, str, str, tuple[str, ...]]
"""What a CheckResult says of its check."""


def _passed(seen: str) -> Finding:
    return Grade.PASSED, seen, "", ()


def _warning(seen: str, remedy: str, *keys: str) -> Finding:
    return Grade.WARNING, seen, remedy, keys


def _failed(seen: str, remedy: str, *keys: str) -> Finding:
    return Grade.FAILED, seen, remedy, keys


def _runs(case: Case, context: JudgingContext) -> Finding:
    (end,) = case.ends
    if end.exit_status == 0:
        return _passed(f"a job ran{on_node(end)}")
    remedy = "it was to end with 0, and did not: see that worker.setup and worker.shell do no harm"
    return _failed(status_of(end), remedy, "worker.setup", "worker.shell")


def _exit_status(case: Case, context: JudgingContext) -> Finding:
    (end,) = case.ends
    if end.exit_status == jobs.EXIT:
        return _passed(f"{jobs.EXIT} is told as {jobs.EXIT}")
    remedy = "see that worker.setup does not end the job, and that no wrapper changes its status"
    return _failed(f"{jobs.EXIT} is told as: {status_of(end)}", remedy, "worker.setup")


def _killed(case: Case, context: JudgingContext) -> Finding:
    (end,) = case.ends
    if end.signal == 9 or end.exit_status == 137:
        return _passed(f"signal 9 is told as {status_of(end)}")
    remedy = "a job that was killed must not look like one that ended: is a wrapper around it?"
    return _failed(f"signal 9 is told as {status_of(end)}", remedy)


def _time_limit(case: Case, context: JudgingContext) -> Finding:
    asked = case.canary.resources.time_s or 0.0
    if case.delay is Delay.RAN or not case.ends or case.ends[0].reason is not Reason.TIME_LIMIT:
        seen = f"still runs long after its limit of {asked:.0f} s"
        if case.ends:
            seen = f"told as: {describe_end(case.ends[0])} {status_of(case.ends[0])}"
        remedy = (
            "time limits do not hold, or are not told: jobs that hang are ended by "
            "rescue.max_job_duration alone, so set it"
        )
        return _warning(seen, remedy, "rescue.max_job_duration")
    ran = case.ends[0].wall_s
    after = f" after {ran:.0f} s" if ran else ""
    return _passed(f"a limit of {asked:.0f} s ended it{after}")


def _memory(case: Case, context: JudgingContext) -> Finding:
    asked = (case.canary.resources.memory_bytes or 0) // 2**20
    end = case.ends[0] if case.ends else None
    if end is not None and end.reason is Reason.OUT_OF_MEMORY:
        return _passed(f"what took more than its {asked} MiB is told")
    if end is not None and end.exit_status == jobs.NO_MEMORY:
        seen = f"a job is refused more than its {asked} MiB, and ends by itself"
        remedy = (
            "address space is limited, so such jobs look like any that fail, and are not tried "
            "again with more: if there is a resource that cgroups enforce, ask for that"
        )
        return _warning(seen, remedy, f"{context.system}.memory")
    if end is not None and end.exit_status == 0:
        seen = f"{jobs.TOO_MUCH} times its {asked} MiB were taken, and nothing happened"
        remedy = (
            "memory is not limited here: jobs may disturb each other, and none is tried again with "
            "more. Let the batch system use cgroups (contrib/slurm/README.md)"
        )
        return _warning(seen, remedy)
    how = status_of(end) if end is not None else "no end"
    seen = f"more than its {asked} MiB was taken, and it is told as {how}"
    remedy = (
        "jobs that need more memory will look like others that fail: let the batch system use "
        "cgroups, so that it says out of memory (contrib/slurm/README.md)"
    )
    return _warning(seen, remedy)


def _array(case: Case, context: JudgingContext) -> Finding:
    good = sum(end.exit_status == 0 for end in case.ends)
    if good == jobs.TASKS and not case.missing:
        return _passed(f"{jobs.TASKS} tasks ran, each with its own index")
    seen = f"{good} of {jobs.TASKS} tasks ended with 0; {len(case.missing)} indexes did not run"
    key = f"{context.system}.array_size"
    keys = (key,) if key in context.keys else ()
    remedy = "if arrays do not work here, submit single jobs" + (f": {key} = 1" if keys else "")
    return _failed(seen, remedy, *keys)


def _log(case: Case, context: JudgingContext) -> Finding:
    place = os.path.dirname(context.directory)
    if context.token in case.tail:
        return _passed(f"the job's output is in {place}")
    seen = f"the job's output is not to be seen in {place}"
    return _failed(f"{seen} ({status_of(case.ends[0])})", SHARE)


def _directory(case: Case, context: JudgingContext) -> Finding:
    (end,) = case.ends
    place, node = os.path.dirname(context.directory), end.node or "the node"
    if end.exit_status == 0 and not case.missing:
        return _passed(f"{node} sees {place}, and may write there")
    wrong = {
        0: f"{node} wrote to {place}, but nothing of it is to be seen here",
        jobs.NO_DIRECTORY: f"{node} has no {place}, or may not enter it",
        jobs.OTHER_DIRECTORY: f"{node} has another directory in the place of {place}",
        jobs.READ_ONLY: f"{node} cannot write to {place}",
    }
    return _failed(_by_status(end, wrong), SHARE)


def _python(case: Case, context: JudgingContext) -> Finding:
    (end,) = case.ends
    python, node = context.python, end.node or "the node"
    if end.exit_status == 0:
        return _passed(f"{python} is there on {node}, and new enough")
    wrong = {
        jobs.NO_PYTHON: f"there is no {python} on {node}",
        jobs.OLD_PYTHON: f"{python} on {node} is older than 3.11",
        jobs.BROKEN_PYTHON: f"{python} does not start on {node}",
    }
    setting = context.site.settings.get("worker.python")
    where = "" if setting is None else f" ({setting.origin} says {setting.written})"
    remedy = (
        f"set worker.python to a Python of 3.11 or later that all nodes have{where}, or have "
        "worker.setup bring it (module load ...)"
    )
    return _failed(_by_status(end, wrong), remedy, "worker.python", "worker.setup")


def _worker(case: Case, context: JudgingContext) -> Finding:
    (end,) = case.ends
    if end.exit_status == NOT_OURS:  # there is no order for it: it started, and looked
        return _passed(f"a worker starts{on_node(end)}")
    last = case.tail.strip().splitlines()[-1:] or [status_of(end)]
    home = os.path.dirname(case.canary.argv[3])
    remedy = (
        f"nodes must see jobTree itself, in {home}: install it on a file system that all nodes "
        f"mount (here {sys.prefix}), or at the same path on each"
    )
    return _failed(f"a worker does not start: {last[0]}", remedy)


# ---- from the exchange of files with a node ------------------------------------------------


def _scratch(case: Case, visit: Visit, context: JudgingContext) -> Finding:
    if visit.hello is None:
        return _no_visit(case)
    found = visit.hello["scratch"]
    place, host = found["path"], visit.hello["host"]
    if found["error"]:
        remedy = "set worker.scratch to a directory that every node has and every user may write"
        seen = f"{host} cannot make a directory in {place} ({found['error']})"
        return _failed(seen, remedy, "worker.scratch")
    if found["unset"]:
        seen = f"{context.scratch} is not set on {host}, so {place} is taken"
        remedy = "name another place in worker.scratch, or set that variable in worker.setup"
        return _warning(seen, remedy, "worker.scratch")
    free = f", {found['free_bytes'] / 2**30:.3g} GiB free" if found["free_bytes"] else ""
    return _passed(f"{place} on {host}{free}")


def _files(case: Case, visit: Visit, context: JudgingContext) -> Finding:
    if visit.pong is None:
        return _no_visit(case)
    took = visit.pong_at - visit.ping_at
    seen = f"a file and its answer went to the node and back in {took:.2g} s"
    if took <= SLOW_FILES_S:
        return _passed(seen)
    remedy = (
        "results will be seen that late: let nodes and this host keep what they know of files for "
        "a shorter time (NFS: the mount option actimeo)"
    )
    return _warning(seen, remedy)


def _clock(case: Case, visit: Visit, context: JudgingContext) -> Finding:
    found = clock_of(visit)
    if found is None:
        return _no_visit(case)
    ahead, give = found
    seen = f"the node's clock differs by {abs(ahead):.2f} s, give or take {give:.2f} s"
    if abs(ahead) - give <= context.clock_slack_s:
        return _passed(seen)
    return _failed(seen, "set the clocks (NTP)")


def _word(case: Case, visit: Visit, context: JudgingContext) -> Finding:
    lag = end_delay_s(case, visit)
    if lag is None:
        return _no_visit(case)
    seen = f"it came {lag:.1f} s after a job had ended"
    if lag <= context.published_s:
        return _passed(seen)
    remedy = (
        f"batch jobs would be killed as left over: raise rescue.published ({context.published_s:g} "
        f"s) above that; or look more often, by pacing.poll_interval"
    )
    return _failed(seen, remedy, "rescue.published", "pacing.poll_interval")


def _no_visit(case: Case) -> Finding:
    """Return the failure of a check for which the exchange of files did not come to its end."""
    wrong = {
        UNANSWERED: "the node did not see the answer that was written here",
        UNWRITABLE: "the node could not write",
    }
    why = _by_status(case.ends[0], wrong) if case.ends else "no end was told"
    tail = case.tail.strip().splitlines()[-1:]
    return _failed("; ".join([why, *tail]), SHARE)


def _by_status(end: JobEnd, wrong: Mapping[int, str]) -> str:
    """Return what an exit status of our own means, or else how the job ended."""
    status = end.exit_status
    return status_of(end) if status is None else wrong.get(status, status_of(end))


CHECKS: dict[str, Callable[[Case, JudgingContext], Finding]] = {
    jobs.RUNS: _runs,
    jobs.STATUS: _exit_status,
    jobs.KILLED: _killed,
    jobs.TIME: _time_limit,
    jobs.MEMORY: _memory,
    jobs.ARRAY: _array,
    jobs.LOG: _log,
    jobs.DIRECTORY: _directory,
    jobs.PYTHON: _python,
    jobs.WORKER: _worker,
}

NODE_CHECKS: dict[str, Callable[[Case, Visit, JudgingContext], Finding]] = {
    jobs.SCRATCH: _scratch,
    jobs.FILES: _files,
    jobs.CLOCK: _clock,
    jobs.WORD: _word,
}
