"""Node exclusion: keeping submissions away from nodes on which batch jobs fail.

Owns what counts for and against a node, who is told, and what the tree keeps of it; must not
talk to a scheduler but by the contract. Read next: ../core/node_health.py, the judgement.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from jobtree.core.exit_status import NOT_OURS
from jobtree.core.node_health import KEPT_AS, from_json, to_json
from jobtree.core.rescue import OUTDATED, Ending
from jobtree.master.issue import Issue
from jobtree.master.run_state import RunState

log = logging.getLogger("jobtree")

NOT_THE_NODES = ("PREEMPTED", "CANCELLED", "TIME_LIMIT", "OUT_OF_MEMORY", "REJECTED", OUTDATED)
"""Ends that say nothing of the node."""


def mark_node_failure(issue: Issue, ending: Ending) -> None:
    """Count it against the node that an issue ended early, if the node may be at fault."""
    if issue.killed_for or ending.reason in NOT_THE_NODES or ending.exit_status == NOT_OURS:
        return
    issue.node_ok = False


def note_end(run: RunState, issue: Issue) -> None:
    """Note how an issue did on its node, once it is over; leave the node out if it is bad."""
    if issue.node_ok is None or run.systems[issue.batch_system].here:
        return
    before, now = run.nodes.excluded(), run.clock.now()
    found = run.nodes.note(issue.node, issue.node_ok, now, issue.launch_error)
    if found is not None:
        minutes = (found.until - now) / 60
        log.warning("node %s is left out for %.0f minutes: %s", found.node, minutes, found.why)
    after = run.nodes.excluded()
    if len(after) < len(before):
        back = " ".join(each.node for each in before if each not in after)
        log.warning("may be used again, as other nodes fail in the same way: %s", back)
    if after != before:
        _tell(run)


def restore_exclusions(run: RunState) -> None:
    """Leave out what an earlier master of the tree had left out, for the rest of its time."""
    kept = from_json(run.store.meta(KEPT_AS, "[]"), -_ahead_s(run))
    run.nodes.restore(each for each in kept if each.until > run.clock.now())
    if kept:
        _tell(run)


def readmit_nodes(run: RunState, nodes: Sequence[str]) -> list[str]:
    """Let these nodes be used again at once; return those that were left out."""
    taken = run.nodes.clear(nodes)
    if taken:
        log.info("may be used again, by the user's word: %s", " ".join(taken))
        _tell(run)
    return taken


def readmit_due(run: RunState) -> None:
    """Let nodes be used again whose time is over."""
    for node in run.nodes.readmit_due(run.clock.now()):
        log.info("node %s may be used again", node)
        _tell(run)


def _tell(run: RunState) -> None:
    """Tell every batch system which nodes are left out now, and have the tree keep it."""
    excluded = run.nodes.excluded()
    run.store.put_meta(KEPT_AS, to_json(excluded, _ahead_s(run)))
    for system in run.systems.values():
        system.exclude([each.node for each in excluded])


def _ahead_s(run: RunState) -> float:
    """Return how much the epoch's clock is ahead of the master's own."""
    return run.clock.epoch() - run.clock.now()
