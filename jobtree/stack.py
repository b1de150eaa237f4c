"""Stack: a workflow about to start, the other half of what a researcher's script sees.

Owns the entry from a script; starts nothing inside a worker, and imports the master only when
it does start. Read next: workflow.py.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from jobtree.errors import JobTreeError
from jobtree.payload.context import ThisProcess
from jobtree.target import Target, adopt

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


class Stack:
    """A workflow about to start: `Stack(target).startJobTree(options)`."""

    def __init__(self, target: Target) -> None:
        """Take the root. Refused: one that is a child of another, or cannot be pickled."""
        adopt(target, None)
        self._target = target

    @staticmethod
    def addJobTreeOptions(parser: ArgumentParser) -> None:
        """Add jobTree's options to an argparse parser."""
        from jobtree.options import add_options

        add_options(parser)

    @staticmethod
    def getDefaultOptions() -> Namespace:
        """Return the options of an empty command line."""
        from jobtree.options import default_options

        return default_options()

    def startJobTree(self, options: Namespace) -> int:
        """Run the workflow; return how many jobs are not done: 0 when all is complete."""
        if ThisProcess.in_worker or _is_being_imported():
            raise JobTreeError(
                "a worker imported the script, and the script started its workflow again",
                code="JT402",
                why="workers import the script to find the classes defined in it",
                fix='put the call of startJobTree under  if __name__ == "__main__":',
            )
        from jobtree.workflow import run_target

        return run_target(self._target, options).remaining


def _is_being_imported() -> bool:
    """Tell whether multiprocessing is importing the script, to find its functions."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and hasattr(process.current_process(), "_inheriting")
