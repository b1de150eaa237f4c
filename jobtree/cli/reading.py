"""`status`, `logs`, `stats` and `nodes`: the verbs that tell where a tree stands.

Owns what they print; where the answers come from is client.py's. Read next: render.py.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

from jobtree.cli import render
from jobtree.cli.client import UNANSWERED, ask, living, tree_of
from jobtree.errors import UsageError
from jobtree.report.snapshot import FORMAT, read_status
from jobtree.store.holder import Holder

STALE_S = 60.0
"""The status file of a master that cannot be seen from here is relied on until it is so old."""


def status(given: argparse.Namespace) -> int:
    """Print where a tree stands."""
    tree = tree_of(given)
    found = _status(tree)
    if given.json:
        print(json.dumps(found, indent=1))
    else:
        print(render.status(found))
    return 1 if given.failIfNotComplete and found["remaining"] else 0


def _status(tree: str) -> dict[str, Any]:
    holder, alive = living(tree)
    said = read_status(tree)
    if said is not None and holder is not None and _can_be_relied_on(said, holder, alive):
        return said
    said = ask(tree, "status", {})
    holder, alive = living(tree)
    lives = holder is not None and alive is not False and UNANSWERED not in said
    return _whole(tree, said, holder if lives else None)


def _can_be_relied_on(said: dict[str, Any], holder: Holder, alive: bool | None) -> bool:
    """Tell whether a status file is the last word of whoever held the tree last."""
    if said["epoch"] != holder.epoch:
        return False
    if alive is None:
        return bool(abs(time.time() - said["updated"]) < STALE_S)
    return bool((said["state"] == "running") == alive)


def _whole(tree: str, said: dict[str, Any], holder: Holder | None) -> dict[str, Any]:
    """Return what a store says, in the form of the status file."""
    whole = {
        "format": FORMAT,
        "tree": tree,
        "host": "" if holder is None else holder.host,
        "pid": 0 if holder is None else holder.pid,
        "epoch": 0 if holder is None else holder.epoch,
        "updated": round(time.time(), 3),
        "issued": said["colours"]["grey"],
        "running": 0,
    } | said
    if holder is not None:
        whole["state"] = "running"
    return whole


def logs(given: argparse.Namespace) -> int:
    """Print what a job printed, and how its attempts ended."""
    job, directory = given.job, given.directory
    if not job.isdecimal() and (directory or "").isdecimal():
        job, directory = directory, job
    if not job.isdecimal():
        tree = f" {job}" if os.path.isdir(job) else ""
        raise UsageError(
            f"{job!r} is not a job: jobs are numbers",
            code="JT108",
            fix=f"jobtree status{tree}   names those that failed; 1 is the first job",
        )
    given.directory = directory
    tree = tree_of(given)
    found = ask(tree, "log", {"job": int(job), "attempt": given.attempt, "directory": tree})
    if given.json:
        print(json.dumps(found, indent=1))
    else:
        for part in render.logs(found):
            print(part)
    return 0


def stats(given: argparse.Namespace) -> int:
    """Print where time and memory went."""
    import jobtree.stats

    found = ask(tree_of(given), "stats", {}, timeout_s=120.0)
    print(json.dumps(found, indent=1) if given.json else jobtree.stats.render(found))
    return 0


def nodes(given: argparse.Namespace) -> int:
    """Print which nodes are left out, after taking back those that the user wants back."""
    tree = tree_of(given)
    asked = {} if given.clear is None else {"clear": [n for n in given.clear.split(",") if n]}
    found = ask(tree, "nodes", asked)
    print(json.dumps(found, indent=1) if given.json else render.nodes(found, tree))
    return 0
