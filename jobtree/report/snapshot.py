"""Snapshots: where a running tree stands, and the status file that others read.

Owns the form of `status.json` (versioned); must cost little: counts that the store keeps, and
one pass over the live issues. Read next: progress.py.

    {"format": 1, "tree": "/path", "batch_system": "singleMachine", "state": "running",
     "host": "login01", "pid": 4711, "epoch": 3, "started": 1763802842.1, "updated": ...,
     "done": 312, "remaining": 417,
     "colours": {"white": 20, "grey": 182, "blue": 214, "black": 0, "red": 1},
     "issued": 70, "running": 64,
     "classes": {"MapReads": {"done": 290, "mean_s": 252.4}},
     "nodes_left_out": [{"node": "node031", "why": "5 of the last 5 batch jobs failed there, ..."}],
     "troubles": [{"batch_system": "slurm", "since": 1763802842, "what": "no complete answer ..."}],
     "failures": [{"job": 17, "class": "MapReads", "attempt": 3, "why": "exit status 1"}]}

state: running, done, failed or interrupted. started, updated: epoch seconds of the master's
clock. issued: batch jobs not ended; running: those whose workers have begun. troubles: what holds
batch jobs up now, and since when. failures: the youngest of those that failed for good.
"""

import json
import os
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from jobtree.core.issue_states import State
from jobtree.core.job import Colour
from jobtree.mailbox.files import read_file, write_file
from jobtree.mailbox.layout import STATUS
from jobtree.master.queries import colours, failures, site_of
from jobtree.master.run_state import RunState

FORMAT = 1
MOST_CLASSES = 200
LONGEST_SILENCE_S = 10.0

Snapshot = dict[str, Any]


class Slowest(NamedTuple):
    """Of the steps of a class, the one that has run for longest."""

    job: int
    """its job's number"""
    node: str
    """where it runs, as far as that is known"""
    lasted_s: float
    """for how long it has run"""


class Publisher:
    """Takes snapshots of one run and writes those that tell something new.

    is_ours: tells whether the tree is still this master's, as the status file is.
    """

    def __init__(self, run: RunState, is_ours: Callable[[], bool]) -> None:
        self._is_ours = is_ours
        self._path = f"{run.directory}/{STATUS}"
        self._fixed: Snapshot = {
            "format": FORMAT,
            "tree": run.directory,
            "batch_system": run.settings.batch_system,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "epoch": run.epoch,
            "started": run.store.meta("started"),
            "site": site_of(run.store),
        }
        self._failures: list[dict[str, Any]] = []
        self._red = 0
        self._written: Snapshot = {}
        self._written_at = 0.0

    def take(self, run: RunState, state: str = "running") -> Snapshot:
        """Return where the tree stands now."""
        issued = running = 0
        for issue in run.issues.values():
            issued += issue.state != State.ENDED
            running += issue.state == State.RUNNING
        red = run.store.counts[Colour.RED]
        if red != self._red:
            self._red, self._failures = red, failures(run.store)
        measured = list(run.measured.items())
        if len(measured) > MOST_CLASSES:
            measured = sorted(measured, key=lambda item: -item[1].seen)[:MOST_CLASSES]
        return self._fixed | {
            "state": state,
            "updated": round(run.clock.epoch(), 3),
            "done": run.store.done,
            "remaining": run.remaining(),
            "colours": colours(run.store),
            "issued": issued,
            "running": running,
            "classes": {
                label: {"done": known.seen, "mean_s": round(known.mean_s, 6)}
                for label, known in measured
            },
            "nodes_left_out": [
                {"node": each.node, "why": each.why} for each in run.nodes.excluded()
            ],
            "troubles": [
                {"batch_system": name, "since": trouble.since, "what": trouble.what}
                for name, system in run.systems.items()
                for trouble in system.troubles()
            ],
            "failures": self._failures,
        }

    def publish(self, snapshot: Snapshot, now: float) -> str:
        """Write the status file if it would say something new; return why it could not be.

        A file system that refuses it must not end the run: the tree itself is elsewhere.
        """
        told = {name: value for name, value in snapshot.items() if name != "updated"}
        if told == self._written and now - self._written_at < LONGEST_SILENCE_S:
            return ""
        try:
            text = json.dumps(snapshot).encode() + b"\n"
            write_file(self._path, text, sync=False, only_if=self._is_ours)
        except OSError as error:
            return error.strerror or str(error)
        self._written, self._written_at = told, now
        return ""


def counts_of(snapshot: Snapshot) -> dict[str, int]:
    """Return how many jobs are in each state, by the words that people are told."""
    colours = snapshot["colours"]
    running = min(snapshot["running"], colours["grey"])
    going = {"running": running, "queued": colours["grey"] - running}
    return {
        "done": snapshot["done"],
        **(going if snapshot["state"] == "running" else {"issued": colours["grey"]}),
        "ready": colours["white"],
        "blocked": colours["blue"],
        "moving": colours["black"],
        "failed": colours["red"],
    }


def read_status(directory: str) -> Snapshot | None:
    """Return what a tree's status file says; None if there is none that can be understood."""
    try:
        said = json.loads(read_file(f"{directory}/{STATUS}"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) and said.get("format") == FORMAT else None
