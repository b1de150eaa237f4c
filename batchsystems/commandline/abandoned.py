"""Abandoned: jobs that were given up, and may be with the scheduler all the same.

Owns by what they are known if they show again, and for how long that is looked for; must not
kill. Read next: reconcile.py, which gives up, and kills what shows again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from batchsystems.commandline.answers import Observation, Phase
from batchsystems.commandline.jobs import NEVER, parse_part_name

DISOWNED_S = 3600.0
"""For this long what was given up is killed should it appear."""

WATCHED_S = 600.0
"""For this long the queue is looked at though nothing else is expected of it."""

Meaning = tuple[str, int]


@dataclass(slots=True)
class _Given:
    """What was given up under one name of the scheduler's.

    natives: its ids where they were known; meanings: which jobs of a spec they were, where not.
    kills: when each id was last killed. Times are the engine's.
    """

    until: float
    natives: set[str] = field(default_factory=set)
    meanings: set[Meaning] = field(default_factory=set)
    kills: dict[str, float] = field(default_factory=dict)


class Abandoned:
    """What was given up lately. Nothing is known by its id alone, as ids are used again."""

    def __init__(self, again_s: float) -> None:
        self._again_s = again_s
        self._given: dict[str, _Given] = {}
        self._watched_until = NEVER

    def __bool__(self) -> bool:
        return bool(self._given)

    def watched(self, now: float) -> bool:
        """Tell whether the queue is to be looked at for their sake."""
        self._forget(now)
        return bool(self._given) and now < self._watched_until

    def add(self, meant: Meaning, native: str, names: Iterable[str], now: float) -> None:
        """Note a job as given up: known by its id and name, or without an id by what it is."""
        self._watched_until = now + WATCHED_S
        for name in names:
            given = self._given.setdefault(name, _Given(0.0))
            given.until = now + DISOWNED_S
            if native:
                given.natives.add(native)
            else:
                given.meanings.add(meant)

    def names(self) -> list[str]:
        """Return by which names the scheduler may know them."""
        return list(self._given)

    def expect(self, meant: Meaning, names: Iterable[str]) -> None:
        """Let a job be wanted again by that name: it is looked for, and is not to be killed."""
        for name in names:
            if name in self._given:
                self._given[name].meanings.discard(meant)

    def knows(self, observation: Observation) -> bool:
        """Tell, at little cost, whether anything of this name was given up."""
        return observation.name in self._given

    def is_due(self, observation: Observation, task: int | None, now: float) -> bool:
        """Tell whether this was given up and is to be killed now; it is taken to be."""
        given = self._given.get(observation.name)
        if given is None or observation.phase is Phase.ENDED or given.until < now:
            return False
        meant = parse_part_name(observation.name, task)
        if observation.native not in given.natives and given.meanings.isdisjoint(meant):
            return False
        if now - given.kills.get(observation.native, NEVER) < self._again_s:
            return False
        given.kills[observation.native] = now
        return True

    def _forget(self, now: float) -> None:
        for name in [name for name, given in self._given.items() if given.until < now]:
            del self._given[name]
