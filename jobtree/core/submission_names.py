"""Names of submissions: unique, readable, searchable, fit for every scheduler. Pure.

Owns how a name is put together; must not know who asks for one. Read next: ../master/dispatch.py.

    j-CLASS-TREE-ID.EPOCH-NUMBER      j-MapReads-hg38-3f9a2c71.2-117

Two trees of the same name in two folders, or a tree removed and begun anew under its old name,
differ in ID alone: the first letters of a random one that each tree gets when it is made.
"""

from __future__ import annotations

import re

ID_LENGTH = 8
"""Letters of a tree's id in a name: 32 random bits."""

LONGEST = 54
"""Letters of a name: what an adapter appends to the parts of an array (`.N`) fits in 63 with it."""

WORD = 20


def submission_name(label: str, tree: str, tree_id: str, epoch: int, number: int) -> str:
    """Return the name of the submission of this number in a tree's epoch.

    label: the class of its jobs; tree: the base name of its directory. Both are shortened, and
    lose what a name must not have, so that a name matches `[A-Za-z][A-Za-z0-9._-]{0,62}`.
    """
    end = f"{tree_id[:ID_LENGTH]}.{epoch}-{number}"
    label, tree = (re.sub(r"[^A-Za-z0-9_-]", "", word)[:WORD] for word in (label, tree))
    room = max(0, LONGEST - len(f"j---{end}"))
    label = label[: max(room // 2, room - len(tree))]
    return "-".join(word for word in ("j", label, tree[: room - len(label)], end) if word)
