"""`kill` and `clean`: the verbs that end things.

Owns what is asked, said and refused before anything goes; batch jobs are ended by the master,
or by workflow.kill_left where none lives. Read next: client.py.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import suppress
from shlex import quote

from jobtree.cli.client import ask, living, note, tree_of
from jobtree.errors import StoreError, UsageError
from jobtree.mailbox.files import random_name, remove_tree
from jobtree.store import lease
from jobtree.store.directory import require_tree
from jobtree.units import format_size
from jobtree.workflow import kill_left

KILL_S = 180.0
LEAVE_S = 30.0
UNCONFIRMED = 4
"""Exit status when the end of some batch jobs could not be confirmed."""


def kill(given: argparse.Namespace) -> int:
    """Stop a tree and all its batch jobs; say which ends could not be confirmed."""
    tree = tree_of(given, ends=True)
    require_tree(tree)
    watch = lease.Watch(lease.Leases(tree))
    nobody = "no master runs; the batch jobs it left are killed"
    if watch.lives() is False:
        return _told(tree, kill_left(tree, given.site), nobody)
    try:
        said = ask(tree, "kill", {}, timeout_s=KILL_S, watch=watch)
    except StoreError as error:
        if error.code != "JT317" or watch.lives() is not False:
            raise
        return _told(tree, kill_left(tree, given.site, watch), nobody)
    _await_end(tree)
    return _told(tree, said["unconfirmed"], "killed")


def _await_end(tree: str) -> None:
    end = time.monotonic() + LEAVE_S
    while living(tree)[1] is not False and time.monotonic() < end:
        time.sleep(0.05)


def _told(tree: str, unconfirmed: list[str], done: str) -> int:
    print(f"{tree}: {done}")
    if unconfirmed:
        print("the end of these batch jobs could not be confirmed:")
        for name in unconfirmed:
            print(f"  {name}")
        print("  their workers are fenced: whatever they still do is not taken into the tree")
        print(f"  ask again:  jobtree kill {quote(tree)}   (when the batch system answers again)")
    print(f"  go on:      jobtree restart {quote(tree)}")
    print(f"  delete it:  jobtree clean {quote(tree)}")
    return UNCONFIRMED if unconfirmed else 0


def clean(given: argparse.Namespace) -> int:
    """Delete a tree: only what is marked as one, and only while no master lives."""
    tree = tree_of(given, ends=True)
    require_tree(tree)
    watch = lease.Watch(lease.Leases(tree))
    _refuse_if_held(tree, watch)
    files, size = _contents(tree)
    print(f"{tree}: {files} files, {format_size(size)}, will be deleted, its batch jobs killed")
    if not given.yes and not _agreed():
        print("nothing was deleted")
        return 1
    _kill_left(tree, given.site, watch)
    _refuse_if_held(tree, lease.Watch(lease.Leases(tree)))
    doomed = f"{tree}~deleted-{os.getpid()}-{random_name(4)}"
    os.rename(tree, doomed)
    remove_tree(doomed)
    if os.path.lexists(doomed):
        raise StoreError(
            f"not all of {tree} could be deleted",
            code="JT319",
            where=f"what is left: {doomed}",
            fix="see whose files these are; nothing uses them any more",
        )
    print("deleted")
    return 0


def _refuse_if_held(tree: str, watch: lease.Watch) -> None:
    """Refuse a tree that is held; one whose holder cannot be seen from here takes a minute."""
    if not lease.decide(watch, notice=note):
        return
    raise StoreError(
        f"{tree} is in use: nothing was deleted",
        code="JT308",
        where="" if watch.holder is None else f"its master is {watch.holder.described()}",
        fix=f"stop it first:  jobtree kill {quote(tree)}",
    )


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody can be asked whether to delete: nothing was deleted",
            code="JT105",
            fix="add --yes if you are sure",
        )
    return input("delete it? [y/N] ").strip().lower() in ("y", "yes")


def _kill_left(tree: str, site: str | None, watch: lease.Watch) -> None:
    """Kill what the tree has left running. A tree too damaged to tell is deleted all the same."""
    try:
        unconfirmed = kill_left(tree, site, watch)
    except StoreError as error:
        if error.code in ("JT302", "JT315"):
            raise
        note(f"{error}\n  its batch jobs, if any are left, could not be killed")
        return
    for name in unconfirmed:
        note(f"batch job {name}: its end could not be confirmed")


def _contents(tree: str) -> tuple[int, int]:
    """Return how many files a tree has, and how large they are together."""
    files = size = 0
    for folder, _, names in os.walk(tree):
        for name in names:
            files += 1
            with suppress(OSError):
                size += os.lstat(f"{folder}/{name}").st_size
    return files, size
