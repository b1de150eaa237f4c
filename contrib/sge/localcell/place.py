"""What a new cell is: its ports and network, this machine's name, and what is possible here.

Owns the checks before anything starts; must not start anything. Read next: main.py.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localengines.daemons import user_name
from localengines.failure import Failure
from localengines.packages import program
from localengines.place import block_of_ports

from localcell import programs
from localcell.settings import PORT, PORT_STEP, Settings, link, network, ports


@contextmanager
def new_settings(options: argparse.Namespace) -> Iterator[Settings]:
    """Return the settings of a new cell, and keep its ports while it starts."""
    problem = _why_no_namespaces()
    if options.namespaces == "1" and problem:
        raise Failure(f"--namespaces 1: {problem}")
    namespaces = options.namespaces != "0" and problem is None
    if options.namespaces == "auto" and problem and os.geteuid() == 0:
        print(f"note: this machine is the only host, since {problem}")
    every = range(PORT, PORT + 40 * PORT_STEP, PORT_STEP)
    wanted = [options.port] if options.port else [port for port in every if _is_unused(port)]
    with block_of_ports("local-cell", wanted, ports, "0.0.0.0") as port:  # noqa: S104 - a probe
        name, alias, address = _machine()
        yield Settings(
            user=user_name(),
            root=os.geteuid() == 0,
            port=port,
            machine=name,
            alias=alias,
            address=address,
            namespaces=namespaces,
            hosts=options.hosts if namespaces else 1,
            slots=options.slots,
            memory_mib=options.memory,
            conf=tuple(options.conf),
        )


def _machine() -> tuple[str, str, str]:
    """Return this machine's name as Grid Engine finds it, what its address is called, and it.

    Grid Engine names a machine by looking its address up again; what it then finds must be known
    as an alias. (Typically a machine's name leads to 127.0.0.1, and that is called localhost.)
    """
    called = socket.gethostname()
    try:
        name, _, addresses = socket.gethostbyname_ex(called)
    except OSError as error:
        raise Failure(
            f"this machine's own name, {called}, leads nowhere ({error}), but Grid Engine needs "
            f"it to; as root: echo 127.0.1.1 {called} >> /etc/hosts"
        ) from error
    try:
        found = socket.gethostbyaddr(addresses[0])[0]
    except OSError:
        found = name
    return name, found if found != name else "", addresses[0]


def _is_unused(port: int) -> bool:
    """Tell whether nothing of this machine's network is in the way of a cell with this port."""
    if (Path("/sys/class/net") / link(port)).exists():
        return False
    wanted = socket.inet_aton(f"{network(port)}.0")
    try:
        rows = Path("/proc/net/route").read_text().splitlines()[1:]
    except OSError:
        return True
    return all(bytes.fromhex(row.split()[1])[::-1] != wanted for row in rows)


def _why_no_namespaces() -> str | None:
    """Say what keeps execution hosts from being machines of their own; None if nothing does."""
    if os.geteuid() != 0:
        return "namespaces need root"
    missing = programs.missing_tools()
    if missing:
        return f"{', '.join(missing)} are not installed"
    made = subprocess.run(
        [
            program("unshare"),
            *("--net", "--uts", "--mount", "--pid", "--fork", "--mount-proc"),
            *("ip", "link", "add", "probe", "type", "bridge"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    said = made.stderr.strip().splitlines()
    return None if made.returncode == 0 else f"the kernel refuses them ({''.join(said[-1:])})"
