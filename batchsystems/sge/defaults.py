"""Defaults of users and sites that Grid Engine's commands obey, and what becomes of each. Pure.

Owns the tables; rests on the manuals of 8.1.9 (submit, qstat, sge_request, sge_qstat, sge_aliases)
and on what it was seen to do. None may change an answer or break what jobTree promises of a job;
who pays for a job and where it runs is the user's to say. Read next: docs/defaults.md, dialect.py.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from batchsystems.commandline.dialect import UserDefaults, Wishes
from batchsystems.common.default_files import Defaults
from batchsystems.errors import BatchSystemError

LOCATION = frozenset(
    {"SGE_ROOT", "SGE_CELL", "SGE_CLUSTER_NAME", "SGE_QMASTER_PORT", "SGE_EXECD_PORT", "SGE_ARCH"}
)
"""Where Grid Engine is: kept for every command."""

WISHES = frozenset({"SGE_JSV_TIMEOUT"})
"""How long a check of submissions may take: kept."""

SCRUBBED = frozenset(
    (
        *("SGE_DEBUG_LEVEL", "SGE_DEBUG_TARGET", "SGE_LONG_QNAMES", "SGE_LONG_JOB_NAMES"),
        *("SGE_LOAD_AVG", "SGE_SINGLE_LINE", "SGE_QSTAT_ENV_DEBUG", "SGE_ENABLE_MSG_ID"),
        *("SGE_DELAY_AFTER_SUBMIT", "SGE_JAPI_EDTIME", "SGE_JAPI_FLUSH_DELAY_RATE", "MORE_INFO"),
        *("SGE_DRMAA_ALLOW_CWD", "SGE_DRMAA_ALLOW_JOB_ERROR_STATE", "QRSH_WRAPPER", "SGE_ND"),
    )
)
"""What changes how commands print or wait: no command is given any of it."""

REQUESTS, LISTINGS, ALIASES = "sge_request", "sge_qstat", "sge_aliases"
"""Files of defaults: in the cell's `common`, with a dot before it in the home and, of requests, in
the working directory. Paths are aliased as the cell says; a job's script goes to its own."""

FOLLOWED: Mapping[str, int] = {
    "-A": 1,
    "-ac": 1,
    "-ar": 1,
    "-binding": 1,
    "-dc": 1,
    "-hard": 0,
    "-js": 1,
    "-l": 1,
    "-masterq": 1,
    "-P": 1,
    "-p": 1,
    "-q": 1,
    "-R": 1,
    "-sc": 1,
    "-soft": 0,
    "-tc": 1,
}
"""Requests that are followed, and how many words each takes: who pays, where, and in which turn."""

FOLLOWED_ANYHOW = frozenset({"-jsv"})
"""What nothing undoes, and nothing has to: a check of submissions."""

NOT_FOLLOWED: Mapping[str, int] = {
    "-a": 1,
    "-b": 1,
    "-c": 1,
    "-C": 1,
    "-ckpt": 1,
    "-clear": 0,
    "-cwd": 0,
    "-display": 1,
    "-dl": 1,
    "-e": 1,
    "-help": 0,
    "-hold_jid": 1,
    "-hold_jid_ad": 1,
    "-i": 1,
    "-inherit": 0,
    "-j": 1,
    "-M": 1,
    "-m": 1,
    "-N": 1,
    "-noshell": 0,
    "-nostdin": 0,
    "-notify": 0,
    "-now": 1,
    "-o": 1,
    "-pe": 2,
    "-pty": 1,
    "-r": 1,
    "-S": 1,
    "-shell": 1,
    "-t": 1,
    "-terse": 0,
    "-u": 1,
    "-V": 0,
    "-v": 1,
    "-verbose": 0,
    "-verify": 0,
    "-w": 1,
    "-wd": 1,
    "-@": 1,
    "-h": 0,
    "-sync": 1,
}
"""Requests that are not: jobTree says these for each job, or relies on them."""

HARMFUL_LISTINGS = frozenset({"-l", "-q", "-pe", "-U", "-qs", "-j", "-help", "-xml"})
"""Options of a listing that hide jobs, or list something else, and that no other option undoes."""

HARMLESS_LISTINGS: Mapping[str, int] = {
    "-u": 1,
    "-s": 1,
    "-g": 1,
    "-explain": 1,
    "-F": 0,
    **dict.fromkeys(("-ext", "-f", "-ncb", "-ne", "-pri", "-r", "-t", "-urg"), 0),
}
"""Options of a listing that are overruled, or whatever they add is not looked at."""

