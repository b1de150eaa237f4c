"""Sealing: Targets set up before their time are pickled once, each by itself.

Owns what several of them share, and how it is found and kept; must not know bundles.
Read next: serialize.py, which makes Commands of what comes out of here.

A chain of n follow-ons that were all set up beforehand would else be pickled n times, each time
with all that is left of it. What Targets share (one object of options, say) is pickled once
beside them, so that a Target that changes it in its run() changes it for those after it, as if
all had been pickled together: then, and only then, they are pickled anew.
"""

from _pickle import Pickler, dumps
from collections.abc import Mapping, Sequence
from io import BytesIO
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

from jobtree.payload.pickling import PROTOCOL

_UNCHANGING = (str, bytes, tuple, frozenset, type, FunctionType, BuiltinFunctionType, ModuleType)
"""Which copy of such a thing one has makes no difference; what is in it is looked at by itself."""


class SharedObjects(NamedTuple):
    """What several values hold. numbers: id -> place in `things`."""

    things: list[Any]
    numbers: Mapping[int, int]


def shared_by(values: Sequence[object]) -> SharedObjects:
    """Return what more than one of these reach, those of them included that another reaches.

    Raises whatever cannot be pickled raises.
    """
    owners: dict[int, int] = {}
    found: dict[int, Any] = {}
    alive = []  # what is made while pickling must live on, lest another get its id
    for owner, value in enumerate(values):
        pickler = Pickler(BytesIO(), PROTOCOL)
        pickler.dump(value)
        memo = pickler.memo.copy()
        alive.append(memo)
        for key, (_, thing) in memo.items():
            if isinstance(thing, _UNCHANGING):
                continue
            if owners.setdefault(key, owner) != owner:
                found[key] = thing
    things = list(found.values())
    return SharedObjects(things, {id(thing): place for place, thing in enumerate(things)})


class _Apart(Pickler):
    """Pickles what is shared as its number alone."""

    def __init__(self, file: BytesIO, numbers: Mapping[int, int]) -> None:
        super().__init__(file, PROTOCOL)
        self._numbers = numbers

    def persistent_id(self, value: object) -> int | None:
        """Return the number of what is shared."""
        return self._numbers.get(id(value))


def dump_apart(value: object, shared: SharedObjects) -> bytes:
    """Return a value pickled without what is shared; load() takes that back."""
    if not shared.things:
        return dumps(value, PROTOCOL)
    file = BytesIO()
    _Apart(file, shared.numbers).dump(value)
    return file.getvalue()
