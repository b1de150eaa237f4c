"""What a new cluster is: its ports, and what is possible on this machine.

Owns the checks before anything starts; must not start anything. Read next: main.py.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localengines.daemons import user_name
from localengines.failure import Failure
from localengines.place import block_of_ports

from localcluster import members, programs
from localcluster.settings import PORT, PORT_STEP, Places, Settings, ports


@contextmanager
def new_settings(top: Path, options: argparse.Namespace) -> Iterator[Settings]:
    """Return the settings of a new cluster, and keep its ports while it starts."""
    if len(bytes(Places(top).munge_socket)) > 100:
        raise Failure(f"{top}: this path is too long for a socket in it; give a shorter --dir")
    wanted = [options.port] if options.port else range(PORT, PORT + 40 * PORT_STEP, PORT_STEP)
    block = block_of_ports(
        "local-cluster", wanted, lambda first: ports(first, options.nodes), "127.0.0.1"
    )
    with block as port:
        yield _settings(options, port)


def _settings(options: argparse.Namespace, port: int) -> Settings:
    root = os.geteuid() == 0
    cgroup = _choice(options.cgroup, root and members.has_cgroups())
    if cgroup and not (root and members.has_cgroups()):
        raise Failure("--cgroup 1 needs root and writable cgroups of version 1 in /sys/fs/cgroup")
    accounting = _choice(options.accounting, programs.has_accounting())
    if accounting and not programs.has_accounting():
        raise Failure("--accounting 1 needs slurmdbd and MariaDB; as root: local-cluster install")
    return Settings(
        user=user_name(),
        root=root,
        port=port,
        nodes=options.nodes,
        cpus=options.cpus,
        memory_mib=options.memory,
        prefix=members.claim_prefix() if cgroup else "node",
        cgroup=cgroup,
        accounting=accounting,
        partitions=tuple(options.partitions),
        conf=tuple(options.conf),
    )


def _choice(told: str, possible: bool) -> bool:
    return possible if told == "auto" else told == "1"
