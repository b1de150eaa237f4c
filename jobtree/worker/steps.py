"""Runs one step: a Target in this process or one of its own, or a shell command.

Owns the choice between them. Read next: targets.py, isolated.py, shell.py; chain.py, the caller.
"""

from __future__ import annotations

from jobtree.core.job import Command, CommandKind
from jobtree.mailbox.results import Usage
from jobtree.payload.context import StepContext, ThisProcess
from jobtree.worker.shell import StepOutcome, run_command
from jobtree.worker.targets import StepTools, run_target


def run_step(
    tools: StepTools, command: Command, context: StepContext, isolated: bool
) -> tuple[StepOutcome, Usage]:
    """Run a step to its end, whatever it is. Raises WorkerFailure, OSError for our own faults."""
    context.drop_deeper_directory()
    if command.kind != CommandKind.TARGET:
        return run_command(command, context, tools.settings)
    tools.process_state.run_site(tools.meter.status)
    if isolated or command.isolate:
        from jobtree.worker.isolated import run_isolated

        return run_isolated(tools, command, context)
    ThisProcess.used = True
    tools.meter.start()
    outcome = run_target(tools, command, context)
    return outcome, tools.meter.stop()
