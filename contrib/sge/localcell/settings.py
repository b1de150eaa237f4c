"""What a local cell is: its settings, its places, its names and numbers.

Owns every choice that outlives a call; must not start, read or write anything.
Read next: configuration.py for Grid Engine's own files, cell.py for its daemons.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

PORT = 24100
"""Where the first cell's block of ports begins."""

PORT_STEP = 10

CELL = "default"
"""The name of the cell within its SGE_ROOT."""

QUEUE = "all.q"
"""The queue of all jobs that ask for none."""

SHORT = "short.q"
"""A queue with a limit, for those that ask for it."""

SHORT_S = 300

GPUS = 2
"""How many each host seems to have."""

GIDS = 1000
"""How many group ids a cell may give to jobs, and so how many run on a host at once."""


@dataclass(frozen=True)
class Settings:
    """One cell's settings, kept in cell.json for as long as it exists.

    machine: this machine's name, as Grid Engine will call it; alias: what its address is called,
    if that differs. address: what the name resolves to. namespaces: each execution host is a
    machine of its own, else this machine is the only one. root: daemons run as root, so every
    user can submit. conf: lines of the global configuration, KEY=VALUE, that win over those
    made here.
    """

    user: str
    root: bool
    port: int
    machine: str
    alias: str
    address: str
    namespaces: bool
    hosts: int = 3
    slots: int = 4
    memory_mib: int = 16384
    conf: tuple[str, ...] = ()

    @property
    def host_names(self) -> tuple[str, ...]:
        """Return the execution hosts' names, in order."""
        if not self.namespaces:
            return (self.machine,)
        return tuple(f"sge{number}" for number in range(1, self.hosts + 1))

    @property
    def network(self) -> str:
        """Return the first three numbers of the cell's addresses."""
        return network(self.port)

    @property
    def master_address(self) -> str:
        """Return this machine's address in the cell's own network."""
        return f"{self.network}.1"

    def host_address(self, host: str) -> str:
        """Return an execution host's address."""
        return f"{self.network}.{11 + self.host_names.index(host)}"

    @property
    def link(self) -> str:
        """Return the network interface of this machine that leads into the cell."""
        return link(self.port)

    @property
    def gids(self) -> range:
        """Return the group ids by which Grid Engine recognises jobs; no two cells share any."""
        first = 1_900_000_000 + GIDS * _number(self.port)
        return range(first, first + GIDS)

    def to_json(self) -> str:
        """Return it as text for from_json."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Read what to_json wrote; ValueError, TypeError or KeyError if it did not."""
        values = json.loads(text)
        values["conf"] = tuple(values["conf"])
        return cls(**values)


def ports(first: int) -> range:
    """Return a cell's ports: the master's, and that of each execution host."""
    return range(first, first + 2)


def network(port: int) -> str:
    """Return the network of the cell with this port; 198.18/15 is for tests (RFC 2544)."""
    return f"198.{18 + _number(port) // 250}.{_number(port) % 250}"


def link(port: int) -> str:
    """Return the name of the interface that leads into the cell with this port."""
    return f"jtcell{_number(port)}"


def _number(port: int) -> int:
    """Return a number below 500 that side-by-side cells do not share: their ports differ."""
    return port // PORT_STEP % 500


@dataclass(frozen=True)
class Places:
    """Where things are in a cell's directory."""

    top: Path

    def __truediv__(self, name: str) -> Path:
        """Return a path below the directory."""
        return self.top / name

    @property
    def settings(self) -> Path:
        """Return where the settings are kept; a directory with this file holds a cell."""
        return self.top / "cell.json"

    @property
    def root(self) -> Path:
        """Return the daemons' SGE_ROOT."""
        return self.top / "sge"

    @property
    def common(self) -> Path:
        """Return the cell's own directory below it, where the accounting file is."""
        return self.root / CELL / "common"

    @property
    def client_root(self) -> Path:
        """Return the clients' SGE_ROOT: a submit host need not see the accounting file."""
        return self.top / "client"

    @property
    def client_common(self) -> Path:
        """Return the cell's directory as a submit host sees it."""
        return self.client_root / CELL / "common"

    @property
    def hosts(self) -> Path:
        """Return the execution hosts' /etc/hosts."""
        return self.top / "etc" / "hosts"

    @property
    def scratch(self) -> Path:
        """Return where jobs have directories of their own, by their numbers.

        Cells side by side number their jobs alike: what one removes is not to be another's.
        """
        return self.top / "tmp"

    @property
    def master_hosts(self) -> Path:
        """Return the master's /etc/hosts."""
        return self.top / "etc" / "hosts.master"

    def spools(self) -> Iterator[Path]:
        """Return the directories that daemons fill."""
        yield self.top / "spool" / "db"
        yield self.top / "spool" / "qmaster" / "job_scripts"
        yield self.top / "spool" / "execd"
