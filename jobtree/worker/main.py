"""The worker: claims an issue, runs its jobs one after another, publishes what happened.

Owns the order of these acts and the exit status; must not know colours or schedulers, and
imports only the light standard library. Read next: chain.py (one job), sidecar.py.

Exit status: 0 once all results are published, whatever the steps returned; 75 if the issue is
another's, withdrawn or fenced off; 70 for a failure of its own or its node's, as when the tree is
not to be seen there. Never a step's.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from functools import partial
from time import monotonic, time
from typing import NoReturn

from batchsystems import signals
from batchsystems.errors import ReportableError
from jobtree.core.exit_status import NOT_OURS, PUBLISHED, WORKER_FAILED
from jobtree.mailbox.claims import Claim, Fence, read_fence, remove_note, take_claim
from jobtree.mailbox.descriptors import (
    Descriptors,
    Identity,
    StandardInput,
    identity,
    leads_to,
    move_high,
)
from jobtree.mailbox.doorbell import ring
from jobtree.mailbox.files import exists_after_listing, remove_file
from jobtree.mailbox.layout import claim_path, issue_name, log_path, result_path
from jobtree.mailbox.orders import Assignment, Terms, read_order
from jobtree.mailbox.results import End, Hello
from jobtree.mailbox.worker_side import ResultWriter
from jobtree.payload.context import LocalDirectory, scratch_on_node
from jobtree.payload.environment import load
from jobtree.worker.chain import Fenced, WorkerRun, guard_exit, run_job
from jobtree.worker.sidecar import WORKER_MARK, Sidecar, SidecarConfig
from jobtree.worker.steplog import StepLog
from jobtree.worker.targets import StepTools, WorkerFailure, leave_process, make_step_tools

RUNNING_LOG = "log"

TIME_MARGIN = 1.5
"""No job is begun with less time left than the longest one took, times this."""


def main(argv: list[str]) -> NoReturn:
    """Be a worker; end the process with the status that says how it went."""
    signals.reset()
    errors = move_high(os.dup(2))  # the log takes its place, and may be what fails
    what = identity(errors)
    os.register_at_fork(after_in_child=partial(_close, errors, what))
    try:
        order_path, index = argv
        status = _work(os.path.abspath(order_path), int(index))
    except Fenced as fenced:
        status = fenced.status
    except BaseException as error:  # noqa: BLE001 - the outermost boundary
        _explain({errors, 2} if leads_to(errors, what) else {2}, int(argv[-1]), error)
        status = WORKER_FAILED
    leave_process(status)


def _close(fd: int, what: Identity) -> None:
    """Close what a daemon forked by a Target must not hold open."""
    if leads_to(fd, what):
        os.close(fd)


def _explain(errors: set[int], index: int, error: BaseException) -> None:
    """Say on the first standard error why this worker gives up."""
    sys.dont_write_bytecode = True  # a full disk would leave a .pyc cut short, for ever
    try:
        text = _error_text(index, error)
    except (ImportError, SyntaxError):  # jobTree was replaced while this ran, or is gone
        text = f"jobtree worker: task {index}: {error}\n"
    for fd in errors:
        with suppress(OSError):
            os.write(fd, text.encode(errors="replace"))


def _error_text(index: int, error: BaseException) -> str:
    from traceback import format_exception

    from jobtree.mailbox.last_error import format_error

    expected = isinstance(error, WorkerFailure | ReportableError)
    text = format_error(index, error, expected or isinstance(error, OSError))
    return text if expected else text + "".join(format_exception(error))


def _work(order: str, index: int) -> int:
    """Do what the order says for one task; return the exit status."""
    tree = os.path.dirname(os.path.dirname(order))
    try:
        if not exists_after_listing(order):
            raise FileNotFoundError(order)
        terms, pack = read_order(order, index)
    except FileNotFoundError:
        return _leave_withdrawn(tree)
    except (ValueError, KeyError, TypeError) as error:
        raise WorkerFailure(f"the order cannot be read: {error}") from error
    if terms.submission != os.path.basename(order):
        _refuse_other_order(order, terms.submission)
        return NOT_OURS
    issue = issue_name(terms.submission, index)
    if read_fence(tree, issue) == Fence.STOP:
        return NOT_OURS
    local = f"{scratch_on_node(terms.scratch)}/jobtree-{os.urandom(8).hex()}"
    me = Hello(os.uname().nodename, os.getpid(), os.urandom(8).hex(), time(), local)
    began = monotonic()
    claim_fd = take_claim(tree, issue, Claim(me.host, me.pid, me.nonce, me.started, 0))
    if claim_fd is None:
        return _lose_claim(tree, issue, me.nonce, order)
    results = ResultWriter(tree, issue)
    if not exists_after_listing(order):  # withdrawn meanwhile, and a copy's claim may be with it
        return _withdraw(tree, issue, claim_fd, results)
    return _run_claimed(tree, issue, terms, pack, me, claim_fd, results, began)


def _run_claimed(
    tree: str,
    issue: str,
    terms: Terms,
    pack: list[Assignment],
    me: Hello,
    claim_fd: int,
    results: ResultWriter,
    began: float,
) -> int:
    """Run the pack of an issue that this worker has claimed; return the exit status."""
    local = LocalDirectory(me.local)
    kept_log = log_path(tree, issue)
    running_log = f"{local.claim()}/{RUNNING_LOG}" if terms.local_logs else ""
    log_now = running_log or kept_log
    config = SidecarConfig(tree, issue, terms, claim_fd, local.path, log_now, me.nonce)
    sidecar = Sidecar(config)
    os.close(claim_fd)
    standard_input = StandardInput()
    results.append(me)
    log = StepLog(kept_log, terms.max_log_bytes, running_log)
    try:
        descriptors = Descriptors((standard_input, log, results, sidecar))
        tools = _step_tools(tree, terms, config, sidecar, descriptors)
        run = WorkerRun(tools, terms, results, log, local, sidecar, issue, began)
        _run_pack(run, pack)
        _publish_end(run)
    finally:
        local.remove()
    if not run.tainted:  # a thread left at work might hang them
        tools.process_state.run_exit_functions()
    tools.process_state.flush()
    return PUBLISHED


def _leave_withdrawn(tree: str) -> int:
    """Leave an order that was withdrawn. Raises StoreError if the tree itself is not there."""
    from jobtree.mailbox.visibility import require_tree

    require_tree(tree)
    return NOT_OURS


def _refuse_other_order(order: str, submission: str) -> None:
    """Say why a batch job that was submitted for one order does not run another."""
    said = f"jobtree: {order} is the order of {submission}: it is not run, and nothing is charged\n"
    with suppress(OSError):
        os.write(2, said.encode(errors="replace"))


def _lose_claim(tree: str, issue: str, nonce: str, order: str) -> int:
    """Leave an issue to the copy that claimed it; take_claim() has left a note of that.

    If the order was withdrawn meanwhile, nobody else may be left to remove the note.
    """
    if not exists_after_listing(order):
        remove_note(tree, issue, nonce)
    return NOT_OURS


def _withdraw(tree: str, issue: str, claim_fd: int, results: ResultWriter) -> int:
    """Remove all of an issue that was over before this worker claimed it."""
    os.close(claim_fd)
    results.close()
    for path in (result_path(tree, issue), claim_path(tree, issue)):
        remove_file(path)
    return NOT_OURS


def _step_tools(
    tree: str, terms: Terms, config: SidecarConfig, sidecar: Sidecar, descriptors: Descriptors
) -> StepTools:
    """Put this process into the workflow's environment; return what steps are run with."""
    try:
        saved = load(tree, terms.environment)
        saved.environ[WORKER_MARK] = config.mark
        how = terms.log_level, terms.job_time_s, sidecar.runs_group
        return make_step_tools(tree, config.issue, saved, descriptors, *how)
    except (OSError, ValueError) as error:
        raise WorkerFailure(f"the workflow's environment is not to be had: {error}") from error


