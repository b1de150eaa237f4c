"""Which tree a command is about, and its answer: from the tree's master, or else from the tree.

Owns the choice between a master that lives, one that cannot be seen from here, and none; knows no
verb. Read next: ../mailbox/control.py, how it asks; ../master/queries.py, what is answered.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from jobtree.errors import StoreError, UsageError
from jobtree.mailbox import control, layout
from jobtree.store import lease
from jobtree.store.holder import Holder, is_alive

ANSWER_S = 30.0
TRIES = 3
LOOKS = ("status", "log", "stats", "nodes")
UNANSWERED = "unanswered"
"""The master that did not answer, in an answer from a copy of what it had committed."""


def tree_of(given: argparse.Namespace, ends: bool = False) -> str:
    """Return the directory of the tree that is meant: named, or the newest here.

    ends: it is to be ended, so that it must be the only one here if it is not named.
    Raises UsageError JT103 if none is, StoreError JT305 if it is no tree.
    """
    said = (getattr(given, "directory", None), getattr(given, "jobTree", None))
    named = {os.path.abspath(os.path.expanduser(each)) for each in said if each}
    if len(named) > 1:
        raise UsageError(
            "two different trees were named", code="JT103", where=", ".join(sorted(named))
        )
    directory = named.pop() if named else _newest(ends)
    if not os.path.isfile(f"{directory}/{layout.MARKER}"):
        from jobtree.store.directory import require_tree

        require_tree(directory)
    return directory


def _newest(only: bool) -> str:
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
    if only and len(trees) > 1:
        raise UsageError(
            f"there are {len(trees)} job trees in this directory",
            code="JT103",
            where=", ".join(sorted(map(os.path.basename, trees))),
            fix="name the one that is to be ended",
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


def living(directory: str) -> tuple[Holder | None, bool | None]:
    """Return who held the tree last, and whether it lives: None if that cannot be seen."""
    holder = lease.latest(directory)
    return holder, False if holder is None else is_alive(holder)


def ask(
    directory: str,
    verb: str,
    arguments: dict[str, Any],
    timeout_s: float | None = None,
    watch: lease.Watch | None = None,
) -> dict[str, Any]:
    """Return the answer of the tree's master, or of the tree itself if no master lives.

    A master that cannot be seen from here and does not answer keeps its tree all the same: what
    only looks is then answered from a copy. watch: of the holder; given up once it is dead.
    Raises StoreError JT317 if a master that may live does not answer, UsageError JT107 for
    what the answer calls an error.
    """
    timeout_s = ANSWER_S if timeout_s is None else timeout_s
    watch = watch or lease.Watch(lease.Leases(directory))
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
                f"the master is {holder.described()}, which cannot be looked at from here; "
                f"asking it through {directory}/{layout.CONTROL}, for up to {timeout_s:.0f} s"
            )
        said = control.ask(directory, verb, arguments, timeout_s, lambda: watch.lives() is False)
        if said is not None:
            return _good(said)
        if living(directory)[1] is not False:
            break
    holder, alive = living(directory)
    if holder is not None and alive is None and _only_looks(verb, arguments):
        found = _answer_from_copy(directory, holder, verb, arguments)
        if found is not None:
            return _good(found)
    raise _unanswered(directory, holder)


def _unanswered(directory: str, holder: Holder | None) -> StoreError:
    return StoreError(
        f"the master of {directory} did not answer",
        code="JT317",
        where="" if holder is None else holder.described(),
        why="it is very busy, stopped, or its host is down",
        fix="ask again; if its host is down:  jobtree restart DIR  elsewhere takes over",
    )


def _only_looks(verb: str, arguments: dict[str, Any]) -> bool:
    return verb in LOOKS and "clear" not in arguments


def _answer_here(directory: str, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
    from jobtree.master import queries
    from jobtree.store.directory import require_tree
    from jobtree.store.open_tree import open_tree

    require_tree(directory)
    with open_tree(directory, looks=True) as (_, store):
        return queries.answer_request(store, directory, verb, arguments)


def _answer_from_copy(
    directory: str, holder: Holder, verb: str, arguments: dict[str, Any]
) -> dict[str, Any] | None:
    """Answer from a copy of the database, without taking the tree; None if it keeps changing."""
    from tempfile import TemporaryDirectory

    from jobtree.master import queries
    from jobtree.store.database import copy_database
    from jobtree.store.directory import require_tree
    from jobtree.store.store import Store

    require_tree(directory)
    name = holder.database or lease.Leases(directory).newest_database()
    with TemporaryDirectory(prefix="jobtree-look-") as folder:
        try:
            copy_database(f"{directory}/{name}", f"{folder}/tree.db")
        except StoreError as error:
            if error.code != "JT315":
                raise
            return None
        store = Store(f"{folder}/tree.db")
        try:
            found = queries.answer_request(store, directory, verb, arguments)
        finally:
            store.close()
    note(
        f"the master ({holder.described()}) did not answer, and cannot be looked at from here: "
        "this is what the tree held when it was last written"
    )
    return found | {UNANSWERED: holder.described()}


def _good(said: dict[str, Any]) -> dict[str, Any]:
    if "error" in said:
        raise UsageError(said["error"], code="JT107")
    return said
