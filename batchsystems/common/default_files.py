"""Files in which users and sites keep defaults for a scheduler's commands, as they are now.

Owns the reading; what a line means is each scheduler's own. Must not run anything.
Read next: ../slurm/defaults.py, ../sge/defaults.py.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from typing import NamedTuple

MOST_BYTES = 1 << 20


class Defaults(NamedTuple):
    """A file of defaults. name: as people write it."""

    name: str
    text: str


def read(paths: Iterable[str]) -> list[Defaults]:
    """Return those of these files that there are, in order. `~` is the home of the passwd file.

    Schedulers look there, and not where HOME says.
    """
    try:
        home = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a user without an entry has no such file
        home = ""
    found = []
    for path in paths:
        try:
            with open(path.replace("~", home, 1), encoding="utf-8", errors="replace") as file:
                found.append(Defaults(path, file.read(MOST_BYTES)))
        except OSError:
            continue
    return found
