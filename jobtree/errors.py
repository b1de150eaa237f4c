"""The errors jobTree explains to people.

Owns the stable codes; must not import anything heavy. Read next: docs/errors.md.

    ReportableError (batchsystems.errors)
    ├── SiteError          JT12x   exit status 3
    ├── BatchSystemError   JT2xx   exit status 4
    └── JobTreeError       JT4xx   exit status 1: something in the workflow
        ├── UsageError     JT1xx   exit status 2
        └── StoreError     JT3xx   exit status 5: the tree on disk
            └── LostTree   JT304   another master has it now
"""

from __future__ import annotations

import sys
from types import TracebackType

from batchsystems.errors import BatchSystemError, ReportableError, SiteError


class JobTreeError(ReportableError):
    """Something in the workflow itself: its Targets, its script, its results."""

    default_code = "JT400"
    exit_status = 1


class UsageError(JobTreeError):
    """An option or argument that cannot be used as given."""

    default_code = "JT100"
    exit_status = 2


class StoreError(JobTreeError):
    """The tree on disk cannot be read, written, or held."""

    default_code = "JT300"
    exit_status = 5


class LostTree(StoreError):
    """Another master has taken the tree: this one must change nothing more."""

    default_code = "JT304"


def exit_status(error: ReportableError) -> int:
    """Return the exit status a command that fails with this error ends with."""
    if isinstance(error, JobTreeError):
        return error.exit_status
    if isinstance(error, SiteError):
        return 3
    return 4 if isinstance(error, BatchSystemError) else 1


def explain_uncaught() -> None:
    """Let a script that catches nothing end with the explanation alone, and its exit status.

    Whoever calls jobTree as a library still gets the exception; other exceptions are as ever.
    """
    before = sys.excepthook

    def hook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, ReportableError):
            before(kind, error, traceback)
            return
        sys.stderr.write(f"{error}\n")
        raise SystemExit(exit_status(error))

    sys.excepthook = hook
