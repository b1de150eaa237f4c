"""`site`: what the site files say of this cluster, and what is wrong in them.

Owns what `show` and `check` print; the files are batchsystems.sitefiles' own. Read next:
site_init.py, site_doctor.py, ../../batchsystems/site/schema.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from batchsystems.site import Origin, Site
from batchsystems.site.problems import Problem, refuse
from batchsystems.sitefiles import Place, check_places, load_site, places, present, schema
from jobtree.cli.arguments import SITE_VERBS, guess, import_verb, site_verb_parser
from jobtree.errors import UsageError
from jobtree.report.plain import plural, printable

WRONG = 3
MOST_SHOWN = 60
"""Of a value: the file has the whole."""

WIDTH = 100
HOMES = {"init": "site_init", "doctor": "site_doctor"}


def site(given: argparse.Namespace) -> int:
    """Run a verb of `jobtree site`."""
    if given.site_verb not in SITE_VERBS:
        raise UsageError(
            f"there is no verb {given.site_verb!r} of jobtree site"
            if given.site_verb
            else "jobtree site wants a verb",
            code="JT104",
            why=guess(given.site_verb, SITE_VERBS),
            fix=f"verbs are: {', '.join(SITE_VERBS)}; see  jobtree site --help",
        )
    verb = given.site_verb
    return import_verb(HOMES.get(verb, "site"), verb)(site_verb_parser(verb).parse(given.rest))


# ---- show --------------------------------------------------------------------------------


def show(given: argparse.Namespace) -> int:
    """Print every key with its value and origin, or with its meaning."""
    if given.schema:
        print(json.dumps(schema().json_schema(), indent=1) if given.json else _meanings())
        return 0
    found = load_site(given.site)
    if given.json:
        print(json.dumps(_as_data(found), indent=1))
    else:
        for line in _values(found):
            print(printable(line))
    return 0


def _values(found: Site) -> Iterator[str]:
    yield f"# from: {', '.join(found.files) or 'no site file; every default holds'}"
    for key, written, origin in _rows(found):
        lock = found.lock_of(key)
        where = "default" if origin is None else f"{origin} ({origin.via})"
        where += f", locked by {lock}" if lock else ""
        shown = written if len(written) <= MOST_SHOWN else f"{written[: MOST_SHOWN - 3]}..."
        yield f"{key:<27} {shown:<20} # {where}"


def _rows(found: Site) -> Iterator[tuple[str, str, Origin | None]]:
    """Yield key, value as it is written, and origin, those of third parties last."""
    for key, about in schema().keys.items():
        setting = found.settings.get(key)
        if setting is not None:
            yield key, setting.written, setting.origin
        elif "[]" not in key:
            yield key, about.written, None
    for key, setting in found.settings.items():
        if key not in schema().keys:
            yield key, setting.written, setting.origin


def _as_data(found: Site) -> dict[str, Any]:
    keys = schema().keys
    settings = {}
    for key, _, origin in _rows(found):
        lock = found.lock_of(key)
        settings[key] = {
            "value": _plain(found.get(key, keys[key].default if key in keys else None)),
            "origin": None if origin is None else origin._asdict(),
            "locked_by": None if lock is None else lock._asdict(),
        }
    return {"files": found.files, "digest": found.digest, "settings": settings}


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; sizes are bytes and times seconds by now."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _meanings() -> str:
    lines = ["schema = 1 comes first in every site file. [locked] keys = [...] locks keys.", ""]
    section = ""
    for key, about in schema().keys.items():
        name = key.partition(".")[0]
        if about.section and name != section:
            lines += ["", f"[{name}]  {about.section}"]
        section = name
        default = "" if about.written == "none" else f" [{about.written}]"
        text = f"{about.kind}: {about.meaning}{default}"
        lines += textwrap.wrap(
            text, WIDTH, initial_indent=f"  {key:<27} ", subsequent_indent=" " * 30
        )
    return "\n".join(lines)


# ---- check -------------------------------------------------------------------------------


def check(given: argparse.Namespace) -> int:
    """Tell all that is wrong: in the files named, each by itself, or in those that would be used.

    Raises SiteError with all of it.
    """
    named = [[Place(os.path.abspath(file), "the command line", named=True)] for file in given.files]
    groups = named or [present(places())]
    problems: list[Problem] = []
    told: list[str] = []
    for group in groups:
        found, wrong = check_places(group)
        problems += wrong
        told += [] if wrong else _good(group, found)
    if given.json:
        print(json.dumps(_checked(groups, problems), indent=1))
        return WRONG if problems else 0
    for line in told:
        print(printable(line))
    if problems:
        raise refuse(problems)
    return 0


def _good(group: Sequence[Place], found: Site) -> Iterator[str]:
    if not group:
        yield "there is no site file; every default holds. Looked for:"
        yield from (f"  {place.file}" for place in places())
    for place in group:
        count = sum(each.origin.file == place.file for each in found.settings.values())
        yield f"{place.file}: good, {plural(count, 'key')} in force"


def _checked(groups: Sequence[Sequence[Place]], problems: Sequence[Problem]) -> dict[str, Any]:
    return {
        "ok": not problems,
        "files": [place.file for group in groups for place in group],
        "problems": [
            {"code": each.code, "what": each.what, "source": each.source, "hint": each.hint}
            | {"file": each.origin.file, "line": each.origin.line or None}
            for each in problems
        ],
    }
