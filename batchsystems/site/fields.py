"""Fields: the kinds of value that stand in a site file, and how a dataclass declares its keys.

Owns how one value is read, and what is said of one that is wrong; must not know a key. A field is
declared by calling its kind: `qos: str = WORD("", "as sbatch --qos")`. Read next: sections.py,
which declares what is the same for every batch system; schema.py, which reads tables by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, field, fields
from functools import cache
from typing import Any, NamedTuple

from batchsystems.errors import BatchSystemError
from batchsystems.site.writing import write_size, write_time, write_value
from batchsystems.units import LARGEST, read_size, read_time

REQUIRED: Any = MISSING
"""The default of what has none."""


class Kind(NamedTuple):
    """What a value is. Called, it declares a field of a dataclass as a key of the site file.

    name: for people. read: from what TOML has to what code uses; raises ValueError, which says
    what it should be. json: its JSON Schema. item: what the elements of a list are. table: what
    such an element is made of. own: as `read`, of what code gives, where that differs.
    """

    name: str
    read: Callable[[Any], Any]
    json: Mapping[str, Any]
    item: Kind | None = None
    table: type | None = None
    own: Callable[[Any], Any] | None = None

    def __call__(
        self, default: Any, meaning: str, key: str = "", check: Callable[[Any], None] | None = None
    ) -> Any:
        """Return a field: what holds where no file sets it, and what it means, for people.

        key: its name in its table, if it is another than the field's; with a dot it stands in
        that other table. check: raises ValueError for a value of the kind that cannot be.
        """
        declared = Key(key, self, default, meaning, check)
        return field(default=default, metadata={Key: declared})


class Key(NamedTuple):
    """A key of the site file. field: what code calls it; section: what its table is about."""

    name: str
    takes: Kind
    default: Any
    meaning: str
    check: Callable[[Any], None] | None = None
    field: str = ""
    section: str = ""

    @property
    def kind(self) -> str:
        """What it takes, for people."""
        return self.takes.name

    @property
    def written(self) -> str:
        """The default, as a file would set it; "none" if nothing holds unless it is set."""
        if self.default is REQUIRED:
            return "required"
        if self.default is None or self.default in ("", ()):
            return "none"
        if self.kind == "time":
            return write_time(self.default)
        return write_size(self.default) if self.kind == "size" else write_value(self.default)


@cache
def keys_of(declaring: Any) -> tuple[Key, ...]:
    """Return the keys that a dataclass declares, its own before those it shares with others."""
    found = []
    for each in sorted(fields(declaring), key=lambda each: each.kw_only is True):
        if key := each.metadata.get(Key):
            found.append(key._replace(name=key.name or each.name, field=each.name))
    return tuple(found)


class Declared:
    """A dataclass of keys; what code gives is checked, and read, as what stands in a file is."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Raise BatchSystemError JT203 for a value that cannot be."""
        declaring: Any = type(self)
        for key in keys_of(declaring):
            value = getattr(self, key.field)
            if value is key.default or value == key.default:
                continue
            try:
                object.__setattr__(self, key.field, _accepted(key, value))
            except ValueError as error:
                raise BatchSystemError(
                    f"{type(self).__name__}: {key.field} cannot be {value!r}",
                    code="JT203",
                    fix=str(error),
                ) from error


def _accepted(key: Key, value: Any) -> Any:
    """Return what code gives as code uses it. Raises ValueError if it cannot be."""
    kind = key.takes
    value = (kind.own or kind.read)(value)
    if kind.item is not None and kind.item.table is None:
        value = tuple(map(kind.item.read, value))
    if key.check is not None:
        key.check(value)
    return value


# ---- reading ---------------------------------------------------------------------------------


def _need(good: bool, said: str) -> None:
    if not good:
        raise ValueError(said)


