"""Suspects: which key of the site file the batch system's words accuse. Pure.

Owns the words by which keys are known; knows no batch system. Read next: diagnosis.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from batchsystems.site import Site

ALSO = {
    "constraint": "features?",
    "directives": "(?:unrecognized |invalid )?options?|licen[cs]es?",
    "queue": "partition",
    "use_queue": "queues?",
    "partition": "queues?",
    "gres": "generic resources?|gpus?",
    "project": "account",
    "cluster": "clusters?",
}
"""What else keys are called, beside their own names."""

EVERYWHERE = ("grace", "memory", "accounting")
"""Names of keys that are words of sentences about other things, too."""

MOST_SHOWN = 60
"""Of a value: a list of queues is long."""


class Suspects(NamedTuple):
    """Who may be at fault: all keys of a batch system's table, and what the site file sets."""

    system: str
    keys: Sequence[str]
    site: Site


class Blame(NamedTuple):
    """What to do, and with which keys."""

    remedy: str
    keys: tuple[str, ...]


def blamed(words: str, suspects: Suspects) -> Blame:
    """Return what to change for a batch system to say this no more.

    A key that is set is at fault before one that is not, and one that is called by its own name
    before one that is called by another.
    """
    own = [key for key in suspects.keys if _named(_last(key), words)]
    other = [key for key in suspects.keys if _named(ALSO.get(_last(key), ""), words)]
    settings = suspects.site.settings
    for named in (own, other):
        if given := [key for key in named if key in settings]:
            return Blame(f"change {_listed(given, suspects.site)}", tuple(given))
    if named := own or other:
        return Blame(f"set {' or '.join(named)} to what this cluster wants", tuple(named))
    return Blame(f"mend what it names, in the table [{suspects.system}] of the site file", ())


def _last(key: str) -> str:
    name = key.partition(".")[2]
    return "" if "[]" in name or name in EVERYWHERE else name.replace("_", "[ _-]?")


def _named(pattern: str, words: str) -> bool:
    return bool(pattern) and re.search(rf"\b(?:{pattern})\b", words, re.I) is not None


def _listed(keys: Iterable[str], site: Site) -> str:
    settings = [site.settings[key] for key in keys]
    return ", or ".join(f"{each.key} = {_short(each.written)} ({each.origin})" for each in settings)


def _short(written: str) -> str:
    return written if len(written) <= MOST_SHOWN else f"{written[: MOST_SHOWN - 3]}..."
