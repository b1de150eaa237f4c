"""Where a new cluster goes: its directory, its ports, and what is possible there.

Owns the checks before anything starts; must not start anything. Read next: main.py.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localcluster import packages, processes
from localcluster.cluster import user_name
from localcluster.failure import Failure
from localcluster.settings import PORT, PORT_STEP, Places, Settings, ports


def make_directory(top: Path) -> None:
    """Make the directory, or check that what is there is ours to fill."""
    if len(bytes(Places(top).munge_socket)) > 100:
        raise Failure(f"{top}: this path is too long for a socket in it; give a shorter --dir")
    if any(letter.isspace() or letter in "#%,[]\\'\"" for letter in str(top)):
        raise Failure(f"{top}: slurm.conf cannot name this path; give a plainer --dir")
    top.mkdir(parents=True, exist_ok=True)
    if top.stat().st_uid != os.geteuid():
        raise Failure(f"{top} belongs to someone else; give another --dir")
    names = {path.name for path in top.iterdir()}
    if names and "lock" not in names:
        raise Failure(f"{top} holds other things; give an empty or a new --dir")
    if os.geteuid() == 0:
        top.chmod(0o755)  # every user must reach slurm.conf and munged's socket
        closed = [str(path) for path in top.parents if not path.stat().st_mode & 0o001]
        if closed:
            print(f"note: only root can submit, since {closed[0]} is closed to others")


@contextmanager
def block_of_ports(options: argparse.Namespace) -> Iterator[int]:
    """Choose free ports, and keep them from other calls of this program until we listen.

    The claim is an abstract socket: it works between users, and ends with this process.
    """
    wanted = [options.port] if options.port else range(PORT, PORT + 40 * PORT_STEP, PORT_STEP)
    for first in wanted:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0jobtree-local-cluster-{first}")
        except OSError:
            claim.close()
            continue
        with claim:
            if all(_is_free(port) for port in ports(first, options.nodes)):
                yield first
                return
    raise Failure(
        f"ports from {wanted[0]} on are in use; choose others with --port"
        if options.port
        else "no free ports found; name some with --port"
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
    return True


def new_settings(options: argparse.Namespace, port: int) -> Settings:
    """Return the settings of a new cluster, with what is to be found out found out."""
    root = os.geteuid() == 0
    cgroup = _choice(options.cgroup, root and processes.has_cgroups())
    if cgroup and not (root and processes.has_cgroups()):
        raise Failure("--cgroup 1 needs root and writable cgroups of version 1 in /sys/fs/cgroup")
    accounting = _choice(options.accounting, packages.has_accounting())
    if accounting and not packages.has_accounting():
        raise Failure("--accounting 1 needs slurmdbd and MariaDB; as root: local-cluster install")
    return Settings(
        user=user_name(),
        root=root,
        port=port,
        nodes=options.nodes,
        cpus=options.cpus,
        memory_mib=options.memory,
        prefix=processes.claim_prefix() if cgroup else "node",
        cgroup=cgroup,
        accounting=accounting,
        partitions=tuple(options.partitions),
        conf=tuple(options.conf),
    )


def _choice(told: str, possible: bool) -> bool:
    return possible if told == "auto" else told == "1"
