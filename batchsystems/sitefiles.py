"""Site files: where site files are looked for, and the one way from there to a Site.

Owns the order of places and the reading of files; imports the schema only once there is a file to
read. Read next: site/reading.py.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from batchsystems.errors import SiteError
from batchsystems.site import Origin, Site

if TYPE_CHECKING:
    from batchsystems.site.problems import Problem
    from batchsystems.site.reading import Source
    from batchsystems.site.schema import Schema

VARIABLE = "JOBTREE_SITE"
SYSTEM = "/etc/jobtree/site.toml"
MOST_BYTES = 2**20


class Place(NamedTuple):
    """A place where a site file may be. named: somebody named it, so it must be there."""

    file: str
    via: str
    named: bool = False


def places(named: str | None = None, environment: Mapping[str, str] | None = None) -> list[Place]:
    """Return the places of site files, the first to set a key first. named: by --site."""
    environment = os.environ if environment is None else environment
    home = environment.get("HOME") or os.path.expanduser("~")
    settings = environment.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(settings):  # as the XDG specification has it
        settings = f"{home}/.config"
    found = [
        Place(named, "--site", True) if named else None,
        Place(environment[VARIABLE], f"${VARIABLE}", True) if environment.get(VARIABLE) else None,
        Place(f"{settings}/jobtree/site.toml", "your configuration"),
        Place(SYSTEM, "the system's"),
    ]
    order: dict[str, Place] = {}
    for place in found:
        if place is not None:
            whole = os.path.abspath(os.path.expanduser(place.file))
            order.setdefault(os.path.realpath(whole), place._replace(file=whole))
    return list(order.values())


def load_site(named: str | None = None, environment: Mapping[str, str] | None = None) -> Site:
    """Return what the site files say, an empty Site if there is none. named: by --site.

    Raises SiteError, with all that is wrong.
    """
    return site_at(places(named, environment))


def present(where: Iterable[Place]) -> list[Place]:
    """Return the places that have a file, or must have one because somebody named it."""
    return [place for place in where if place.named or os.path.lexists(place.file)]


def site_at(where: Sequence[Place]) -> Site:
    """Return what the files at these places say. Raises SiteError, with all that is wrong."""
    there = present(where)
    if not there:
        return Site()
    site, problems = check_places(there)
    if problems:
        from batchsystems.site.problems import refuse

        raise refuse(problems)
    return site


def check_places(where: Iterable[Place]) -> tuple[Site, list[Problem]]:
    """Return what the files at these places say together, and all that is wrong in them."""
    from batchsystems.site.problems import Problem
    from batchsystems.site.reading import read_sites

    sources: list[Source] = []
    unread: list[Problem] = []
    for place in where:
        try:
            sources.append(_read(place))
        except SiteError as error:
            origin = Origin(place.file, 0, place.via)
            unread.append(Problem(error.code, error.what, origin, "", error.fix))
    site, problems = read_sites(sources, schema(), _others)
    return site, [*unread, *problems, *_unknown_system(site, sources)]


def check_text(text: str, file: str) -> list[Problem]:
    """Return what would be wrong in a file with this text."""
    from batchsystems.site.reading import Source, read_sites

    return read_sites([Source(file, "", text)], schema(), _others)[1]


@cache
def schema() -> Schema:
    """Return the schema of site files, with the tables of all built-in batch systems."""
    from batchsystems import registry
    from batchsystems.site.schema import Schema

    return Schema(*registry.declaring())


def _others(name: str) -> type | bool:
    """Tell whether a third party's batch system has this name, and what declares its table."""
    from batchsystems import registry

    if name in registry.BUILT_IN or name not in registry.names():
        return False
    return registry.settings_of(name) or True


def _unknown_system(site: Site, sources: Sequence[Source]) -> list[Problem]:
    from batchsystems import registry
    from batchsystems.errors import BatchSystemError
    from batchsystems.site.problems import Problem

    setting = site.settings.get("batch_system")
    if setting is None:
        return []
    try:
        registry.canonical(setting.value)
    except BatchSystemError as error:
        text = next(each.text for each in sources if each.file == setting.origin.file)
        line = text.split("\n")[setting.origin.line - 1].rstrip()
        hint = f"{error.why}; {error.fix}"
        return [Problem("JT123", error.what, setting.origin, line, hint)]
    return []


def _read(place: Place) -> Source:
    """Return the text of a file. Raises SiteError; whoever calls it says which file."""
    from batchsystems.site.reading import Source

    try:
        fd = os.open(place.file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise SiteError("what should be a site file is no plain file")
            if found.st_mode & stat.S_IWOTH:
                why = "every user may write, and so have commands run as you,"
                raise SiteError(why, code="JT126", fix=f"chmod o-w {place.file}")
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        fix = f"{place.via} names it: mend that, or make the file" if place.named else ""
        raise SiteError(
            f"a site file cannot be read ({error.strerror})", fix=fix or "make it readable"
        ) from error
    if len(raw) > MOST_BYTES:
        raise SiteError("what should be a site file is larger than a megabyte")
    try:
        return Source(place.file, place.via, raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SiteError(f"line {line} is no UTF-8 text", code="JT121") from error
