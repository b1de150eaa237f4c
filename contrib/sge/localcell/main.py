"""local-cell: what is Grid Engine's own in it.

Owns what status and env tell of Grid Engine; must not talk to it. Read next:
localengines/program.py for the verbs, cell.py for what a cell is.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localengines.program import Program

from localcell import programs
from localcell.cell import MASTER, Cell
from localcell.faults import VERBS
from localcell.options import add_up_options
from localcell.place import new_settings
from localcell.settings import CELL


class LocalCell(Program[Cell]):
    """The program."""

    name = "local-cell"
    engine = "Grid Engine"
    noun = "cell"
    variable = "JOBTREE_LOCAL_CELL"
    description = "A real Grid Engine of several hosts on this machine, private to its directory."
    epilog = (
        "Run as root, every user can submit, and hosts are machines of their own; else only you, "
        "to this one. Several cells can coexist."
    )
    targets = "HOST|JOBID|..."
    faults = VERBS

    def load(self, top: Path) -> Cell | None:
        """Return the cell in a directory; None if there is none."""
        return Cell.load(top)

    @contextmanager
    def new(self, top: Path, options: argparse.Namespace) -> Iterator[Cell]:
        """Return a new cell, whose ports are kept while it starts."""
        with new_settings(options) as settings:
            yield Cell(top, settings)

    def add_up_options(self, up: argparse.ArgumentParser) -> None:
        """Add the options of `up`."""
        add_up_options(up)

    def missing(self) -> list[str]:
        """Return the programs without which Grid Engine cannot start."""
        return programs.missing()

    def install(self) -> bool:
        """Install what is missing; return whether anything was."""
        return programs.install()

    def exports(self, engine: Cell) -> Mapping[str, str]:
        """Return the variables that lead Grid Engine's clients to the cell.

        Its own folder of clients comes first: those in /usr/bin are slow wrappers.
        """
        clients = str(engine.places.client_root / "bin")
        path = [word for word in os.environ.get("PATH", os.defpath).split(":") if word != clients]
        found = {
            "SGE_ROOT": str(engine.places.client_root),
            "SGE_CELL": CELL,
            "SGE_QMASTER_PORT": str(engine.settings.port),
            "SGE_EXECD_PORT": str(engine.settings.port + 1),
            "PATH": ":".join([clients, *path]),
        }
        if programs.DRMAA.exists():
            found["DRMAA_LIBRARY_PATH"] = str(programs.DRMAA)
        return found

    def status(self, engine: Cell) -> tuple[bool, dict[str, Any], str]:
        """Return whether the master and all hosts are well, and how each is."""
        settings = engine.settings
        master = engine.state(MASTER)
        daemons = {MASTER: master, **engine.execd_states()}
        states = engine.sge.host_states() if master == "running" else {}
        told = json.loads(settings.to_json())
        hosts = {host: states.get(host) for host in settings.host_names}
        told |= {"daemons": daemons, "queues": hosts, "env": dict(self.exports(engine))}
        well = set(daemons.values()) == {"running"} and set(hosts.values()) == {"ok"}
        return well, told, _text(engine, daemons, states)


def _text(cell: Cell, daemons: Mapping[str, str], states: Mapping[str, str]) -> str:
    settings = cell.settings
    apart = "each a machine of its own" if settings.namespaces else "this machine"
    count = len(settings.host_names)
    lines = [
        f"{cell.top}: {count} host{'s' if count > 1 else ''} of {settings.slots} slots, "
        f"{settings.memory_mib} MiB ({apart}); ports from {settings.port}",
        f"runs as {settings.user}",
    ]
    for name, state in daemons.items():
        lines.append(f"  {name:12} {state:8} {states.get(name, '')}".rstrip())
    return "\n".join(lines)


def main() -> int:
    """Do what the command line says; return the exit status."""
    return LocalCell().main()