def _run_pack(run: WorkerRun, pack: list[Assignment]) -> None:
    """Run the jobs of a pack in order; hand back those that are not to be started."""
    run.waiting = pack[::-1]

    def finish() -> NoReturn:
        """End this process after a Target's os._exit()."""
        status = WORKER_FAILED
        try:
            run.hand_back_rest()
            _publish_end(run)
            status = PUBLISHED
        finally:
            leave_process(status)

    gc.freeze()
    gc.enable()
    vars(os)["_exit"] = guard_exit(run, finish)
    longest_s = 0.0
    while run.waiting:
        if run.tainted or run.check_fence() or run.remaining_s() < TIME_MARGIN * longest_s:
            break
        if not run.waiting:
            return
        assignment = run.waiting.pop()
        run.last = not run.waiting
        began = monotonic()
        run_job(run, assignment)
        longest_s = max(longest_s, monotonic() - began)
    run.hand_back_rest()


def _publish_end(run: WorkerRun) -> None:
    """Write the last line and make all of it durable. Raises OSError if that cannot be."""
    run.tools.descriptors.repair()  # a thread may have been left at work
    run.local.remove()
    run.results.append(End(round(monotonic() - run.began, 6)))
    run.tools.bundle.sync()
    run.tools.bundle.close()
    run.results.sync()
    run.results.close()
    run.sidecar.end()
    if run.terms.doorbell is not None:
        ring(run.terms.doorbell, run.issue)
    run.log.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
