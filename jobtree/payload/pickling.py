"""Pickling by reference: how the script's own classes reach the workers.

Owns the mapping of `__main__` to the script; must not know what a Target is, nor read files
of pickles. Read next: serialize.py, which says what of a Target is pickled; main_script.py.

Classes are pickled by name: a bug fixed in the script before a restart is fixed in pickles too.
"""

from __future__ import annotations

from _pickle import Unpickler, dumps  # the pickle module itself is slower to import
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from jobtree.errors import JobTreeError
from jobtree.payload.main_script import LOADING, MAIN, Script, no_script

PROTOCOL = 5
_MAIN_NAMES = (MAIN, LOADING)


def dump(value: object) -> bytes:
    """Return `value` pickled. Raises whatever its parts raise: see explain()."""
    return dumps(value, PROTOCOL)


class _Loader(Unpickler):
    """Unpickles, finding what was in `__main__` in the script."""

    def __init__(self, pickled: bytes, script: Script, shared: Sequence[Any]) -> None:
        super().__init__(BytesIO(pickled))
        self._script, self._shared = script, shared

    def persistent_load(self, number: Any) -> Any:
        """Return the shared object of this number."""
        return self._shared[number]

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle refers to by name."""
        if module not in _MAIN_NAMES:
            return super().find_class(module, name)
        found: Any = self._script.module()
        for part in name.split("."):
            if not hasattr(found, part):
                raise JobTreeError(
                    f"the workflow's script has no {name} any more",
                    code="JT412",
                    where=str(self._script.module().__file__),
                    fix="restore it, or run the tree afresh",
                )
            found = getattr(found, part)
        return found


def load(pickled: bytes, script: Script, shared: Sequence[Any] = ()) -> Any:
    """Return the value dump() was given; executes what the pickle says.

    shared: the objects that it shares with other pickles, which it refers to by number.
    Raises JobTreeError for the script's faults, else whatever unpickling raises.
    """
    return _Loader(pickled, script, shared).load()


def refuse_without_script(pickled: bytes, script: str) -> None:
    """Refuse a pickle that refers to `__main__` when no file stands behind it (JT404)."""
    if script:
        return
    from pickletools import genops

    before: list[object] = []
    for opcode, argument, _ in genops(pickled):
        if opcode.name == "STACK_GLOBAL" and "__main__" in before[-4:]:
            raise no_script(f"{before[-1]} is defined in an interactive session or by python -c")
        if isinstance(argument, str):
            before.append(argument)


# ---- naming what cannot be pickled -------------------------------------------------------

MOST_LOOKED_AT = 10_000


def explain(value: object, name: str) -> tuple[str, object]:
    """Return the path and the value of the innermost part that cannot be pickled.

    ("self.db.conn", <sqlite3.Connection ...>); `name` itself if no part of it is at fault.
    """
    looked_at: set[int] = set()
    found = True
    while found:
        found = False
        for path, part in _parts(value, name):
            if id(part) in looked_at or len(looked_at) > MOST_LOOKED_AT:
                continue
            looked_at.add(id(part))
            if not _can_be_pickled(part):
                value, name, found = part, path, True
                break
    return name, value


def _parts(value: object, name: str) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        pairs = [(f"{name}[{key!r:.60}]", part) for key, part in value.items()]
        return pairs + [(f"a key of {name}", key) for key in value]
    if isinstance(value, list | tuple):
        return [(f"{name}[{index}]", part) for index, part in enumerate(value)]
    if isinstance(value, set | frozenset):
        return [(f"an element of {name}", part) for part in value]
    if isinstance(value, type) or callable(value):
        return []
    state = getattr(value, "__dict__", None)
    if isinstance(state, dict):
        return [(f"{name}.{key}", part) for key, part in state.items()]
    return []


def _can_be_pickled(value: object) -> bool:
    try:
        dump(value)
    except Exception:  # noqa: BLE001 - a part's own methods may raise anything
        return False
    return True
