"""Findings: what became of canaries, and what a verdict on them is. Pure data.

Owns the words in which runner.py, grading.py and the command line talk; decides nothing.
Read next: grading.py.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from batchsystems.interface import JobEnd, Refused
from batchsystems.site import Site
from jobtree.doctor.canary import Canary, Means


class Grade(enum.Enum):
    """How a check went. A warning is worth a change, but nothing fails for it."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "FAILED"
    SKIPPED = "skipped"


class Verdict(NamedTuple):
    """One row. seen: what was observed; remedy: what to do; keys: of the site file."""

    check: str
    grade: Grade
    seen: str
    remedy: str = ""
    keys: tuple[str, ...] = ()


class Delay(enum.Enum):
    """What a canary was doing when it was given up."""

    NONE = ""
    WAITED = "waited"
    RAN = "ran"


@dataclass
class Case:
    """What became of a canary. Times are epoch seconds of this host.

    ends: one of each task that ended. missing: files it was to leave and did not. tail: the end
    of its output. explained: why it waits, in the batch system's words.
    """

    canary: Canary
    issued: float
    accepted: float | None = None
    refused: Refused | None = None
    ends: list[JobEnd] = field(default_factory=list)
    ended: float | None = None
    missing: tuple[str, ...] = ()
    tail: str = ""
    delay: Delay = Delay.NONE
    waited_s: float = 0.0
    explained: str = ""


class Visit(NamedTuple):
    """What the exchange with a node told. hello, pong: as node_script.py wrote them.

    hello_at, ping_at, pong_at: when they were seen, and sent, here.
    """

    hello: Mapping[str, Any] | None = None
    hello_at: float = 0.0
    ping_at: float = 0.0
    pong: Mapping[str, Any] | None = None
    pong_at: float = 0.0


class Around(NamedTuple):
    """What judging needs to know beside the cases. keys: those of the batch system's table."""

    system: str
    site: Site
    keys: Sequence[str]
    means: Means
    clock_slack_s: float = 300.0
    published_s: float = 120.0
    quick: bool = False


def status_of(end: JobEnd) -> str:
    """Return how a job ended, in two words."""
    if end.signal is not None:
        return f"signal {end.signal}"
    if end.exit_status is not None:
        return f"exit status {end.exit_status}"
    return end.reason.value


def on_node(end: JobEnd) -> str:
    """Return " on NODE", "" if it is not known where."""
    return f" on {end.node}" if end.node else ""


def clock_of(visit: Visit) -> tuple[float, float] | None:
    """Return by how much the node's clock is ahead, and how exactly that is known; None if not."""
    if visit.pong is None:
        return None
    middle = (visit.ping_at + visit.pong_at) / 2
    return float(visit.pong["seen"]) - middle, (visit.pong_at - visit.ping_at) / 2


def word_s(case: Case, visit: Visit) -> float | None:
    """Return how long after a job's end the batch system told of it, None if not known."""
    clock = clock_of(visit)
    if clock is None or case.ended is None or visit.pong is None:
        return None
    return max(0.0, case.ended - (float(visit.pong["seen"]) - clock[0]))
