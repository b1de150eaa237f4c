"""Fields: the kinds of value that stand in a site file, as types that validate themselves.

Owns how a value is written and read; must not know a key. Loads pydantic: imported only when
a site file is read. Read next: sections.py.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from batchsystems.units import read_size, read_time


class Kind(NamedTuple):
    """What a value is, for people: "time", "size"."""

    name: str


def _of_time(value: object) -> float:
    try:
        return read_time(value)
    except ValueError as error:
        raise PydanticCustomError("time", "{forms}", {"forms": str(error)}) from None


def _of_size(value: object) -> int:
    try:
        return read_size(value)
    except ValueError as error:
        raise PydanticCustomError("size", "{forms}", {"forms": str(error)}) from None


def _not_nothing(value: float) -> float:
    if not value > 0:
        raise PydanticCustomError("positive", "it must be more than 0")
    return value


def _on_one_line(value: str) -> str:
    if any(each in value for each in "\n\r\0"):
        raise PydanticCustomError("line", "it must not contain a line break")
    return value


def _runnable(value: str) -> str:
    try:
        words = shlex.split(value)
    except ValueError:
        words = []
    if not words or not words[0].startswith("/"):
        raise PydanticCustomError("program", "write the whole path of a program: /bin/bash -l")
    return value


def _listed(value: object) -> object:
    """Return a list as the tuple that is wanted, and all else as it is, to be refused."""
    return tuple(value) if isinstance(value, list) else value


def _lines(value: object) -> object:
    """Return the lines of a text; a list of lines is one already."""
    if isinstance(value, str):
        return tuple(value.strip("\n").split("\n")) if value.strip() else ()
    return _listed(value)


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else _listed(value)


_TIME = WithJsonSchema({"type": ["string", "number"], "examples": ["90s", "2h", "1-12:00:00"]})
_SIZE = WithJsonSchema({"type": ["string", "integer"], "examples": ["512M", "4GB"]})
_TEXTS = WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}})

Time = Annotated[float, Kind("time"), _TIME, BeforeValidator(_of_time)]
Period = Annotated[Time, AfterValidator(_not_nothing)]
"""A time that is not 0."""
Size = Annotated[int, Kind("size"), _SIZE, BeforeValidator(_of_size)]
Space = Annotated[Size, AfterValidator(_not_nothing)]
"""A size that is not 0."""
Count = Annotated[int, Kind("number"), Field(ge=0, le=2**60)]
Some = Annotated[int, Kind("number, at least 1"), Field(ge=1, le=2**60)]
Rate = Annotated[float, Kind("number, more than 0"), Field(gt=0, le=1e9, allow_inf_nan=False)]
Factor = Annotated[float, Kind("number, at least 1"), Field(ge=1, le=1000, allow_inf_nan=False)]
Word = Annotated[str, Kind("text"), AfterValidator(_on_one_line)]
Program = Annotated[Word, AfterValidator(_runnable)]
Truth = Annotated[bool, Kind("true or false")]
Words = Annotated[tuple[Word, ...], Kind("list of texts"), BeforeValidator(_listed)]
Lines = Annotated[tuple[Word, ...], Kind("lines of text"), _TEXTS, BeforeValidator(_lines)]
Names = Annotated[tuple[Word, ...], Kind("text, or a list"), _TEXTS, BeforeValidator(_one_or_more)]


class Section(BaseModel):
    """A table of the site file. A field's alias is the key; its name is what code calls it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @classmethod
    def conflicts(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield (key, what is wrong) where values, merged from all files, do not go together.

        values: by `section.key`, those that were set alone.
        """
        yield from ()


def key(alias: str, default: Any, description: str) -> Any:
    """Return a field: its key, what holds without it, and what it means."""
    return Field(default=default, alias=alias, description=description)
