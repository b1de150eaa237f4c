"""Runs a Target in this process, and says how it went.

Owns what success and failure of a Target are; must not write results, nor decide what is next.
Read next: steps.py, which calls it; ../payload/serialize.py, how a Target comes out of a pickle.
"""

import os
import sys
from _contextvars import copy_context
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from jobtree.core.job import Command
from jobtree.mailbox.bundles import BundleReader, BundleWriter
from jobtree.mailbox.descriptors import Descriptors
from jobtree.payload.context import StepContext, ThisProcess
from jobtree.payload.environment import Environment
from jobtree.payload.lazy_functions import refuse_unrun
from jobtree.payload.main_script import Script
from jobtree.payload.node import node_of
from jobtree.payload.serialize import Unreadable, handed_over, restore_target
from jobtree.worker.process_state import ProcessState
from jobtree.worker.shell import StepOutcome, StepSettings, seems_killed
from jobtree.worker.usage import Meter

if TYPE_CHECKING:
    from traceback import TracebackException

leave_process = os._exit
"""The real one: in a worker, os._exit is replaced by chain.guard_exit()."""

MOST_DETAIL_CHARACTERS = 16 * 1024
MOST_CAUSES = 20
_OWN_FILES = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class WorkerFailure(Exception):
    """This worker, its node or a file system is at fault, not the step."""


class StepTools(NamedTuple):
    """What steps are run with."""

    tree: str
    issue: str
    pickles: BundleReader  # has the Targets that steps are
    bundle: BundleWriter  # takes the Targets that steps add
    script: Script  # the workflow's `__main__`
    process_state: ProcessState  # restored after each Target
    descriptors: Descriptors  # repaired after each Target
    meter: Meter
    settings: StepSettings


def make_step_tools(
    tree: str,
    issue: str,
    saved: Environment,
    descriptors: Descriptors,
    log_level: str,
    job_time_s: float,
    on_group: Callable[[int], None],
) -> StepTools:
    """Put this process into the workflow's environment; return what steps are run with.

    Raises OSError if this node does not have the workflow's directory.
    """
    process_state = ProcessState(saved)
    ThisProcess.in_worker = True
    meter = Meter()
    process_state.flush()
    process_state.record_signals(meter.status())
    script = Script(saved.main_path, saved.main_module)
    script.install()
    bundle = BundleWriter(tree, issue)
    descriptors.owners += [bundle, meter]
    settings = StepSettings(process_state.environ, log_level, job_time_s, on_group)
    pickles = BundleReader(tree, bundle)
    return StepTools(
        tree, issue, pickles, bundle, script, process_state, descriptors, meter, settings
    )


def run_target(tools: StepTools, command: Command, context: StepContext) -> StepOutcome:
    """Run a Target in this process; whatever it raises is its failure."""
    try:
        assert command.pickle is not None
        pickled = tools.pickles.read(command.pickle)
    except OSError as error:
        raise WorkerFailure(f"cannot read a pickled Target: {error}") from error
    except Exception as error:  # noqa: BLE001 - not to be trusted, or damaged
        return _failure(error)
    here = os.getpid()
    try:
        target = restore_target(tools.tree, pickled, tools.script)
        del pickled
        tools.process_state.record(tools.meter.status)
        node = node_of(target)
        node.context = context
        run: Callable[[], object] = target.run
        try:
            refuse_unrun(copy_context().run(_undisturbed, run), run)
        except SystemExit as left:
            if left.code not in (None, 0):
                return _failure(left)
        finally:
            if os.getpid() != here:  # a process the Target forked came back from run()
                leave_process(0)
            tools.process_state.wait_for_leftovers()
            node.context = None
            restore_worker(tools)
        return StepOutcome("", *handed_over(target, tools.bundle))
    except Unreadable as error:
        raise WorkerFailure(f"cannot read a pickled Target: {error}") from error
    except WorkerFailure:
        raise
    except BaseException as error:  # the outermost boundary of a user's code
        if _lacks_a_part(error):
            raise WorkerFailure(f"jobTree was replaced while it ran: {error}") from error
        return _failure(error)


def _lacks_a_part(error: BaseException) -> bool:
    """Tell whether jobTree itself has found a part of it gone or changed, not the user's code."""
    name = (getattr(error, "name", None) or "").partition(".")[0]
    last = error.__traceback__
    if not isinstance(error, ImportError) or name not in ("jobtree", "batchsystems") or not last:
        return False
    while last.tb_next:
        last = last.tb_next
    return last.tb_frame.f_code.co_filename.startswith(_OWN_FILES)


def _undisturbed(run: Callable[[], object]) -> object:
    """Call a Target's run() in a context of its own: context variables set there end with it."""
    decimal: Any = sys.modules.get("decimal")
    if decimal is not None:
        decimal.setcontext(decimal.getcontext().copy())
    return run()


def restore_worker(tools: StepTools) -> None:
    """Undo limits, flush what was printed, and repair our descriptors.

    To be called before anything else is opened or written: a step may have closed them, and opened
    others under their numbers. Raises WorkerFailure if they are lost for good.
    """
    tools.process_state.restore_settings()
    tools.process_state.flush()
    try:
        tools.descriptors.repair()
    except OSError as error:
        raise WorkerFailure(f"a step closed this worker's files for good: {error}") from error


def _failure(error: BaseException) -> StepOutcome:
    """Return the outcome of a Target that raised; print the traceback into its log."""
    from traceback import TracebackException

    from batchsystems.errors import ReportableError

    killed = seems_killed(*_codes(error))
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else 1
        said = "" if isinstance(error.code, int) else f": {error.code}"
        return StepOutcome(f"sys.exit({status}){said}"[:1000], exit_status=status, killed=killed)
    told = TracebackException(type(error), error, error.__traceback__)
    seen: set[int] = set()
    _trim(told, seen)
    detail = "".join(told.format())
    with suppress(Exception):  # the Target's own stderr may raise anything
        sys.stderr.write(detail)
    if isinstance(error, ReportableError):
        why = f"error[{error.code}]: {error.what}"
    else:
        why = _reason(told)
    if len(detail) > MOST_DETAIL_CHARACTERS:
        half = MOST_DETAIL_CHARACTERS // 2
        detail = f"{detail[:half]}\n[...]\n{detail[-half:]}"
    return StepOutcome(why[:1000], detail=detail, killed=killed)


def _reason(told: "TracebackException") -> str:
    """Return an exception's type and its whole message as one line, without its notes.

    The lines with which a SyntaxError quotes the source are left out.
    """
    said = [text for text in told.format_exception_only() if not text.startswith(" ")]
    return " ".join("".join(said[:1]).split())


def _codes(error: BaseException) -> list[object]:
    """Return the exit statuses of children that an exception and its causes tell of."""
    codes: list[object] = []
    link: BaseException | None = error
    with suppress(Exception):  # an exception's own attributes may raise anything
        while link is not None and len(codes) < MOST_CAUSES:
            left = isinstance(link, SystemExit)
            codes.append(getattr(link, "code" if left else "returncode", None))
            link = link.__cause__ or link.__context__
    return codes


def _trim(told: Any, seen: set[int]) -> None:
    """Remove jobTree's own frames from a traceback and its causes."""
    while told is not None and id(told) not in seen:
        seen.add(id(told))
        frames = [frame for frame in told.stack if not frame.filename.startswith(_OWN_FILES)]
        told.stack[:] = frames
        for part in getattr(told, "exceptions", None) or ():
            _trim(part, seen)
        _trim(told.__cause__, seen)
        told = told.__context__
