"""`run` and `restart`.

Owns what their ends mean to a shell; runs nothing itself. Read next: ../workflow.py.
"""

from __future__ import annotations

import argparse
import time

from jobtree import lease
from jobtree.cli.asking import tree_of
from jobtree.cli.main import INTERRUPTED
from jobtree.errors import StoreError
from jobtree.report.snapshot import read_status
from jobtree.workflow import Outcome, run_command
from jobtree.workflow import restart as restart_tree

PASSING_S = 10.0
"""So long a command that looks into a tree without a master may hold it."""


def run(given: argparse.Namespace) -> int:
    """Start a tree whose first job is a command."""
    return _status(run_command(given.command, given))


def restart(given: argparse.Namespace) -> int:
    """Take up a tree; a command that is just looking into it is waited for."""
    tree = tree_of(given)
    end = time.monotonic() + PASSING_S
    while True:
        try:
            return _status(restart_tree(tree, given))
        except StoreError as error:
            if error.code != "JT302" or _is_mastered(tree) or time.monotonic() > end:
                raise
        time.sleep(0.1)


def _is_mastered(tree: str) -> bool:
    """Tell whether the holder is a master: those publish where the tree stands."""
    holder, said = lease.latest(tree), read_status(tree)
    return holder is not None and said is not None and bool(said["epoch"] == holder.epoch)


def _status(outcome: Outcome) -> int:
    if not outcome.remaining:
        return 0
    return INTERRUPTED if outcome.left else 1
