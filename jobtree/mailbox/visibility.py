"""Visibility: whether this node sees the tree at all, once a file in it was not found.

Owns that question alone. Read next: orders.py, claims.py.
"""

from __future__ import annotations

import os
import time

from jobtree.errors import StoreError
from jobtree.mailbox.files import exists_after_listing
from jobtree.mailbox.layout import ORDERS

LOOKS = 6
LOOK_EVERY_S = 0.2
"""A node may be about to mount the file system, or still hold what it was like before."""


def require_tree(tree: str) -> None:
    """Return if the tree is there: then its master has removed the file that was not found.

    Else the node is at fault: raises StoreError (JT354), or OSError if the file system does not
    answer.
    """
    for look in range(LOOKS):
        if look:
            time.sleep(LOOK_EVERY_S)
        if exists_after_listing(f"{tree}/{ORDERS}"):
            return
    raise StoreError(
        f"the tree {tree} is not to be seen on the node {os.uname().nodename}",
        code="JT354",
        why="not even its directory is there: the file system may not be mounted",
        fix="mount it on that node, or keep jobs away from there; "
        "jobtree leaves out a node where jobs fail so",
    )
