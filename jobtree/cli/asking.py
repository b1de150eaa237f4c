"""Asking: which tree is meant, and who answers for it.

Owns the choice between the master that lives, one on another host, and none; knows no verb.
Read next: ../answers.py, ../mailbox/control.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from jobtree import lease
from jobtree.errors import StoreError, UsageError
from jobtree.mailbox import control, layout

ANSWER_S = 30.0
TRIES = 3


def tree_of(given: argparse.Namespace) -> str:
    """Return the directory of the tree that is meant: named, or the newest here.

    Raises UsageError JT103 if none is, StoreError JT305 if it is no tree.
    """
    named = {os.path.abspath(os.path.expanduser(d)) for d in _named(given) if d}
    if len(named) > 1:
        raise UsageError(
            "two different trees were named", code="JT103", where=", ".join(sorted(named))
        )
    directory = named.pop() if named else _newest()
    if not os.path.isfile(f"{directory}/{layout.MARKER}"):
        from jobtree.directory import require_tree

        require_tree(directory)
    return directory


def _named(given: argparse.Namespace) -> tuple[str | None, str | None]:
    return getattr(given, "directory", None), getattr(given, "jobTree", None)


def _newest() -> str:
    here = os.getcwd()
    if os.path.isfile(f"{here}/{layout.MARKER}"):
        return here
    with os.scandir(here) as entries:
        trees = [e.path for e in entries if os.path.isfile(f"{e.path}/{layout.MARKER}")]
    if not trees:
        raise UsageError(
            "there is no job tree in this directory",
            code="JT103",
            where=here,
            fix="name one:  -J DIR",
        )
    newest = max(trees, key=_touched)
    if len(trees) > 1:
        note(f"the newest of {len(trees)} trees here: {newest}")
    return newest


def _touched(tree: str) -> float:
    try:
        return os.stat(f"{tree}/{layout.STATUS}").st_mtime
    except OSError:
        return os.stat(f"{tree}/{layout.MARKER}").st_mtime


def note(text: str) -> None:
    """Tell something besides the answer."""
    print(text, file=sys.stderr)


def living(directory: str) -> tuple[lease.Holder | None, bool | None]:
    """Return who held the tree last, and whether it lives: None if that cannot be seen."""
    holder = lease.latest(directory)
    return holder, False if holder is None else lease.is_alive(holder)


def ask(
    directory: str, verb: str, arguments: dict[str, Any], timeout_s: float = ANSWER_S
) -> dict[str, Any]:
    """Return the answer of the tree's master, or of the tree itself if no master lives.

    Raises StoreError JT317 if a master that may live does not answer, UsageError JT107 for
    what the answer calls an error.
    """
    for tries_left in reversed(range(TRIES)):
        holder, alive = living(directory)
        if holder is None or alive is False:
            try:
                return _good(_answer_here(directory, verb, arguments))
            except StoreError as error:
                if error.code != "JT302" or not tries_left:
                    raise
            continue
        if alive is None:
            note(
                f"the master is process {holder.pid} on {holder.host}, another host; "
                f"asking it through {directory}/{layout.CONTROL}, for up to {timeout_s:.0f} s"
            )
        said = control.ask(
            directory, verb, arguments, timeout_s, lambda: living(directory)[1] is False
        )
        if said is not None:
            return _good(said)
        if living(directory)[1] is not False:
            break
    raise StoreError(
        f"the master of {directory} did not answer",
        code="JT317",
        where="" if holder is None else f"process {holder.pid} on {holder.host}",
        why="it is very busy, stopped, or its host is down",
        fix="ask again; if its host is down:  jobtree restart DIR  elsewhere takes over",
    )


def _answer_here(directory: str, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
    from jobtree import answers, workflow
    from jobtree.directory import require_tree

    require_tree(directory)
    with workflow.opened(directory, looks=True) as (_, store):
        return answers.answer(store, directory, verb, arguments)


def _good(said: dict[str, Any]) -> dict[str, Any]:
    if "error" in said:
        raise UsageError(said["error"], code="JT107")
    return said