def _plain(wanted: Any, name: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        good = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
        _need(good, f"it should be a valid {name}")
        return value

    return read


def _between(least: float, most: float, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def within(value: Any) -> Any:
        found = read(value)
        _need(isinstance(found, int) or math.isfinite(found), "it should be a finite number")
        _need(found >= least, f"it should be greater than or equal to {least}")
        _need(found <= most, f"it should be less than or equal to {most:g}")
        return found

    return within


def _positive(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def more(value: Any) -> Any:
        found = read(value)
        _need(found > 0, "it must be more than 0")
        return found

    return more


def _word(value: Any) -> str:
    text = str(_string(value))
    _need(not any(each in text for each in "\n\r\0"), "it must not contain a line break")
    return text


def _name(value: Any) -> str:
    _need(bool(_word(value)), "it should have at least 1 character")
    return str(value)


def _program(value: Any) -> str:
    import shlex

    try:
        words = shlex.split(_word(value))
    except ValueError:
        words = []
    _need(
        bool(words and words[0].startswith("/")), "write the whole path of a program: /bin/bash -l"
    )
    return str(value)


def _list(value: Any, said: str = 'it should be a list: ["a", "b"]') -> tuple[Any, ...]:
    _need(isinstance(value, list | tuple), said)
    return tuple(value)


def _lines(value: Any) -> tuple[Any, ...]:
    """Return the lines of a text; a list of lines is one already."""
    if isinstance(value, str):
        return tuple(value.strip("\n").split("\n")) if value.strip() else ()
    return _list(value)


def _one_or_more(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, str) else _list(value)


def _joined(value: Any) -> str:
    """Return one name, or several by commas, as schedulers take them."""
    names = [_word(each) for each in _one_or_more(value)]
    good = all(name and "," not in name for name in names)
    _need(good, 'write one name, or a list: ["a", "b"]')
    return ",".join(names)


def _joined_already(value: Any) -> str:
    return _word(value) if isinstance(value, str) else _joined(value)


def _tables(value: Any) -> tuple[Any, ...]:
    return _list(value, "it should be a list of tables, each below a line of [[...]]")


_string = _plain(str, "string")
_integer, _decimal = _plain(int, "integer"), _plain(int | float, "number")

# ---- kinds -----------------------------------------------------------------------------------

_TIME = {"type": ["string", "number"], "examples": ["90s", "2h", "1-12:00:00"]}
_SIZE = {"type": ["string", "integer"], "examples": ["512M", "4GB"]}
_TEXTS = {"type": ["string", "array"], "items": {"type": "string"}}
_RATE = {"type": "number", "exclusiveMinimum": 0, "maximum": 1e9}

TIME = Kind("time", read_time, _TIME)
PERIOD = Kind("time", _positive(read_time), _TIME)
"""A time that is not 0."""
SPACE = Kind("size", _positive(read_size), _SIZE)
"""A size that is not 0."""
COUNT = Kind("number", _between(0, LARGEST, _integer), {"type": "integer", "minimum": 0})
SOME = Kind("number, at least 1", _between(1, LARGEST, _integer), {"type": "integer", "minimum": 1})
RATE = Kind("number, more than 0", _positive(_between(0, 1e9, _decimal)), _RATE)
FACTOR = Kind("number, at least 1", _between(1, 1000, _decimal), {"type": "number", "minimum": 1})
TRUTH = Kind("true or false", _plain(bool, "boolean"), {"type": "boolean"})
WORD = Kind("text", _word, {"type": "string"})
NAME = Kind("text", _name, {"type": "string", "minLength": 1})
PROGRAM = Kind("text", _program, {"type": "string"})
WORDS = Kind("list of texts", _list, {"type": "array", "items": {"type": "string"}}, WORD)
LINES = Kind("lines of text", _lines, _TEXTS, WORD)
NAMES = Kind("text, or a list", _one_or_more, _TEXTS, WORD)
JOINED = Kind("text, or a list", _joined, _TEXTS, own=_joined_already)
"""Names that code takes as one text, with commas."""


def one_of(*choices: str) -> Kind:
    """Return the kind of text that is one of these."""
    shown = " or ".join(", ".join(map(repr, choices)).rsplit(", ", 1))

    def read(value: Any) -> str:
        _need(value in choices, f"it should be {shown}")
        return str(value)

    return Kind(" or ".join(f'"{each}"' for each in choices), read, {"enum": [*choices]})


def tables(made_of: type) -> Kind:
    """Return the kind that is several tables, each with the keys that a dataclass declares."""
    each = Kind("table", _plain(dict, "table"), {}, table=made_of)
    return Kind("tables", _tables, {"type": "array"}, each)
