"""One descriptor that turns readable when a watched process ends or the bell rings.

Owns pidfds and the epoll object over them; must not interpret why a process ended.
Read next: adapter.py.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from dataclasses import dataclass

from batchsystems.singlemachine.processes import Identity, reap

POLLED_S = 0.02
"""How long to wait at once for processes that have no descriptor."""


@dataclass(slots=True)
class _Watched:
    identity: Identity
    fd: int  # -1 where the kernel has no pidfds


class ProcessWatch:
    """Processes by the caller's own number. Without pidfds (Linux < 5.3) it polls."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._watched: dict[int, _Watched] = {}
        self._by_fd: dict[int, int] = {}
        self._polled: set[int] = set()
        self._ringing = False
        self._lock = threading.Lock()  # signal() is called from the memory thread, too

    def fileno(self) -> int | None:
        """Return the descriptor, None while some processes can only be polled."""
        return None if self._polled or self._epoll.closed else self._epoll.fileno()

    def ring(self, on: bool) -> None:
        """Make the descriptor readable whatever the processes do, or stop that."""
        if on != self._ringing and not self._epoll.closed:
            self._ringing = on
            os.eventfd_write(self._bell, 1) if on else os.eventfd_read(self._bell)

    def add(self, number: int, identity: Identity) -> bool:
        """Watch the process; False if it is gone (and not a child waiting to be reaped)."""
        fd = -1
        try:
            fd = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            return False
        except (OSError, AttributeError):
            self._polled.add(number)
        now = Identity.of(identity.pid)  # checked after opening: the descriptor is the right one
        if now != identity:
            self._polled.discard(number)
            if fd >= 0:
                os.close(fd)
            return False
        self._watched[number] = _Watched(identity, fd)
        if fd >= 0:
            self._by_fd[fd] = number
            self._epoll.register(fd, select.EPOLLIN)
        return True

    def signal(self, number: int, signal_number: int) -> None:
        """Send a signal to the watched process; nothing happens if it has ended."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            watched = self._watched.get(number)
            if watched is None:
                return
            if watched.fd >= 0:
                signal.pidfd_send_signal(watched.fd, signal_number)
            elif watched.identity.is_alive():
                os.kill(watched.identity.pid, signal_number)

    def wait(self, timeout_s: float) -> None:
        """Wait for the end of a watched process, whatever the bell does."""
        ringing = self._ringing
        self.ring(False)
        self._epoll.poll(min(timeout_s, POLLED_S) if self._polled else timeout_s)
        self.ring(ringing)

    def ended(self) -> dict[int, int | None]:
        """Return the processes that ended since the last call, with the exit code of our own."""
        ready = [fd for fd, _ in self._epoll.poll(0, len(self._by_fd) + 1)]
        numbers = [self._by_fd[fd] for fd in ready if fd in self._by_fd]
        codes: dict[int, int | None] = {}
        for number in [*numbers, *self._polled]:
            watched = self._watched[number]
            code = reap(watched.identity.pid)
            if watched.fd >= 0 or code is not None or not watched.identity.is_alive():
                codes[number] = code
                self._forget(number)
        return codes

    def _forget(self, number: int) -> None:
        with self._lock:
            watched = self._watched.pop(number)
            self._polled.discard(number)
            if watched.fd >= 0:
                self._epoll.unregister(watched.fd)
                os.close(watched.fd)
                del self._by_fd[watched.fd]

    def close(self) -> None:
        """Close every descriptor. The processes live on."""
        if not self._epoll.closed:
            for number in list(self._watched):
                self._forget(number)
            self._epoll.close()
            os.close(self._bell)
