"""Batch systems by name: the built-in ones, their old spellings, and those of third parties.

Owns the one table of names; must not import an adapter before it is asked for.
Read next: interface.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from batchsystems.errors import BatchSystemError
from batchsystems.interface import BatchSystem, Caller
from batchsystems.site import Site

if TYPE_CHECKING:
    from batchsystems.probe import Probe

ENTRY_POINTS = "jobtree.batchsystems"
"""The entry-point group by which an installed package offers a batch system."""


class Parts(NamedTuple):
    """Where a batch system's parts are, as `module:name`.

    adapter: a BatchSystem, or a Dialect of which one is made. settings: the dataclass that
    declares the table of its name in a site file. probe: what finds out about it for `site init`.
    """

    adapter: str
    settings: str = ""
    probe: str = ""


def _parts(folder: str, name: str, adapter: str) -> Parts:
    home = f"batchsystems.{folder}"
    return Parts(
        f"{home}.{adapter}", f"{home}.settings:{name}Settings", f"{home}.probe:{name}Probe"
    )


BUILT_IN = {
    "slurm": _parts("slurm", "Slurm", "dialect:SlurmDialect"),
    "sge": _parts("sge", "Sge", "dialect:SgeDialect"),
    "drmaa": _parts("drmaa", "Drmaa", "adapter:Drmaa"),
    "singleMachine": _parts("singlemachine", "SingleMachine", "adapter:SingleMachine"),
    "acidTest": _parts("singlemachine", "SingleMachine", "acidtest:AcidTest")._replace(settings=""),
}
"""Where several are found by their probes, the first wins. A batch system of a third party has a
table in a site file too: it is read by the settings of a dialect, and goes as it is to the
from_site() of another class."""

SHARED = (
    "batchsystems.site.sections:TreeSettings",
    "batchsystems.site.sections:SchedulerSettings",
    "batchsystems.commandline.pacing:Pace",
    "batchsystems.commandline.pacing:Timeouts",
)
"""What declares the keys of a site file that are the same for all."""

ADAPTERS = "batchsystems.commandline.factory"
"""What makes a batch system of a dialect, for schedulers that are driven by their commands."""

ALIASES = {
    "local": "singleMachine",
    "gridEngine": "sge",
    "uge": "sge",
    "ogs": "sge",
}
"""Further spellings. Case, `_` and `-` never matter: they need no line here."""


def load(name: str, **options: object) -> BatchSystem:
    """Return a new instance of the batch system, made with these options.

    Raises BatchSystemError: JT201 for an unknown name, JT202 if it cannot be loaded, JT203 for
    options it does not take.
    """
    return _make(canonical(name), lambda kind: kind(**options), ", ".join(sorted(options)))


def load_for(name: str, site: Site, caller: Caller | None = None) -> BatchSystem:
    """Return a new instance of the batch system, made as a site describes it.

    Raises BatchSystemError as load() does.
    """
    found = canonical(name)
    keys = ", ".join(key for key in site.settings if key.startswith(f"{found}."))
    return _make(found, lambda kind: kind.from_site(site, found, caller or Caller()), keys)


def declaring() -> tuple[list[type], dict[str, type]]:
    """Return the dataclasses of the keys that all batch systems share, and those of each's own."""
    own = {name: _found(parts.settings) for name, parts in BUILT_IN.items() if parts.settings}
    return [_found(shared) for shared in SHARED], own


def settings_of(name: str) -> type | None:
    """Return what declares the table of a third party's dialect, None for another batch system."""
    try:
        kind = _class_of(name)
    except BatchSystemError:  # it is told when it is to be used
        return None
    return None if isinstance(kind, type) else kind.settings


def probes() -> dict[str, Probe]:
    """Return what finds out about the built-in batch systems."""
    return {name: _found(parts.probe)() for name, parts in BUILT_IN.items() if parts.probe}


def is_here(name: str) -> bool:
    """Tell whether a batch system runs jobs on the machine of whoever uses it."""
    return bool(getattr(_class_of(canonical(name)), "here", False))


def canonical(name: str) -> str:
    """Return the one name of a batch system, whatever the spelling; JT201 if there is none."""
    wanted = _plain(name)
    built_in = {_plain(each): each for each in BUILT_IN}
    if wanted in built_in:  # nobody can take its name, so what else is installed need not be read
        return built_in[wanted]
    known = _known()
    spelled = {_plain(each): each for each in known}
    alias = next((ALIASES[each] for each in ALIASES if _plain(each) == wanted), name)
    found = spelled.get(wanted) or spelled.get(_plain(alias))
    if found is None:
        raise _unknown(name, sorted(known))
    return found


def names() -> list[str]:
    """Return the names that load() knows, without old spellings."""
    return sorted(_known())


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _known() -> dict[str, str]:
    """Return name -> `module:class`; a built-in name cannot be taken by a third party."""
    from importlib.metadata import entry_points  # slow, and needed only here

    offered = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
    return offered | {name: parts.adapter for name, parts in BUILT_IN.items()}


def _target(name: str) -> str:
    return BUILT_IN[name].adapter if name in BUILT_IN else _known()[name]


def _found(target: str) -> Any:
    """Return what `module:name` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _class_of(name: str) -> Any:
    """Return the class of a batch system, or what makes one of a dialect, by its one name.

    Raises BatchSystemError (JT202) if it cannot be loaded.
    """
    target = _target(name)
    try:
        kind = _found(target)
    except (ImportError, AttributeError) as error:
        raise BatchSystemError(
            f"the batch system {name} cannot be loaded",
            code="JT202",
            where=f"{target}",
            why=str(error),
            fix="reinstall the package that offers it",
        ) from error
    if isinstance(kind, type) and issubclass(kind, BatchSystem):
        return kind
    made = importlib.import_module(ADAPTERS).adapter_of(kind)
    if made is None:
        raise BatchSystemError(f"{target} is neither a BatchSystem nor a Dialect", code="JT202")
    return made


def _make(name: str, make: Callable[[Any], BatchSystem], given: str) -> BatchSystem:
    kind = _class_of(name)
    try:
        return make(kind)
    except TypeError as error:
        raise BatchSystemError(
            f"the batch system {name} does not take these options",
            code="JT203",
            why=f"{error}; options given: {given or 'none'}",
            fix=f"see help({_target(name)})".replace(":", "."),
        ) from error


def _unknown(name: str, known: list[str]) -> BatchSystemError:
    from difflib import get_close_matches

    plain = {_plain(each): each for each in [*ALIASES, *known]}
    close = [plain[each] for each in get_close_matches(_plain(name), list(plain), n=1)]
    meant = next((ALIASES.get(each, each) for each in close), "")
    hint = f"did you mean {meant}? " if meant in known else ""
    return BatchSystemError(
        f"there is no batch system {name!r}",
        code="JT201",
        why=f"known are: {', '.join(known)}",
        fix=f"{hint}A package may offer more by the entry-point group {ENTRY_POINTS}",
    )
