"""Problems: what is wrong in a site file, for people.

Owns the form in which one is told; must not find any. Read next: reading.py, which does.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

from batchsystems.errors import SiteError
from batchsystems.site import Origin

ALL_KEYS = "All keys: jobtree site show --schema"


class Problem(NamedTuple):
    """One thing that is wrong. source: the line of the file it stands on; hint: what to do."""

    code: str
    what: str
    origin: Origin
    source: str = ""
    hint: str = ""

    def error(self) -> SiteError:
        """Return it as an error."""
        where = self.origin.file + (f", line {self.origin.line}" if self.origin.line else "")
        shown = f"{self.origin.line:>3} | {self.source}" if self.source else ""
        return SiteError(f"{self.what} in {where}", code=self.code, where=shown, fix=self.hint)


def refuse(problems: Sequence[Problem]) -> SiteError:
    """Return all of these problems as one error."""
    first, *others = (problem.error() for problem in problems)
    first.others = tuple(others)
    return first


def suggest(word: str, known: Sequence[str]) -> str:
    """Return "did you mean 'partition'?", or "" if nothing known is like it."""
    plain = {each.lower(): each for each in known}
    close = get_close_matches(word.lower(), list(plain), n=1, cutoff=0.6)
    return f"did you mean {plain[close[0]]!r}?" if close else ""
