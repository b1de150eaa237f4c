"""Reading: from the texts of site files to a Site, or to all that is wrong in them. Pure.

Owns validation of each text and the merging of all: precedence, origins, locks. Must not open
a file. Read next: ../sitefiles.py, which does.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from batchsystems.site import Origin, Setting, Site
from batchsystems.site.positions import Path, find_positions
from batchsystems.site.problems import Problem
from batchsystems.site.schema import VERSION, Finding, Schema
from batchsystems.site.writing import write_value

MOST_SHOWN = 100
"""Of a line."""


class Source(NamedTuple):
    """A site file. via: what named it, for people; text: what it says."""

    file: str
    via: str
    text: str


@dataclass
class Reading:
    """What one text says. keys: all it tries to set, though wrongly; settings: what it does."""

    source: Source
    positions: Mapping[Path, int] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    settings: dict[str, Setting] = field(default_factory=dict)
    locks: dict[str, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def origin(self, path: Path) -> Origin:
        """Return where a path stands: the nearest table above it if it has no line itself."""
        while path and path not in self.positions:
            path = path[:-1]
        return Origin(self.source.file, self.positions.get(path, 0), self.source.via)

    def line(self, number: int) -> str:
        """Return a line of the text, cut to what can be shown."""
        lines = self.source.text.split("\n")
        text = lines[number - 1].rstrip() if 0 < number <= len(lines) else ""
        return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."

    def complain(self, code: str, what: str, origin: Origin, hint: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(code, what, origin, self.line(origin.line), hint))


Others = Callable[[str], type | bool]
"""Tells whether a name is that of a batch system whose table the schema does not have. Such a table
is read by the dataclass that declares its keys, or taken as it is (True)."""


def no_others(name: str) -> bool:
    """Know no batch system but those that have a table in the schema."""
    return False


def read_sites(
    sources: Sequence[Source], schema: Schema, others: Others = no_others
) -> tuple[Site, list[Problem]]:
    """Return what these files say together, and all that is wrong; the first file has priority.

    With problems the site holds what could be read.
    """
    readings = [read_site(source, schema, others) for source in sources]
    locks: dict[str, Origin] = {}
    for reading in reversed(readings):
        _heed(reading, locks)
        locks |= reading.locks
    settings: dict[str, Setting] = {}
    for reading in readings:
        settings = reading.settings | settings
    _check_together(readings, settings, schema)
    for reading in readings:
        reading.problems.sort(key=lambda problem: problem.origin.line)
    digest = hashlib.sha256("\0".join(source.text for source in sources).encode())
    site = Site(
        settings, locks, tuple(each.file for each in sources), digest.hexdigest() if sources else ""
    )
    return site, [problem for reading in readings for problem in reading.problems]


def read_site(source: Source, schema: Schema, others: Others = no_others) -> Reading:
    """Return what one text says, and what is wrong in it by itself."""
    reading = Reading(source)
    try:
        table = tomllib.loads(source.text)
    except (ValueError, RecursionError) as error:
        _not_toml(reading, error)
        return reading
    reading.positions = find_positions(source.text)
    reading.keys = [*_names(table)]
    foreign = {name: table.pop(name) for name in list(table) if _is_foreign(name, schema, others)}
    values, findings = schema.read(table)
    for name, part in foreign.items():
        declaring = others(name)
        if isinstance(declaring, type):
            found, wrong = Schema((), {name: declaring}).read({"schema": VERSION, name: part})
            values, findings, table = values | found, findings + wrong, table | {name: part}
        else:
            _take_as_it_is(reading, name, part)
    for each in _telling(findings):
        reading.complain(each.code, each.what, reading.origin(each.path), each.hint)
    locked = values.pop("locked.keys", ())
    for key, value in values.items():
        _take(reading, key, value, table)
    _take_locks(reading, locked, schema, others)
    return reading


def _telling(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings worth telling: in a file for a newer jobTree, that it is one."""
    return [each for each in findings if each.path == ("schema",)] or list(findings)


def _is_foreign(name: str, schema: Schema, others: Others) -> bool:
    own = ("schema", "batch_system", "locked")
    return name not in own and name not in schema.sections and bool(others(name))


def _names(table: Mapping[str, Any]) -> Iterator[str]:
    for name, part in table.items():
        if name in ("schema", "locked"):
            continue
        if isinstance(part, dict):
            yield from (f"{name}.{key}" for key in part)
        else:
            yield name


def _take(reading: Reading, key: str, value: Any, table: Mapping[str, Any]) -> None:
    first, _, second = key.partition(".")
    path: Path = (first, second) if second else (first,)
    raw = table[first][second] if second else table[first]
    reading.settings[key] = Setting(key, value, reading.origin(path), write_value(raw))


def _take_as_it_is(reading: Reading, name: str, part: object) -> None:
    """Take the table of a batch system that checks its own options."""
    if not isinstance(part, dict):
        hint = f"it is a table: write [{name}] and its keys below"
        reading.complain(
            "JT123", f"{name} cannot be {write_value(part):.60}", reading.origin((name,)), hint
        )
        return
    for key, value in part.items():
        _take(reading, f"{name}.{key}", value, {name: part})


def _take_locks(reading: Reading, keys: Sequence[str], schema: Schema, others: Others) -> None:
    for index, name in enumerate(keys):
        origin = reading.origin(("locked", "keys", index))
        hint = "" if _is_foreign(name.partition(".")[0], schema, others) else schema.about(name)
        if hint:
            reading.complain("JT122", f"[locked] names the unknown key {name!r}", origin, hint)
        else:
            reading.locks[name] = origin


def _not_toml(reading: Reading, error: Exception) -> None:
    """Complain of a text that is no TOML, with the line the parser stopped at."""
    said = str(error) or "it is nested too deeply"
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", said)
    number = 0
    if found is not None:
        number = int(found[1]) if found[1] else len(reading.source.text.rstrip().split("\n"))
    if isinstance(error, RecursionError):
        said = "it is nested too deeply"
    origin = Origin(reading.source.file, number, reading.source.via)
    words = said.replace(found[0], "") if found else said
    hint = 'texts stand in quotes ("short"), tables begin with [name]'
    reading.complain("JT121", f"no valid TOML ({words})", origin, hint)


def _heed(reading: Reading, locks: Mapping[str, Origin]) -> None:
    """Complain of what a file sets though a later one has locked it."""
    for key in reading.keys:
        by = locks.get(key) or locks.get(key.partition(".")[0])
        if by is not None:
            first, _, second = key.partition(".")
            origin = reading.origin((first, second) if second else (first,))
            hint = f"remove it: the value of {by.file} holds; or ask who keeps that file"
            reading.complain("JT124", f"{key} is locked by {by}, but set", origin, hint)


def _check_together(
    readings: Sequence[Reading], settings: Mapping[str, Setting], schema: Schema
) -> None:
    values = {key: setting.value for key, setting in settings.items()}
    by_file = {reading.source.file: reading for reading in readings}
    for key, what in schema.conflicts(values):
        origin = settings[key].origin
        by_file[origin.file].complain(
            "JT123", what, origin, "describe it, too, or name one that is described"
        )
