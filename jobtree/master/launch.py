"""Launch: the command that starts a worker, and which issues another jobTree's workers run.

Owns that command line; starts nothing. Read next: dispatch.py.
"""

import os
import sys

from batchsystems.interface import INDEX
from jobtree.master.issue import Issue
from jobtree.master.run_state import RunState

WORKER = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "worker/start.py"
)


def worker_argv(python: str, order: str) -> tuple[str, ...]:
    """Return the command that starts a worker on a task of an order, by the site's Python.

    UTF-8 is its encoding of paths and output, whatever the node's locale.
    """
    return (python or sys.executable, "-I", "-S", "-X", "utf8", WORKER, order, INDEX)


def program(python: str) -> str:
    """Return what workers are run by: another jobTree, or another Python, is another program."""
    return f"{python or sys.executable} {WORKER}"


def is_of_another(run: RunState, issue: Issue) -> bool:
    """Tell whether an issue was submitted by another jobTree, which may have been replaced."""
    return run.mailbox.is_of_another(issue.submission, program(run.settings.python))
