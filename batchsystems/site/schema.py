"""Schema: all tables of a site file joined, what is wrong in a given one, and lists of keys.

Owns the translation of the validator's findings into problems; must not read a file.
Read next: reading.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from batchsystems.site.fields import Kind, Section, Word
from batchsystems.site.problems import ALL_KEYS, suggest
from batchsystems.site.sections import SECTIONS, Locked
from batchsystems.site.writing import write_size, write_time, write_value

VERSION = 1
REQUIRED = "required"


class Key(NamedTuple):
    """A key of the site file. section: what its table is about; kind: what it takes."""

    name: str
    kind: str
    default: Any
    meaning: str
    section: str
    field: str

    @property
    def written(self) -> str:
        """The default, as a file would set it; "none" if nothing holds unless it is set."""
        if self.default is None or self.default in ("", ()):
            return "none"
        if self.kind == "time":
            return write_time(self.default)
        if self.kind == "size":
            return write_size(self.default)
        return self.default if self.default == REQUIRED else write_value(self.default)


class Finding(NamedTuple):
    """What is wrong with one value. path: where in the tables."""

    code: str
    path: tuple[str | int, ...]
    what: str
    hint: str


class Schema:
    """The tables that may stand in a site file: the common ones, and one for each adapter."""

    def __init__(self, adapters: Mapping[str, type[Section]]) -> None:
        self.sections = {**SECTIONS, **adapters}
        self.model = self._join()

    def _join(self) -> type[Section]:
        fields: dict[str, Any] = {
            "version": (
                Literal[1],
                Field(alias="schema", description="the version of this format: 1"),
            ),
            "batch_system": (
                Word | None,
                Field(None, description="where jobs run: slurm, singleMachine, ..."),
            ),
            "locked": (Locked | None, Field(None, description=_about(Locked))),
        }
        for name, section in self.sections.items():
            fields[f"{name}_"] = (
                section | None,
                Field(None, alias=name, description=_about(section)),
            )
        model: type[Section] = create_model("SiteFile", __base__=Section, **fields)
        model.__doc__ = "A cluster as jobTree is to know it."
        return model

    @cached_property
    def keys(self) -> dict[str, Key]:
        """All keys but `schema` and `locked.keys`, in order, by their full names."""
        found = [Key("batch_system", "text", "singleMachine", "where jobs run", "", "batch_system")]
        for name, section in self.sections.items():
            found += _keys_of(section, f"{name}.", _about(section))
        return {each.name: each for each in found}

    def settings(self, table: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
        """Return key -> (field, value) of what a table sets. Raises ValidationError."""
        read = self.model.model_validate(table)
        found = {}
        if read.batch_system is not None:  # type: ignore[attr-defined] # made in _join
            found["batch_system"] = ("batch_system", table["batch_system"])
        for name in self.sections:
            part = getattr(read, f"{name}_")
            for field, declared in self.sections[name].model_fields.items():
                if part is not None and field in part.model_fields_set:
                    found[f"{name}.{declared.alias or field}"] = (field, getattr(part, field))
        return found

    def findings(self, error: ValidationError) -> Iterator[Finding]:
        """Yield what the validator found, in words of site files."""
        for each in error.errors(include_url=False, include_context=False):
            yield self._finding(each["type"], each["loc"], each["msg"], each.get("input"))

    def _finding(self, kind: str, path: tuple[str | int, ...], said: str, value: object) -> Finding:
        name = dotted(path)
        if kind == "extra_forbidden":
            return self._unknown(path)
        if path[:1] == ("schema",):
            if kind == "missing":
                return Finding("JT125", (), "schema = 1 is missing", "write it first in the file")
            hint = f"this jobTree reads schema = {VERSION}"
            return Finding("JT125", path, f"schema cannot be {_shown(value)}", hint)
        if kind == "missing":
            return Finding("JT123", path[:-1], f"{name} is missing", ALL_KEYS)
        if kind in ("model_type", "model_attributes_type"):
            said = f"it is a table: write [{name}] and its keys below"
        elif said.startswith("Input should be"):
            said = "it" + said.removeprefix("Input")
        return Finding("JT123", path, f"{name} cannot be {_shown(value)}", said)

    def _unknown(self, path: tuple[str | int, ...]) -> Finding:
        *parents, last = path
        table = dotted(tuple(each for each in parents if isinstance(each, str)))
        what = f"unknown key {str(last)!r}" + (f" in [{table}]" if table else "")
        hint = suggest(str(last), self._beside(tuple(parents)))
        if not hint:
            elsewhere = [name for name in self.keys if name.rpartition(".")[2] == last]
            hint = f"did you mean {' or '.join(map(repr, elsewhere))}?" if elsewhere else ""
        return Finding("JT122", path, what, f"{hint}  {ALL_KEYS}".strip())

    def _beside(self, parents: tuple[str | int, ...]) -> Sequence[str]:
        """Return the keys a table may have."""
        model: type[BaseModel] | None = self.model
        for each in parents:
            if isinstance(each, str) and model is not None:
                inside = [f for n, f in model.model_fields.items() if (f.alias or n) == each]
                model = table_in(inside[0].annotation) if inside else None
        return [] if model is None else [f.alias or n for n, f in model.model_fields.items()]

    def about(self, name: str) -> str:
        """Return "" if a key or section of that name can be locked, else what may be meant."""
        if name in self.keys or name in self.sections:
            return ""
        return suggest(name, [*self.keys, *self.sections]) or ALL_KEYS

    def conflicts(self, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield (key, what is wrong) of values that do not go together."""
        for section in self.sections.values():
            yield from section.conflicts(values)

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema that editors take."""
        head = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "jobTree site file",
        }
        made = self.model.model_json_schema(by_alias=True, mode="validation")
        return {**head, **_tidied(made)}


def _tidied(part: Any) -> Any:
    """Return a part of a JSON Schema without titles, which repeat keys, and null, not in TOML."""
    if isinstance(part, list):
        return [_tidied(each) for each in part]
    if not isinstance(part, dict):
        return part
    kept = {
        name: _tidied(value)
        for name, value in part.items()
        if not (name == "title" and isinstance(value, str))
    }
    options = [each for each in kept.get("anyOf", ()) if each != {"type": "null"}]
    if len(options) == 1:
        del kept["anyOf"]
        kept = options[0] | {name: each for name, each in kept.items() if each is not None}
    return kept


def dotted(path: tuple[str | int, ...]) -> str:
    """Return a path as people write it: `slurm.queue[0].max_time`."""
    text = ""
    for each in path:
        text += f"[{each}]" if isinstance(each, int) else f".{each}"
    return text.removeprefix(".")


def table_in(annotation: Any) -> type[BaseModel] | None:
    """Return the table that a type holds, itself or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := table_in(each))), None)


def _keys_of(model: type[BaseModel], prefix: str, about: str) -> Iterator[Key]:
    for field, found in model.model_fields.items():
        name = f"{prefix}{found.alias or field}"
        inner = table_in(found.annotation)
        if inner is None:
            default = REQUIRED if found.is_required() else found.default
            yield Key(name, _kind(found), default, found.description or "", about, field)
        else:
            yield Key(name, "tables", (), found.description or "", about, field)
            yield from _keys_of(inner, f"{name}[].", about)


def _kind(field: FieldInfo) -> str:
    """Return what a field takes, from its annotation, which may be `Kind | None`."""
    for each in field.metadata:
        if isinstance(each, Kind):
            return each.name
    for option in get_args(field.annotation):
        for each in getattr(option, "__metadata__", ()):
            if isinstance(each, Kind):
                return each.name
    choices = [repr(each).replace("'", '"') for each in get_args(field.annotation)]
    return " or ".join(choices)


def _about(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").strip().partition("\n")[0]


def _shown(value: object) -> str:
    text = write_value(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
