"""Keep-alive: how long work lets its master renew the lease meanwhile.

Owns what is called between two pieces of work, and during one that cannot be divided. Read next:
master_side.py; ../store/lease.py, whose keep() is what masters call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

LOOK_S = 1.0

KeepAlive = Callable[[], object]
Result = TypeVar("Result")


def nothing() -> None:
    """Do nothing between two pieces of work."""


def keep_alive_during(call: Callable[[], Result], keep_alive: KeepAlive) -> Result:
    """Return what `call`, which cannot be interrupted, returns; call `keep_alive` until then.

    `call` runs in another thread. Raises what either raises; if `keep_alive` does, `call` goes on
    and its result is lost.
    """
    import threading

    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
            errors.append(error)

    thread = threading.Thread(target=run, name="meanwhile", daemon=True)
    thread.start()
    thread.join(LOOK_S)
    while thread.is_alive():
        keep_alive()
        thread.join(LOOK_S)
    if errors:
        raise errors[0]
    return results[0]
