"""Node health: how batch jobs went on each node, and which nodes to keep away from.

Owns the judgement; pure: the clock is an argument. Must not know how a scheduler is told.
Read next: ../master/node_exclusion.py, which notes and heeds.

A node is bad when batch jobs fail on it far more often than on all the others: when so many
failures in so many batch jobs would come by chance, at the others' rate, less than once in a
thousand times. That finds black holes, where every job dies at once, and spares both a node
among many where a workflow fails everywhere and a node that had bad luck once.

A node where nothing can even begin, as it does not see the tree or has no Python, needs no
comparison: no step has had a part in that. But where several nodes say the same, and nothing has
gone well on any, as with a line of the site's setup that fails, no node is at fault.
"""

import json
from collections import OrderedDict, deque
from collections.abc import Iterable
from math import comb
from typing import NamedTuple

REMEMBERED = 50
"""Batch jobs remembered of each node, the latest."""

FEWEST_FAILURES = 3
FEWEST_ELSEWHERE = 5
"""Below these nothing is concluded."""

MOST_SAID = 300
"""Launch errors remembered, the latest: each may name a file of its own."""

FEWEST_UNBEGUN, MOST_UNBEGUN = 2, 4
"""Where nothing begins so many in a row are enough; so many nodes may be left out for it."""

CHANCE = 0.001
COOL_DOWN_S = 3600.0
LARGEST_SHARE = 0.25
"""At most this share of the nodes seen is left out at a time, but one in any case."""


KEPT_AS = "nodes_left_out"
"""Under this a tree keeps which nodes are left out, their times in epoch seconds."""


class Excluded(NamedTuple):
    """A node left out."""

    node: str
    until: float  # by the clock of whoever noted it
    why: str


class NodeHealth:
    """What is known of the nodes of one cluster."""

    def __init__(self, cool_down_s: float = COOL_DOWN_S) -> None:
        self._cool_down_s = cool_down_s
        self._results: dict[str, deque[bool]] = {}
        self._launch_errors: dict[str, int] = {}
        self._said: OrderedDict[str, set[str]] = OrderedDict()  # what -> by which nodes
        self._excluded: dict[str, Excluded] = {}

    def note(
        self, node: str, good: bool, now: float, launch_error: str | None = None
    ) -> Excluded | None:
        """Note how a batch job fared; return the node's exclusion if that has made it bad.

        launch_error: what was said, "" if nothing, where its worker could not begin. That says most
        against a node, unless other nodes say the same: then those left out for it are taken back.
        """
        node = short_name(node)
        if not node:
            return None
        results = self._results.setdefault(node, deque(maxlen=REMEMBERED))
        results.append(good)
        self._launch_errors[node] = (
            0 if launch_error is None else self._launch_errors.get(node, 0) + 1
        )
        if good:
            return None
        if launch_error:
            self._note_said(launch_error, node)
            if self._is_said_everywhere(launch_error):
                for other in self._said[launch_error]:
                    self._excluded.pop(other, None)
                return None
        if node in self._excluded:
            return None
        why = self._why_hopeless(node)
        if not why and self._may_exclude_more():
            why = self._why_bad(node)
        if not why:
            return None
        found = Excluded(node, now + self._cool_down_s, why)
        self._excluded[node] = found
        return found

    def readmit_due(self, now: float) -> list[str]:
        """Take back the nodes whose time is over, with a clean slate; return them."""
        return self.clear(each.node for each in self.excluded() if each.until <= now)

    def clear(self, nodes: Iterable[str] = ()) -> list[str]:
        """Take these nodes back, with a clean slate; return those that were left out."""
        cleared = []
        for node in map(short_name, list(nodes)):
            self._results.pop(node, None)
            self._launch_errors.pop(node, None)
            for sayers in self._said.values():
                sayers.discard(node)
            if self._excluded.pop(node, None) is not None:
                cleared.append(node)
        return cleared

    def restore(self, excluded: Iterable[Excluded]) -> None:
        """Leave out nodes that an earlier master had left out; what led to it is not known."""
        self._excluded.update((each.node, each) for each in excluded)

    def excluded(self) -> list[Excluded]:
        """Return the nodes left out now, by name."""
        return [self._excluded[node] for node in sorted(self._excluded)]

    def _note_said(self, words: str, node: str) -> None:
        self._said.setdefault(words, set()).add(node)
        self._said.move_to_end(words)
        if len(self._said) > MOST_SAID:
            self._said.popitem(last=False)

    def _may_exclude_more(self) -> bool:
        return len(self._excluded) < max(1, int(LARGEST_SHARE * len(self._results)))

    def _is_said_everywhere(self, words: str) -> bool:
        """Tell whether several nodes fail with the same words, and none has done anything well."""
        several = len(self._said[words]) > 1
        return several and not any(True in results for results in self._results.values())

    def _why_hopeless(self, node: str) -> str:
        """Return why a node is bad where nothing begins, whatever is known of others."""
        count = self._launch_errors[node]
        crowded = len(self._excluded) >= MOST_UNBEGUN and not self._may_exclude_more()
        if count < FEWEST_UNBEGUN or crowded:
            return ""
        return f"the last {count} batch jobs could not even begin there"

    def _why_bad(self, node: str) -> str:
        here = self._results[node]
        failed, of = here.count(False), len(here)
        others = [results for name, results in self._results.items() if name != node]
        elsewhere = sum(map(len, others))
        failed_elsewhere = sum(results.count(False) for results in others)
        if failed < FEWEST_FAILURES or elsewhere < FEWEST_ELSEWHERE:
            return ""
        rate = (failed_elsewhere + 1) / (elsewhere + 2)  # Laplace's: never 0, whatever was seen
        if at_least(failed, of, rate) >= CHANCE:
            return ""
        return (
            f"{failed} of the last {of} batch jobs failed there, "
            f"{failed_elsewhere} of {elsewhere} elsewhere"
        )


def to_json(excluded: Iterable[Excluded], shift_s: float = 0.0) -> str:
    """Return exclusions as JSON, their times on a clock that is so much ahead."""
    return json.dumps([each._replace(until=each.until + shift_s)._asdict() for each in excluded])


def from_json(text: str, shift_s: float = 0.0) -> list[Excluded]:
    """Return the exclusions that to_json() wrote, their times on a clock so much ahead of its."""
    found = [Excluded(**each) for each in json.loads(text)]
    return [each._replace(until=each.until + shift_s) for each in found]


def at_least(successes: int, trials: int, rate: float) -> float:
    """Return the chance of so many successes or more, each trial having this rate."""
    return sum(
        comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(successes, trials + 1)
    )


def short_name(node: str) -> str:
    """Return a node's name without its domain: schedulers and hosts differ in giving it."""
    return node.partition(".")[0]
