"""Schema: all keys that may stand in a site file, the reading of tables by them, and lists.

Owns what is said of keys and values that cannot be; must not read a file. Read next: fields.py,
how a value is read; reading.py, how files are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from batchsystems.site.fields import REQUIRED, WORD, WORDS, Key, Kind, keys_of
from batchsystems.site.problems import ALL_KEYS, suggest
from batchsystems.site.sections import SECTIONS
from batchsystems.site.writing import write_value

VERSION = 1
LOCKED = Key("keys", WORDS, (), 'keys and whole sections: ["pacing", "slurm.account"]')
LOCKS = "What files that come before this one, and options, may not change."

Path = tuple[str | int, ...]


class Finding(NamedTuple):
    """What is wrong with one value. path: where in the tables."""

    code: str
    path: Path
    what: str
    hint: str


class Schema:
    """The tables that may stand in a site file.

    common: dataclasses whose keys name their tables; adapters: those of batch systems' own.
    """

    def __init__(self, common: Iterable[type], adapters: Mapping[str, type]) -> None:
        self._abouts = abouts = SECTIONS | {name: _about(each) for name, each in adapters.items()}
        self._adapters = adapters
        self.sections: dict[str, dict[str, Key]] = {name: {} for name in abouts}
        for own, declaring in (*(("", each) for each in common), *adapters.items()):
            for key in keys_of(declaring):
                section, _, name = key.name.rpartition(".")
                if bool(section) != bool(own):  # an adapter's "worker.setup" is declared already
                    found = key._replace(name=name, section=abouts[section or own])
                    self.sections[section or own][name] = found

    @cached_property
    def keys(self) -> dict[str, Key]:
        """All keys but `schema` and `locked.keys`, in order, by their full names."""
        found = {"batch_system": Key("batch_system", WORD, "singleMachine", "where jobs run")}
        for section, keys in self.sections.items():
            for name, key in keys.items():
                found[f"{section}.{name}"] = key
                for each in _keys_inside(key.takes):
                    found[f"{section}.{name}[].{each.name}"] = each._replace(section=key.section)
        return found

    def about(self, name: str) -> str:
        """Return "" if a key or section of that name can be locked, else what may be meant."""
        if name in self.keys or name in self.sections:
            return ""
        return suggest(name, [*self.keys, *self.sections]) or ALL_KEYS

    def conflicts(self, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield (key, what is wrong) of values, merged from all files, that do not go together."""
        for name, declaring in self._adapters.items():
            if hasattr(declaring, "conflicts"):
                yield from declaring.conflicts(name, values)

    # ---- reading -----------------------------------------------------------------------------

    def read(self, table: Mapping[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
        """Return full key -> value of all that is right, `locked.keys` too, and what is wrong."""
        wrong: list[Finding] = []
        rest = dict(table)
        version = rest.pop("schema", None)
        if version is None:
            what, hint = "schema = 1 is missing", "write it first in the file"
            wrong.append(Finding("JT125", (), what, hint))
        elif type(version) is not int or version != VERSION:
            what = f"schema cannot be {_shown(version)}"
            hint = f"this jobTree reads schema = {VERSION}"
            wrong.append(Finding("JT125", ("schema",), what, hint))
        first = {"batch_system": self.keys["batch_system"], "locked": {LOCKED.name: LOCKED}}
        values: dict[str, Any] = {}
        for name, value in self._table(first | self.sections, rest, (), wrong).items():
            if isinstance(value, dict):
                values |= {f"{name}.{key}": each for key, each in value.items()}
            else:
                values[name] = value
        return values, wrong

    def _table(
        self, known: Mapping[str, Any], table: object, path: Path, wrong: list[Finding]
    ) -> dict[str, Any]:
        """Return what is right in a table. known: by name a Key, or the keys of a table in it."""
        if not isinstance(table, dict):
            hint = f"it is a table: write [{dotted(path)}] and its keys below"
            wrong.append(_cannot(path, table, hint))
            return {}
        values = {}
        for name, value in table.items():
            here, before = (*path, name), len(wrong)
            if name not in known:
                wrong.append(self._unknown(here, known))
            elif isinstance(known[name], Key):
                found = self._value(known[name].takes, value, here, wrong, known[name])
                if len(wrong) == before:
                    values[name] = found
            else:
                values[name] = self._table(known[name], value, here, wrong)
        return values

    def _value(
        self, kind: Kind, value: object, path: Path, wrong: list[Finding], key: Key | None = None
    ) -> Any:
        if kind.table is not None:
            return self._made(kind.table, value, path, wrong)
        try:
            found, before = kind.read(value), len(wrong)
            if kind.item is not None:
                each = enumerate(found)
                found = tuple(self._value(kind.item, v, (*path, n), wrong) for n, v in each)
            if key is not None and key.check is not None and len(wrong) == before:
                key.check(found)
        except ValueError as error:
            wrong.append(_cannot(path, value, str(error)))
            return None
        return found

    def _made(self, declaring: type, table: object, path: Path, wrong: list[Finding]) -> Any:
        """Return what is made of a table that is one of several."""
        known = {key.name: key for key in keys_of(declaring)}
        before = len(wrong)
        values = self._table(known, table, path, wrong)
        for name, key in known.items():
            if key.default is REQUIRED and isinstance(table, dict) and name not in table:
                what = f"{dotted((*path, name))} is missing"
                wrong.append(Finding("JT123", path, what, ALL_KEYS))
        if len(wrong) > before:
            return None
        return declaring(**{known[name].field: value for name, value in values.items()})

    def _unknown(self, path: Path, known: Iterable[str]) -> Finding:
        last = str(path[-1])
        table = dotted(tuple(each for each in path[:-1] if isinstance(each, str)))
        what = f"unknown key {last!r}" + (f" in [{table}]" if table else "")
        hint = suggest(last, list(known))
        if not hint:
            elsewhere = [name for name in self.keys if name.rpartition(".")[2] == last]
            hint = f"did you mean {' or '.join(map(repr, elsewhere))}?" if elsewhere else ""
        return Finding("JT122", path, what, f"{hint}  {ALL_KEYS}".strip())

    # ---- for editors -------------------------------------------------------------------------

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema that editors take."""
        one = Kind("", int, {"const": VERSION})
        version = Key("schema", one, REQUIRED, f"the version of this format: {VERSION}")
        first = [version, self.keys["batch_system"]]
        made = _json_of_table(first, "A cluster as jobTree is to know it.")
        made["properties"]["locked"] = _json_of_table([LOCKED], LOCKS)
        for name, keys in self.sections.items():
            made["properties"][name] = _json_of_table(keys.values(), self._abouts[name])
        head = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "jobTree site file",
        }
        return head | made


def _json_of_table(keys: Iterable[Key], about: str = "") -> dict[str, Any]:
    """Return the JSON Schema of a table."""
    properties = {key.name: _json_of(key) for key in keys}
    required = [key.name for key in keys if key.default is REQUIRED]
    return {
        **({"description": about} if about else {}),
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **({"required": required} if required else {}),
    }


def _json_of(key: Key) -> dict[str, Any]:
    """Return the JSON Schema of a key."""
    found = {**key.takes.json, "description": key.meaning}
    if inner := _keys_inside(key.takes):
        found["items"] = _json_of_table(inner)
    if key.default is not REQUIRED and key.default is not None:
        found["default"] = key.default
    return found


def _keys_inside(kind: Kind) -> tuple[Key, ...]:
    """Return the keys of the tables of which there are several, if a kind is that."""
    inner = kind.item.table if kind.item is not None else None
    return keys_of(inner) if inner is not None else ()


def dotted(path: Path) -> str:
    """Return a path as people write it: `slurm.queue[0].max_time`."""
    text = ""
    for each in path:
        text += f"[{each}]" if isinstance(each, int) else f".{each}"
    return text.removeprefix(".")


def _cannot(path: Path, value: object, hint: str) -> Finding:
    return Finding("JT123", path, f"{dotted(path)} cannot be {_shown(value)}", hint)


def _about(declaring: type) -> str:
    return (declaring.__doc__ or "").strip().partition("\n")[0]


def _shown(value: object) -> str:
    text = write_value(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
