"""jobTree: runs a tree of jobs on whatever batch system a cluster has, and finishes it.

Owns the names a workflow imports, loaded when first used; must not import anything eagerly,
as every worker starts through here. Read next: target.py, the researcher's view of all this.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobtree.errors import JobTreeError, StoreError, UsageError
    from jobtree.stack import Stack
    from jobtree.target import Target

__version__ = "0.1.0.dev0"

__all__ = ["JobTreeError", "Stack", "StoreError", "Target", "UsageError", "__version__"]

_HOMES = {
    "JobTreeError": "jobtree.errors",
    "Stack": "jobtree.stack",
    "StoreError": "jobtree.errors",
    "Target": "jobtree.target",
    "UsageError": "jobtree.errors",
}


def __getattr__(name: str) -> object:
    """Import what is asked for from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    __import__(_HOMES[name])
    found: object = getattr(sys.modules[_HOMES[name]], name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the lazy names too."""
    return sorted({*globals(), *__all__})
