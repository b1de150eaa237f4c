"""Exit hook: adapters that still have something to send are closed when the program ends.

Owns which ones; close() does the rest. Read next: ../interface.py, on close().

By atexit: threads of the program that are no daemons have ended by then, so that nothing more is
issued, while the daemon threads that run a scheduler's commands still go on.
"""

from __future__ import annotations

import atexit
import logging
import os

from batchsystems.interface import BatchSystem

log = logging.getLogger("jobtree.batchsystems")

_to_close: dict[int, tuple[int, BatchSystem]] = {}


def close_at_exit(batch: BatchSystem) -> None:
    """Have it closed when this process ends, and keep it alive until then."""
    _to_close[id(batch)] = os.getpid(), batch


def forget(batch: BatchSystem) -> None:
    """Leave it alone: it is closed, or has nothing to send."""
    _to_close.pop(id(batch), None)


@atexit.register
def _close_all() -> None:
    """Close them, newest first. What a parent took, a forked child of it does not send again."""
    while _to_close:
        pid, batch = _to_close.popitem()[1]
        if pid == os.getpid():
            try:
                batch.close()
            except Exception:  # the others must be closed all the same
                log.exception("%s could not be closed", batch.name)
