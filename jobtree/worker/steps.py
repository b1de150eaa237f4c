"""Runs one step: a Target in this process or one of its own, or a shell command.

Owns the choice between them. Read next: targets.py, isolated.py, shell.py; chain.py, the caller.
"""

from __future__ import annotations

from jobtree.core.job import Command, Kind
from jobtree.mailbox.results import Usage
from jobtree.payload.context import Process, StepContext
from jobtree.worker.shell import Outcome, run_command
from jobtree.worker.targets import Desk, run_target


def run_step(
    desk: Desk, command: Command, context: StepContext, isolated: bool
) -> tuple[Outcome, Usage]:
    """Run a step to its end, whatever it is. Raises WorkerFailure, OSError for our own faults."""
    context.drop_deeper_directory()
    if command.kind != Kind.TARGET:
        return run_command(command, context, desk.terms)
    desk.surroundings.start_site(desk.meter.status)
    if isolated or command.isolate:
        from jobtree.worker.isolated import run_isolated

        return run_isolated(desk, command, context)
    Process.used = True
    desk.meter.start()
    outcome = run_target(desk, command, context)
    return outcome, desk.meter.stop()
