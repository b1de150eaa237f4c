"""Where a new cluster goes: its directory, and ports that nobody uses.

Owns the checks before anything starts; must not start anything. Read next: program.py.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from localengines.failure import Failure
from localengines.files import LOCK


def make_directory(top: Path) -> None:
    """Make the directory, or check that what is there is ours to fill."""
    if any(letter.isspace() or letter in "#%,[]\\'\":" for letter in str(top)):
        raise Failure(f"{top}: configuration cannot name this path; give a plainer --dir")
    top.mkdir(parents=True, exist_ok=True)
    if top.stat().st_uid != os.geteuid():
        raise Failure(f"{top} belongs to someone else; give another --dir")
    names = {path.name for path in top.iterdir()}
    if names and LOCK not in names:
        raise Failure(f"{top} holds other things; give an empty or a new --dir")
    if os.geteuid() == 0:
        top.chmod(0o755)  # every user's jobs and clients must reach it
        barrier = closed_to_others(top)
        if barrier is not None:
            print(f"note: only root can submit, since {barrier} is closed to others")


def closed_to_others(top: Path) -> Path | None:
    """Return a directory above this one that keeps other users from it, if there is any."""
    return next((path for path in top.parents if not path.stat().st_mode & 0o001), None)


@contextmanager
def block_of_ports(
    program: str, wanted: Iterable[int], ports: Callable[[int], Iterable[int]], host: str
) -> Iterator[int]:
    """Choose the first free block of ports, and keep it from other calls until we listen.

    wanted: where a block can begin. The claim is an abstract socket: it works between users, and
    ends with this process.
    """
    beginnings = list(wanted)
    for first in beginnings:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0jobtree-{program}-{first}")
        except OSError:
            claim.close()
            continue
        with claim:
            if all(_is_free(port, host) for port in ports(first)):
                yield first
                return
    raise Failure(
        f"ports from {beginnings[0]} on are in use; choose others with --port"
        if len(beginnings) == 1
        else "no free ports found; name some with --port"
    )


def _is_free(port: int, host: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
    return True
