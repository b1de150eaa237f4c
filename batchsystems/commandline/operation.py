"""Operation: one thing the engine wants done outside of itself.

Owns nothing but the shape; must not know who does it. Read next: engine.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from batchsystems.commandline.answers import QueryResult
from batchsystems.transport.local import Command, CommandResult, Transport


def worth_retrying(result: QueryResult) -> bool:
    """Tell whether asking once more may give a better answer."""
    return not result.complete and not result.off and not result.cut


def reading(
    parse: Callable[[CommandResult], QueryResult],
) -> Callable[[CommandResult], QueryResult]:
    """Return what reads an answer, and notes that it was too long."""
    return lambda ran: replace(parse(ran), cut=True) if ran.cut else parse(ran)


def unanswered(words: str) -> QueryResult:
    """Return the answer that tells nothing."""
    return QueryResult(why=words)


@dataclass(slots=True)
class Operation:
    """A command to run, or files to read."""

    on_answer: Callable[[Any, float, float], None]
    """Carries the answer into the engine, with the times at which it was begun and had."""
    lost: Callable[[str], Any]
    """Makes the answer that stands for none, from words for people."""
    command: Command | None = None
    parse: Callable[[CommandResult], Any] = lambda ran: ran
    """From what the command did to the answer; pure, may be slow."""
    again: Callable[[Any], bool] = lambda answer: False
    """Whether to ask once more at once after an answer like this."""
    read_files: Callable[[Transport], Any] | None = None
    """What to do instead of a command, with the transport by which files are read."""
    begun: float = 0.0

    @property
    def acts(self) -> bool:
        """Whether it changes something, and is no mere query."""
        return self.command is not None and self.command.verb in ("submit", "kill")
