"""Probe: what a cluster reveals of itself, as a site file to begin with.

Owns the asking; must not know a scheduler. Read next: site/draft.py, what comes of it;
slurm/probe.py, the first probe; registry.py, whose BUILT_IN names them all.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from batchsystems.errors import BatchSystemError
from batchsystems.site.draft import Draft, Table
from batchsystems.transport.local import Command, CommandResult, Transport

ANSWER_S = 60.0
"""How long one question may take: a login node may be slow, its controller slower."""


class Probe(ABC):
    """What can be found out about one kind of batch system. Reads text; starts nothing itself."""

    programs: ClassVar[tuple[str, ...]] = ()
    """If all of them are on PATH, this kind of batch system is here."""
    scrubbed: ClassVar[tuple[str, ...]] = ()
    scrubbed_names: ClassVar[frozenset[str]] = frozenset()
    kept: ClassVar[frozenset[str]] = frozenset()
    fixed: ClassVar[Mapping[str, str]] = {}
    """As of a Dialect: what of the environment would change the answers."""

    def questions(self, user: str) -> Mapping[str, tuple[str, ...]]:
        """Return the commands to ask, each by a name; all of them only look."""
        return {}

    @abstractmethod
    def draft(self, answers: Mapping[str, CommandResult]) -> Draft:
        """Return what the answers tell. Raises Unobtainable if they tell nothing at all."""


class NoProbe(Probe):
    """Of a batch system that nobody knows how to ask."""

    def __init__(self, name: str) -> None:
        self._name = name

    def draft(self, answers: Mapping[str, CommandResult]) -> Draft:
        """Return the frame alone."""
        keys = "Its keys: `jobtree site show --schema`, or else the arguments of its class."
        return Draft(
            self._name,
            f"the batch system {self._name}",
            (Table(self._name, remarks=(keys,)),),
            unknown=(f"anything: there is no probe for {self._name}",),
        )


def detect(probes: Mapping[str, Probe], transport: Transport) -> list[str]:
    """Return the names of the batch systems whose programs are on PATH, in the order given."""
    known = ((name, probe.programs) for name, probe in probes.items())
    return [name for name, programs in known if programs and not transport.missing(programs)]


def run_probe(probe: Probe, transport: Transport, user: str) -> Draft:
    """Ask a cluster all that a probe wants to know.

    Raises BatchSystemError: JT200 without the probe's programs, JT210 if nothing answers.
    """
    lacking = transport.missing(probe.programs)
    if lacking:
        raise BatchSystemError(
            f"nothing can be asked here: there is no {', no '.join(lacking)}",
            why="these commands are not on PATH",
            fix="load the site's module for it, use a submit host, or name another batch system "
            "with --batchSystem",
        )
    env = _environment(probe)
    answers = {
        name: transport.run(Command("discover", argv, env=env, cwd="/"), ANSWER_S)
        for name, argv in probe.questions(user).items()
    }
    return probe.draft(answers)


def _environment(probe: Probe) -> dict[str, str]:
    """Return the environment in which answers are as parsers expect them."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if name in probe.kept
        or not (name in probe.scrubbed_names or name.startswith(probe.scrubbed or ("=",)))
    }
    return ours | {"LC_ALL": "C", "LANG": "C", "TZ": "UTC"} | dict(probe.fixed)
