"""Shared objects: Targets that are set up ahead of time are each pickled once, by themselves.

Owns what several of them share, and how it is found and pickled; must not know bundles.
Read next: serialize.py, which makes Commands of these pickles.

Otherwise a chain of n follow-ons that are all set up at the beginning would be pickled n times,
each time with all that is left of it. What Targets share (one object of options, say) is pickled
once beside them. A Target that changes it in its run() changes it for those after it, as if all
had been pickled together: then, and only then, they are pickled again.
"""

from _pickle import Pickler, dumps
from collections.abc import Mapping, Sequence
from io import BytesIO
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

from jobtree.payload.pickling import PROTOCOL

_UNCHANGING = (str, bytes, tuple, frozenset, type, FunctionType, BuiltinFunctionType, ModuleType)
"""A copy of these is as good as the thing itself; what is in it is looked at by itself."""


class SharedObjects(NamedTuple):
    """What several values hold."""

    things: list[Any]
    numbers: Mapping[int, int]  # from the id of a thing to its place in `things`


def shared_by(values: Sequence[object]) -> SharedObjects:
    """Return the objects that more than one of these values reach; they may be values themselves.

    Raises whatever cannot be pickled raises.
    """
    owners: dict[int, int] = {}
    found: dict[int, Any] = {}
    alive = []  # what is made while pickling must live on, or another would get its id
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
    """Pickles a shared object as its number."""

    def __init__(self, file: BytesIO, numbers: Mapping[int, int]) -> None:
        super().__init__(file, PROTOCOL)
        self._numbers = numbers

    def persistent_id(self, value: object) -> int | None:
        """Return the number of a shared object, None for others."""
        return self._numbers.get(id(value))


def dump_apart(value: object, shared: SharedObjects) -> bytes:
    """Return a value pickled without what is shared; load() puts that back."""
    if not shared.things:
        return dumps(value, PROTOCOL)
    file = BytesIO()
    _Apart(file, shared.numbers).dump(value)
    return file.getvalue()
