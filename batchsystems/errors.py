"""Errors a person is meant to read: what, where, why, and how to fix it.

Must not import anything of this project. Read next: interface.py.

    ReportableError             code, what, where, why, fix; printed without a traceback
    ├── SiteError               a site file; may tell of several problems at once
    └── BatchSystemError        the batch system, or what was asked of it
        ├── ImpossibleRequest   no machine of this batch system can ever run the job
        └── Unobtainable        the scheduler gave no complete answer: says nothing about jobs
"""

from __future__ import annotations


class ReportableError(Exception):
    """An error explained to a user: a stable code and the remedy.

    `code` is stable (`JT301`), `what` one sentence, `where` the file, line or
    command it is about, `why` what lies behind it, `fix` what to do now.
    """

    default_code = "JT000"

    def __init__(
        self, what: str, *, code: str = "", where: str = "", why: str = "", fix: str = ""
    ) -> None:
        super().__init__(what)
        self.code = code or self.default_code
        self.what, self.where, self.why, self.fix = what, where, why, fix

    def __str__(self) -> str:
        """Render as `error[CODE]: what` and up to three indented lines."""
        lines = [f"error[{self.code}]: {self.what}"]
        for part in (self.where, self.why, self.fix):
            lines += [f"  {line}" for line in part.splitlines()]
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by the explained fields, so that worker processes can raise it."""
        return _rebuild, (type(self), self.what, self.code, self.where, self.why, self.fix)


def _rebuild(
    kind: type[ReportableError], what: str, code: str, where: str, why: str, fix: str
) -> ReportableError:
    return kind(what, code=code, where=where, why=why, fix=fix)


class SiteError(ReportableError):
    """A site file cannot be used. others: what else is wrong, told with it."""

    default_code = "JT120"
    others: tuple[SiteError, ...] = ()

    def __str__(self) -> str:
        """Render this problem and all others."""
        return "\n".join([super().__str__(), *map(str, self.others)])

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with all others."""
        return _rebuild_site, (super().__reduce__()[1], self.others)


def _rebuild_site(
    explained: tuple[type[SiteError], str, str, str, str, str], others: tuple[SiteError, ...]
) -> SiteError:
    kind, what, code, where, why, fix = explained
    error = kind(what, code=code, where=where, why=why, fix=fix)
    error.others = others
    return error


class BatchSystemError(ReportableError):
    """The batch system cannot do what was asked of it."""

    default_code = "JT200"


def closed(name: str) -> BatchSystemError:
    """Return what is raised when a job is given to a batch system that was closed."""
    return BatchSystemError(
        f"the batch system {name} is closed and takes no job",
        code="JT268",
        why="nobody would submit it any more",
        fix="make another instance; its adopt() takes back the jobs of this one",
    )


class ImpossibleRequest(BatchSystemError):
    """No machine of this batch system can ever satisfy the resources asked for."""

    default_code = "JT220"


class Unobtainable(BatchSystemError):
    """No complete answer came from the scheduler; it means nothing about any job."""

    default_code = "JT210"
