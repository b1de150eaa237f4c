"""What can be done to any engine's services; what a verb of `fault` is.

Owns the form of the verbs; each engine has its own table of them.
Read next: that table, faults.py of localcluster or localcell.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from localengines.daemons import Engine
from localengines.failure import Failure
from localengines.processes import wait_for

Kind = TypeVar("Kind", bound=Engine)


@dataclass(frozen=True)
class Verb(Generic[Kind]):
    """One thing that can be done. takes: what it is done to, "" for nothing.

    It returns once it has taken effect.
    """

    takes: str
    what: str
    do: Callable[[Kind, str], None]


def listing(verbs: Mapping[str, Verb[Kind]]) -> str:
    """Return the verbs as text, one a line, for a program's help."""
    width = max(len(f"{name} {verb.takes}") for name, verb in verbs.items())
    lines = [f"  {f'{name} {verb.takes}':{width}}  {verb.what}" for name, verb in verbs.items()]
    return "\n".join(lines)


def service_verbs(
    services: Mapping[str, str], check: Callable[[Kind, str], None] = lambda engine, service: None
) -> dict[str, Verb[Kind]]:
    """Return stop-, kill-, start-, freeze- and thaw- of each service.

    services: the service's name for a user -> the daemon's. check: raises Failure where this
    engine has no such service.
    """
    return {
        f"{word}-{service}": _service_verb(what, do, service, daemon, check)
        for service, daemon in services.items()
        for word, (what, do) in _SERVICE_VERBS.items()
    }


def _service_verb(
    what: str,
    do: Callable[[Engine, str], None],
    service: str,
    daemon: str,
    check: Callable[[Kind, str], None],
) -> Verb[Kind]:
    def act(engine: Kind, _: str) -> None:
        check(engine, service)
        do(engine, daemon)

    return Verb("", f"{service}: {what}", act)


def _stop(engine: Engine, name: str) -> None:
    engine.end(name, 30)


def _kill(engine: Engine, name: str) -> None:
    engine.end(name, 0)


def _start(engine: Engine, name: str) -> None:
    engine.start(name)


def _freeze(engine: Engine, name: str) -> None:
    if engine.state(name) == "gone":
        raise Failure(f"{name} does not run, so it cannot be frozen")
    engine.signal(name, signal.SIGSTOP)
    wait_for(f"{name} frozen", lambda: engine.state(name) == "frozen", 10)


def _thaw(engine: Engine, name: str) -> None:
    engine.signal(name, signal.SIGCONT)
    wait_for(f"{name} thawed", lambda: engine.state(name) != "frozen", 10)


_SERVICE_VERBS: Mapping[str, tuple[str, Callable[[Engine, str], None]]] = {
    "stop": ("end it in good order", _stop),
    "kill": ("end it at once, as a crash would (SIGKILL)", _kill),
    "start": ("start it again", _start),
    "freeze": ("let it hang: connections are accepted, nothing is answered", _freeze),
    "thaw": ("let it go on", _thaw),
}
