"""Task: one thing the engine wants done outside of itself.

Owns nothing but the shape; must not know who does it. Read next: engine.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from batchsystems.commandline.dialect import Listing
from batchsystems.transport.local import Command, Ran, Transport


def poor(listing: Listing) -> bool:
    """Tell whether asking once more may give a better answer."""
    return not listing.complete and not listing.off and not listing.cut


def reading(parse: Callable[[Ran], Listing]) -> Callable[[Ran], Listing]:
    """Return what reads an answer, and notes that it was too long."""
    return lambda ran: replace(parse(ran), cut=True) if ran.cut else parse(ran)


def unanswered(words: str) -> Listing:
    """Return the answer that tells nothing."""
    return Listing(why=words)


@dataclass(slots=True)
class Task:
    """A command to run, or files to look into.

    hear: carries the answer into the engine, with the times at which it was begun and had.
    lost: the answer if there is none. parse: from what the command did to the answer; pure, may
    be slow. again: whether to ask at once once more after an answer like this. look: what to do
    instead of a command, with the transport by which files are read.
    """

    hear: Callable[[Any, float, float], None]
    lost: Callable[[str], Any]
    command: Command | None = None
    parse: Callable[[Ran], Any] = lambda ran: ran
    again: Callable[[Any], bool] = lambda answer: False
    look: Callable[[Transport], Any] | None = None
    begun: float = 0.0

    @property
    def acts(self) -> bool:
        """Whether it changes something, and is no mere look."""
        return self.command is not None and self.command.verb in ("submit", "kill")
