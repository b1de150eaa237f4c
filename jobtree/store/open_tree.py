"""Opening a tree: its lease taken, and its database open for nobody else.

Owns the order of the two, and that both are let go of. Read next: lease.py, store.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from jobtree.store import lease
from jobtree.store.database import copy_database, drop_drafts
from jobtree.store.store import Store


@contextmanager
def open_tree(
    directory: str, looks: bool = False, watch: lease.Watch | None = None
) -> Iterator[tuple[lease.Lease, Store]]:
    """Hold the lease of a tree and its open store; let go of both at the end.

    looks: only for a moment, to answer a question; others then wait instead of being refused.
    watch: of the holder until now. Raises StoreError JT302 if another master holds it.
    """
    held, _ = lease.acquire(directory, looks, notice=_notice, watch=watch)
    try:
        store = Store(f"{directory}/{_own_database(directory, held)}")
        try:
            yield held, store
        finally:
            store.close()
    finally:
        held.release()


def _notice(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


def _own_database(directory: str, held: lease.Lease) -> str:
    """Return the file that none but this holder opens: a copy, if another still may."""
    name = held.holder.database
    if held.holder.copying:
        drop_drafts(directory)
        renamed = f"tree.{held.epoch}.db"
        copy_database(f"{directory}/{name}", f"{directory}/{renamed}", held.keep)
        held.record_database(renamed)
        name = renamed
    return name
