"""`run` and `restart`.

Owns what their ends mean to a shell; runs nothing itself. Read next: ../workflow.py.
"""

from __future__ import annotations

import argparse

from jobtree.cli.client import tree_of
from jobtree.cli.main import INTERRUPTED
from jobtree.workflow import Outcome, run_command
from jobtree.workflow import restart as restart_tree


def run(given: argparse.Namespace) -> int:
    """Start a tree whose first job is a command."""
    return _status(run_command(given.command, given))


def restart(given: argparse.Namespace) -> int:
    """Take up a tree."""
    return _status(restart_tree(tree_of(given), given))


def _status(outcome: Outcome) -> int:
    if not outcome.remaining:
        return 0
    return INTERRUPTED if outcome.left else 1
