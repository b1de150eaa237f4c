"""`run` and `restart`.

Owns what their ends mean to a shell; runs nothing itself. Read next: ../workflow.py.
"""

from __future__ import annotations

import argparse

from jobtree import workflow
from jobtree.cli.client import tree_of
from jobtree.cli.main import INTERRUPTED


def run(given: argparse.Namespace) -> int:
    """Start a tree whose first job is a command."""
    return _status(workflow.run_command(given.command, given))


def restart(given: argparse.Namespace) -> int:
    """Take up a tree."""
    return _status(workflow.restart(tree_of(given), given))


def _status(outcome: workflow.RunOutcome) -> int:
    if not outcome.remaining:
        return 0
    return INTERRUPTED if outcome.left else 1
