"""Runs a Target in a process of its own, in which no other Target has run.

Owns that process and its report; must not know what a Target is. Read next: steps.py.

While no Target has run in the worker's own process, a fork of it will do: it holds nothing but
jobTree's modules. Afterwards it could inherit locks, thread pools and the state of random number
generators; so the process is then a fresh interpreter.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from contextlib import suppress
from typing import Any

from jobtree.core.exit_status import WORKER_FAILED
from jobtree.core.job import Command, Requirements, command_from_wire
from jobtree.mailbox.descriptors import (
    Descriptors,
    Identity,
    StandardInput,
    identity,
    leads_to,
    move_high,
)
from jobtree.mailbox.layout import job_directory
from jobtree.mailbox.results import Usage
from jobtree.payload.context import LocalDirectory, StepContext, ThisProcess
from jobtree.payload.environment import Environment
from jobtree.worker.interpreter_state import reseed
from jobtree.worker.shell import (
    BACK_TO_DEFAULT,
    StepOutcome,
    block_signals,
    restore_signals,
    seems_killed,
    signal_name,
    wait_for_group,
)
from jobtree.worker.targets import (
    StepTools,
    WorkerFailure,
    leave_process,
    make_step_tools,
    run_target,
)
from jobtree.worker.usage import usage_of_child

REPORT_FD = 3
"""The descriptor by which a fresh interpreter is told what to run, and on which it reports."""


def run_isolated(
    tools: StepTools, command: Command, context: StepContext
) -> tuple[StepOutcome, Usage]:
    """Run a Target in a process of its own: whatever it does, only that process suffers.

    Raises OSError if there can be none.
    """
    report_fd = _open_report(tools)
    tools.process_state.flush()
    tools.meter.start()
    mask = block_signals()
    try:
        start = _start_interpreter if ThisProcess.used else _fork
        pid = start(tools, command, context, report_fd)
    except OSError:
        restore_signals(mask)
        raise
    status, used = wait_for_group(pid, tools.settings.on_group, mask)
    tools.bundle.look_again()
    context.local.look_again()
    usage = usage_of_child(tools.meter.stop().wall_s, used)._replace(memory_bytes=None)
    told = _read_report(report_fd, context)
    os.close(report_fd)
    if told is not None:
        outcome, own_usage = told
        return outcome, usage._replace(memory_bytes=own_usage.memory_bytes)
    context.has_directory = os.path.lexists(job_directory(context.tree, context.job))
    return _crash(os.waitstatus_to_exitcode(status)), usage


def _crash(code: int) -> StepOutcome:
    killed = seems_killed(code)
    if code < 0:
        why = f"killed by {signal_name(-code)}"
        return StepOutcome(why, signal=-code, crashed=True, killed=killed)
    why = f"the Target ended its own process with exit status {code}"
    return StepOutcome(why, exit_status=code, crashed=True, killed=killed)


# ---- two ways to have such a process -----------------------------------------------------


def _fork(tools: StepTools, command: Command, context: StepContext, report_fd: int) -> int:
    """Start the step in a fork of this process; return its pid."""
    what, worker = identity(report_fd), os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            restore_signals(())
            tools.meter.reopen()
            _run_and_report(tools, command, context, (report_fd, what, worker))
        finally:
            leave_process(WORKER_FAILED)
    with suppress(OSError):  # it has done so itself, or is gone
        os.setpgid(pid, pid)
    return pid


def _start_interpreter(
    tools: StepTools, command: Command, context: StepContext, report_fd: int
) -> int:
    """Start the step in a fresh interpreter; return its pid."""
    settings, local = tools.settings, context.local
    told = {
        "environment": tools.process_state.saved._asdict(),
        "settings": [settings.log_level, settings.job_time_s],
        "issue": tools.issue,
        "command": command,
        "local": [local.path, local.steps],
        "context": [
            *(context.tree, context.job, context.attempt, context.step),
            *(context.depth, context.granted),
        ],
    }
    with open(report_fd, "wb", closefd=False) as file:
        file.write(json.dumps(told).encode())
    os.lseek(report_fd, 0, os.SEEK_SET)
    start = os.path.join(os.path.dirname(os.path.abspath(__file__)), "start.py")
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", "-X", "utf8", start, "--step"],
        settings.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, report_fd, REPORT_FD)],
        setpgroup=0,
        setsigmask=(),
        setsigdef=BACK_TO_DEFAULT,
    )


def main() -> None:
    """Be the fresh interpreter."""
    os.closerange(
        REPORT_FD + 1, 65536
    )  # Targets of the worker may have let others have their files
    with open(REPORT_FD, "rb", closefd=False) as file:
        told: dict[str, Any] = json.loads(file.read())
    report_fd = move_high(REPORT_FD)
    os.lseek(report_fd, 0, os.SEEK_SET)
    os.ftruncate(report_fd, 0)
    tree, job, attempt, step, depth, granted = told["context"]
    local = LocalDirectory(*told["local"])
    context = StepContext(tree, job, attempt, step, depth, Requirements(*granted), local)
    saved = Environment(**told["environment"])
    descriptors = Descriptors((StandardInput(), _Output()))
    how = *told["settings"], lambda _: None
    tools = make_step_tools(tree, told["issue"], saved, descriptors, *how)
    gc.freeze()
    gc.enable()
    command = command_from_wire(told["command"])
    _run_and_report(tools, command, context, (report_fd, identity(report_fd), os.getppid()))


class _Output:
    """The worker's log, as a step's own process has it: descriptors 1 and 2."""

    def __init__(self) -> None:
        self._fd = move_high(os.dup(1))
        self._identity = identity(self._fd)

    def repair(self) -> bool:
        if not leads_to(self._fd, self._identity):
            return False
        os.dup2(self._fd, 1)
        os.dup2(self._fd, 2)
        return True


def _run_and_report(
    tools: StepTools, command: Command, context: StepContext, report: tuple[int, Identity, int]
) -> None:
    """Run the Target, report how it went, and end this process.

    report: the descriptor to report on, what it leads to, and which process has it too.
    """
    try:
        reseed()
        tools.process_state.run_site(tools.meter.status)
        tools.meter.start()
        outcome = run_target(tools, command, context)
        fd, what, worker = report
        if not leads_to(fd, what):
            fd = os.open(f"/proc/{worker}/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
        _write_report(fd, outcome, context, tools.meter.stop())
        tools.process_state.run_exit_functions()
        tools.process_state.flush()
    except BaseException as error:  # noqa: BLE001 - nothing may return into the worker
        os.write(2, f"the isolated Target's process failed: {error}\n".encode())
        leave_process(WORKER_FAILED)
    leave_process(0)


# ---- its report --------------------------------------------------------------------------


def _open_report(tools: StepTools) -> int:
    """Return a descriptor of an unnamed file on which a child process can report."""
    try:
        return move_high(os.memfd_create("jobtree-report"))
    except (AttributeError, OSError):
        flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
        return move_high(os.open(f"{tools.tree}/results", flags, 0o600))


def _write_report(report_fd: int, outcome: StepOutcome, context: StepContext, usage: Usage) -> None:
    told = [outcome, usage, context.messages, context.publish, context.has_directory]
    with open(report_fd, "wb", closefd=False) as file:
        file.write(json.dumps(told).encode())


def _read_report(report_fd: int, context: StepContext) -> tuple[StepOutcome, Usage] | None:
    """Return what the child reported; None if it ended before it could."""
    os.lseek(report_fd, 0, os.SEEK_SET)
    with open(report_fd, "rb", closefd=False) as file:
        content = file.read()
    if content.startswith(b"{"):
        raise WorkerFailure("an interpreter for an isolated step did not start")
    try:
        outcome, usage, messages, publish, has_directory = json.loads(content)
    except ValueError:
        return None
    context.messages, context.publish, context.has_directory = messages, publish, has_directory
    why, children, follow_on, *rest = outcome
    then = None if follow_on is None else command_from_wire(follow_on)
    return StepOutcome(why, [command_from_wire(child) for child in children], then, *rest), Usage(
        *usage
    )
