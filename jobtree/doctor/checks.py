"""The checks: what counts as passed, row by row, and what is to be changed otherwise. Pure.

Owns a function for each row of the table; must not run, read or print anything.
Read next: grading.py, which calls them; diagnosis.py, failures that any canary may have.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from batchsystems.interface import Reason
from jobtree.doctor import canary as jobs
from jobtree.doctor.diagnosis import SHARE, describe_end
from jobtree.doctor.model import (
    Case,
    CheckResult,
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


def _runs(case: Case, context: JudgingContext) -> CheckResult:
    (end,) = case.ends
    if end.exit_status == 0:
        return CheckResult(jobs.RUNS, Grade.PASSED, f"a job ran{on_node(end)}")
    remedy = "it was to end with 0, and did not: see that worker.setup and worker.shell do no harm"
    keys = ("worker.setup", "worker.shell")
    return CheckResult(jobs.RUNS, Grade.FAILED, status_of(end), remedy, keys)


def _exit_status(case: Case, context: JudgingContext) -> CheckResult:
    (end,) = case.ends
    if end.exit_status == jobs.EXIT:
        return CheckResult(jobs.STATUS, Grade.PASSED, f"{jobs.EXIT} is told as {jobs.EXIT}")
    remedy = "see that worker.setup does not end the job, and that no wrapper changes its status"
    seen = f"{jobs.EXIT} is told as: {status_of(end)}"
    return CheckResult(jobs.STATUS, Grade.FAILED, seen, remedy, ("worker.setup",))


def _killed(case: Case, context: JudgingContext) -> CheckResult:
    (end,) = case.ends
    if end.signal == 9 or end.exit_status == 137:
        return CheckResult(jobs.KILLED, Grade.PASSED, f"signal 9 is told as {status_of(end)}")
    remedy = "a job that was killed must not look like one that ended: is a wrapper context it?"
    return CheckResult(jobs.KILLED, Grade.FAILED, f"signal 9 is told as {status_of(end)}", remedy)


def _time_limit(case: Case, context: JudgingContext) -> CheckResult:
    asked = case.canary.resources.time_s or 0.0
    if case.delay is Delay.RAN or not case.ends or case.ends[0].reason is not Reason.TIME_LIMIT:
        seen = f"still runs long after its limit of {asked:.0f} s"
        if case.ends:
            seen = f"told as: {describe_end(case.ends[0])} {status_of(case.ends[0])}"
        remedy = (
            "time limits do not hold, or are not told: jobs that hang are ended by "
            "rescue.max_job_duration alone, so set it"
        )
        return CheckResult(jobs.TIME, Grade.WARNING, seen, remedy, ("rescue.max_job_duration",))
    ran = case.ends[0].wall_s
    after = f" after {ran:.0f} s" if ran else ""
    return CheckResult(jobs.TIME, Grade.PASSED, f"a limit of {asked:.0f} s ended it{after}")


def _memory(case: Case, context: JudgingContext) -> CheckResult:
    asked = (case.canary.resources.memory_bytes or 0) // 2**20
    end = case.ends[0] if case.ends else None
    if end is not None and end.reason is Reason.OUT_OF_MEMORY:
        return CheckResult(
            jobs.MEMORY, Grade.PASSED, f"what took more than its {asked} MiB is told"
        )
    if end is not None and end.exit_status == jobs.NO_MEMORY:
        seen = f"a job is refused more than its {asked} MiB, and ends by itself"
        remedy = (
            "address space is limited, so such jobs look like any that fail, and are not tried "
            "again with more: if there is a resource that cgroups enforce, ask for that"
        )
        key = f"{context.system}.memory"
        return CheckResult(jobs.MEMORY, Grade.WARNING, seen, remedy, (key,))
    if end is not None and end.exit_status == 0:
        seen = f"{jobs.TOO_MUCH} times its {asked} MiB were taken, and nothing happened"
        remedy = (
            "memory is not limited here: jobs may disturb each other, and none is tried again with "
            "more. Let the batch system use cgroups (contrib/slurm/README.md)"
        )
        return CheckResult(jobs.MEMORY, Grade.WARNING, seen, remedy)
    how = status_of(end) if end is not None else "no end"
    seen = f"more than its {asked} MiB was taken, and it is told as {how}"
    remedy = (
        "jobs that need more memory will look like others that fail: let the batch system use "
        "cgroups, so that it says out of memory (contrib/slurm/README.md)"
    )
    return CheckResult(jobs.MEMORY, Grade.WARNING, seen, remedy)


def _array(case: Case, context: JudgingContext) -> CheckResult:
    good = sum(end.exit_status == 0 for end in case.ends)
    if good == jobs.TASKS and not case.missing:
        seen = f"{jobs.TASKS} tasks ran, each with its own index"
        return CheckResult(jobs.ARRAY, Grade.PASSED, seen)
    seen = f"{good} of {jobs.TASKS} tasks ended with 0; {len(case.missing)} indexes did not run"
    key = f"{context.system}.array_size"
    keys = (key,) if key in context.keys else ()
    remedy = "if arrays do not work here, submit single jobs" + (f": {key} = 1" if keys else "")
    return CheckResult(jobs.ARRAY, Grade.FAILED, seen, remedy, keys)


def _log(case: Case, context: JudgingContext) -> CheckResult:
    place = os.path.dirname(context.directory)
    if context.token in case.tail:
        return CheckResult(jobs.LOG, Grade.PASSED, f"the job's output is in {place}")
    seen = f"the job's output is not to be seen in {place}"
    return CheckResult(jobs.LOG, Grade.FAILED, f"{seen} ({status_of(case.ends[0])})", SHARE)


def _directory(case: Case, context: JudgingContext) -> CheckResult:
    (end,) = case.ends
    place, node = os.path.dirname(context.directory), end.node or "the node"
    if end.exit_status == 0 and not case.missing:
        seen = f"{node} sees {place}, and may write there"
        return CheckResult(jobs.DIRECTORY, Grade.PASSED, seen)
    said = {
        0: f"{node} wrote to {place}, but nothing of it is to be seen here",
        jobs.NO_DIRECTORY: f"{node} has no {place}, or may not enter it",
        jobs.OTHER_DIRECTORY: f"{node} has another directory in the place of {place}",
        jobs.READ_ONLY: f"{node} cannot write to {place}",
    }
    seen = said.get(end.exit_status if end.exit_status is not None else -1, status_of(end))
    return CheckResult(jobs.DIRECTORY, Grade.FAILED, seen, SHARE)


def _python(case: Case, context: JudgingContext) -> CheckResult:
    (end,) = case.ends
    python, node = context.python, end.node or "the node"
    if end.exit_status == 0:
        return CheckResult(
            jobs.PYTHON, Grade.PASSED, f"{python} is there on {node}, and new enough"
        )
    said = {
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
    seen = said.get(end.exit_status if end.exit_status is not None else -1, status_of(end))
    return CheckResult(jobs.PYTHON, Grade.FAILED, seen, remedy, ("worker.python", "worker.setup"))


def _worker(case: Case, context: JudgingContext) -> CheckResult:
    (end,) = case.ends
    if end.exit_status == jobs.NOT_OURS:
        return CheckResult(jobs.WORKER, Grade.PASSED, f"a worker starts{on_node(end)}")
    last = case.tail.strip().splitlines()[-1:] or [status_of(end)]
    home = os.path.dirname(case.canary.argv[3])
    remedy = (
        f"nodes must see jobTree itself, in {home}: install it on a file system that all nodes "
        f"mount (here {sys.prefix}), or at the same path on each"
    )
    return CheckResult(jobs.WORKER, Grade.FAILED, f"a worker does not start: {last[0]}", remedy)


# ---- from the exchange of files with a node ------------------------------------------------


def _scratch(case: Case, visit: Visit, context: JudgingContext) -> CheckResult:
    if visit.hello is None:
        return _no_visit(jobs.SCRATCH, case)
    found = visit.hello["scratch"]
    place, host = found["path"], visit.hello["host"]
    keys = ("worker.scratch",)
    if found["error"]:
        remedy = "set worker.scratch to a directory that every node has and every user may write"
        seen = f"{host} cannot make a directory in {place} ({found['error']})"
        return CheckResult(jobs.SCRATCH, Grade.FAILED, seen, remedy, keys)
    if found["unset"]:
        seen = f"{context.scratch} is not set on {host}, so {place} is taken"
        remedy = "name another place in worker.scratch, or set that variable in worker.setup"
        return CheckResult(jobs.SCRATCH, Grade.WARNING, seen, remedy, keys)
    free = f", {found['free_bytes'] / 2**30:.3g} GiB free" if found["free_bytes"] else ""
    return CheckResult(jobs.SCRATCH, Grade.PASSED, f"{place} on {host}{free}")


def _files(case: Case, visit: Visit, context: JudgingContext) -> CheckResult:
    if visit.pong is None:
        return _no_visit(jobs.FILES, case)
    took = visit.pong_at - visit.ping_at
    seen = f"a file and its answer went to the node and back in {took:.2g} s"
    if took <= SLOW_FILES_S:
        return CheckResult(jobs.FILES, Grade.PASSED, seen)
    remedy = (
        "results will be seen that late: let nodes and this host keep what they know of files for "
        "a shorter time (NFS: the mount option actimeo)"
    )
    return CheckResult(jobs.FILES, Grade.WARNING, seen, remedy)


def _clock(case: Case, visit: Visit, context: JudgingContext) -> CheckResult:
    found = clock_of(visit)
    if found is None:
        return _no_visit(jobs.CLOCK, case)
    ahead, give = found
    seen = f"the node's clock differs by {abs(ahead):.2f} s, give or take {give:.2f} s"
    if abs(ahead) - give <= context.clock_slack_s:
        return CheckResult(jobs.CLOCK, Grade.PASSED, seen)
    remedy = f"set the clocks (NTP), or raise grace.clock_slack ({context.clock_slack_s:g} s)"
    return CheckResult(jobs.CLOCK, Grade.FAILED, seen, remedy, ("grace.clock_slack",))


def _word(case: Case, visit: Visit, context: JudgingContext) -> CheckResult:
    lag = end_delay_s(case, visit)
    if lag is None:
        return _no_visit(jobs.WORD, case)
    seen = f"it came {lag:.1f} s after a job had ended"
    if lag <= context.published_s:
        return CheckResult(jobs.WORD, Grade.PASSED, seen)
    remedy = (
        f"batch jobs would be killed as left over: raise rescue.published ({context.published_s:g} "
        f"s) above that; or look more often, by pacing.poll_interval"
    )
    keys = ("rescue.published", "pacing.poll_interval")
    return CheckResult(jobs.WORD, Grade.FAILED, seen, remedy, keys)


def _no_visit(row: str, case: Case) -> CheckResult:
    """Return the failure of a check for which the exchange of files did not come to its end."""
    end = case.ends[0] if case.ends else None
    said = {
        UNANSWERED: "the node did not see the answer that was written here",
        UNWRITABLE: "the node could not write",
    }
    how = "no end was told" if end is None else status_of(end)
    why = said.get(end.exit_status or -1, how) if end is not None else how
    tail = case.tail.strip().splitlines()[-1:]
    return CheckResult(row, Grade.FAILED, "; ".join([why, *tail]), SHARE)


CHECKS: dict[str, Callable[[Case, JudgingContext], CheckResult]] = {
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

NODE_CHECKS: dict[str, Callable[[Case, Visit, JudgingContext], CheckResult]] = {
    jobs.SCRATCH: _scratch,
    jobs.FILES: _files,
    jobs.CLOCK: _clock,
    jobs.WORD: _word,
}