HARMFUL_TO_DRMAA = frozenset({"-h", "-hold_jid", "-hold_jid_ad", "-pe", "-a", "-ckpt"})
"""Requests that a DRMAA library follows, and that no native specification undoes."""


class Requests(NamedTuple):
    """What requests in files of defaults ask for."""

    options: tuple[str, ...]
    """Those to give to qsub, all at once."""
    followed: tuple[str, ...]
    """The requests that count, as the user is told."""
    others: tuple[str, ...]


class SgeDefaults(UserDefaults):
    """Requests of the cell's and the user's files."""

    def files(self, env: Mapping[str, str]) -> Sequence[str]:
        """Return where there may be any, and defaults of listings."""
        return [*paths(common(env), REQUESTS), *paths(common(env), LISTINGS)]

    def read(self, settings: Any, env: Mapping[str, str], files: Sequence[Defaults]) -> Wishes:
        """Return the options to give to qsub, and the settings with the cell's accounting file."""
        listings = [file for file in files if file.name.endswith(LISTINGS)]
        requests = [file for file in files if file not in listings]
        require_harmless(requests, listings)
        own = replace(settings, accounting=settings.accounting or f"{common(env)}/accounting")
        return Wishes(own, *read_requests(requests))


def common(env: Mapping[str, str]) -> str:
    """Return the directory that a cell's hosts have in common."""
    root = env.get("SGE_ROOT", "/var/lib/gridengine")  # else a wrapper sets it: Debian's
    return f"{root}/{env.get('SGE_CELL', 'default')}/common"


def paths(common: str, name: str) -> list[str]:
    """Return where a file of defaults may be, in the order in which they are read."""
    found = [f"{common}/{name}", f"~/.{name}"]
    return [*found, f".{name}"] if name == REQUESTS else found


def read_requests(files: Iterable[Defaults]) -> Requests:
    """Return what the files ask for. `-clear` drops what stood before it, as for qsub."""
    options: list[str] = []
    followed: list[str] = []
    others: list[str] = []
    soft = False
    for file in files:
        for words in _options(file.text, {**FOLLOWED, **NOT_FOLLOWED}):
            told = f"{shlex.join(words)} ({file.name})"
            if words[0] == "-clear":
                options, followed, soft = [], [], False
            elif words[0] in FOLLOWED:
                soft = words[0] == "-soft" or (soft and words[0] != "-hard")
                options += words
                followed.append(told)
            elif words[0] not in FOLLOWED_ANYHOW:
                others.append(told)
    hard = ["-hard"] if soft else ()
    return Requests((*options, *hard), tuple(followed), tuple(others))


def require_harmless(
    requests: Iterable[Defaults], listings: Iterable[Defaults], drmaa: bool = False
) -> None:
    """Raise BatchSystemError (JT250) if a file has what no option undoes."""
    for file in listings:
        for words in _options(
            file.text, {**dict.fromkeys(HARMFUL_LISTINGS, 1), **HARMLESS_LISTINGS}
        ):
            if words[0] not in HARMLESS_LISTINGS or words[:2] == ["-g", "c"]:
                raise _harmful(file, words, "an answer of qstat would not show all jobs")
    for file in requests:
        for words in _options(file.text, {**FOLLOWED, **NOT_FOLLOWED}):
            if drmaa and words[0] in HARMFUL_TO_DRMAA:
                raise _harmful(file, words, "jobs would wait, or get more than they asked for")
            waits = words[0] == "-sync" and words[1:2] and words[1].startswith("y")
            if waits and not drmaa and file.name != f".{REQUESTS}":
                raise _harmful(file, words, "each qsub would last as long as its job")


def _harmful(file: Defaults, words: Collection[str], why: str) -> BatchSystemError:
    return BatchSystemError(
        "a file of defaults changes what Grid Engine's commands do in a way that no option undoes",
        code="JT250",
        where=f"{file.name}: {shlex.join(words)}",
        why=why,
        fix="remove that from the file, or comment the line out while trees run",
    )


def _options(text: str, sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield the options of a file of defaults, each with its words."""
    words: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            words += _words(line)
    while words:
        option, *words = words
        size = sizes.get(option, 0)
        if option not in sizes or (option == "-h" and words and _HOLD.fullmatch(words[0])):
            size = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
        if option == "-binding" and words and words[0] in ("env", "pe", "set"):
            size += 1
        yield [option, *words[:size]]
        del words[:size]


_HOLD = re.compile("[usonUSO]+")


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a quotation that does not end
        return line.split()
