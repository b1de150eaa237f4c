"""The doorbell: a datagram by which a worker tells the master to look at its results.

Owns the socket and the token. It is a hint, never the truth: sweeps make up for lost ones, and
a forged one only costs a look at a file. Read next: control.py.
"""

from __future__ import annotations

import _socket  # all a worker needs; the socket module is slower to import
from typing import TYPE_CHECKING

from jobtree.mailbox.files import random_name

if TYPE_CHECKING:
    import socket

MOST_AT_ONCE = 10_000


def ring(address: tuple[str, int, str], issue: str) -> None:
    """Tell the master at (host, port, token) to look at an issue. Failures do not matter."""
    host, port, token = address
    try:
        family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
        sender = _socket.socket(family, _socket.SOCK_DGRAM)
        sender.sendto(f"{token} {issue}".encode(), (host, port))
        sender.close()
    except OSError:
        pass


class Doorbell:
    """The master's side: which issues have rung."""

    def __init__(self, host: str | None) -> None:
        """Listen on `host`; with None, or a host that cannot be bound, there is no doorbell."""
        self.address: tuple[str, int, str] | None = None  # what workers are told
        self._socket: socket.socket | None = None
        if host is None:
            return
        import socket

        bell = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            bell.bind((host, 0))
        except OSError:
            bell.close()
            return
        bell.setblocking(False)
        self._token = random_name(8)
        self._socket = bell
        self.address = (host, bell.getsockname()[1], self._token)

    def fileno(self) -> int | None:
        """Return what to wait on."""
        return None if self._socket is None else self._socket.fileno()

    def answer(self) -> set[str]:
        """Return the issues that have rung since the last call."""
        rung: set[str] = set()
        if self._socket is None:
            return rung
        for _ in range(MOST_AT_ONCE):
            try:
                said = self._socket.recv(512).decode(errors="replace")
            except OSError:
                break
            token, _, issue = said.partition(" ")
            if token == self._token:  # guessed by its timing, it would cost a look at a file
                rung.add(issue)
        return rung

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            self._socket.close()
