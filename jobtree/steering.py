"""Steering: keeping submissions away from nodes on which batch jobs fare badly.

Owns what counts for and against a node, and who is told; the judgement is nodes.py's. Must not
talk to a scheduler but by the contract. Read next: nodes.py.
"""

from __future__ import annotations

import logging

from jobtree.live import Issue, Live
from jobtree.rescue import NOT_OURS, Ending

log = logging.getLogger("jobtree")

NOT_THE_NODES = ("PREEMPTED", "CANCELLED", "TIME_LIMIT", "OUT_OF_MEMORY", "REJECTED")
"""Ends that say nothing of the node."""


def blame(issue: Issue, ending: Ending) -> None:
    """Hold against its node that an issue ended before its pack was done, if it may be at fault."""
    if issue.killed_for or ending.reason in NOT_THE_NODES or ending.exit_status == NOT_OURS:
        return
    issue.fared_well = False


def note_end(live: Live, issue: Issue) -> None:
    """Note how an issue fared on its node, once it is over; leave the node out if it is bad."""
    if issue.fared_well is None:
        return
    found = live.nodes.note(issue.node, issue.fared_well, live.clock.now())
    if found is not None:
        minutes = (found.until - live.clock.now()) / 60
        log.warning("node %s is left out for %.0f minutes: %s", found.node, minutes, found.why)
        _tell(live)


def forgive(live: Live) -> None:
    """Let nodes be used again whose time is over."""
    for node in live.nodes.forgive(live.clock.now()):
        log.info("node %s may be used again", node)
        _tell(live)


def _tell(live: Live) -> None:
    excluded = [each.node for each in live.nodes.excluded()]
    for system in live.systems.values():
        system.exclude(excluded)
