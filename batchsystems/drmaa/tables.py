"""What a DRMAA library says: tables.

Owns the kinds of clusters behind such libraries, words for states, and what errors mean; must hold
no logic. Read next: dialect.py.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from batchsystems.commandline.answers import Phase, Rejection


class Family(NamedTuple):
    """A kind of cluster. pattern: in what its library says it is. task_variables: see above."""

    name: str
    pattern: str = ""
    task_variables: tuple[str, ...] = ()


OTHER = Family("")

FAMILIES = (
    Family("sge", r"\b(SGE|UGE|OGS|OGE|GE)\b|Grid Engine|GridEngine", ("SGE_TASK_ID",)),
    Family("slurm", r"SLURM", ("SLURM_ARRAY_TASK_ID",)),
    Family("lsf", r"\bLSF\b", ("LSB_JOBINDEX",)),
)
"""Whose native specification jobTree can write, or whose arrays it knows."""


def family_of(about: str) -> Family:
    """Return the kind of cluster, by what its library says of itself."""
    found = (each for each in FAMILIES if re.search(each.pattern, about, re.I))
    return next(found, OTHER)


PHASES = {
    "queued_active": Phase.WAITING,
    "system_on_hold": Phase.WAITING,
    "user_on_hold": Phase.WAITING,
    "user_system_on_hold": Phase.WAITING,
    "running": Phase.RUNNING,
    "system_suspended": Phase.SUSPENDED,
    "user_suspended": Phase.SUSPENDED,
    "user_system_suspended": Phase.SUSPENDED,
}
"""By the words of jobStatus; of what has ended the end itself is told."""

REMEDIES: tuple[tuple[str, str], ...] = (
    ("on_hold", "somebody holds it: release it, or ask who does"),
    ("suspended", "it goes on when it is resumed"),
)

OUTAGE, BEFORE = "outage", "before"
"""Classes of errors besides those of the library: it cannot be spoken to; nothing was asked yet."""

ERRORS: dict[str, Rejection] = {
    BEFORE: Rejection.OUTAGE,
    "TryLaterException": Rejection.CROWDED,
    "DrmCommunicationException": Rejection.UNKNOWN,
    "DeniedByDrmException": Rejection.PERMANENT,
    "AuthorizationException": Rejection.PERMANENT,
    "InvalidArgumentException": Rejection.PERMANENT,
    "InvalidAttributeFormatException": Rejection.PERMANENT,
    "InvalidAttributeValueException": Rejection.PERMANENT,
    "ConflictingAttributeValuesException": Rejection.PERMANENT,
    "UnsupportedAttributeException": Rejection.PERMANENT,
    "InvalidJobTemplateException": Rejection.PERMANENT,
    "NoActiveSessionException": Rejection.OUTAGE,
}
"""What an error means for a submission; of any other it is not known whether it was accepted."""

LATER = re.compile(
    r"try (it )?(again )?later|temporar|busy|overload|unable to (contact|connect)|commlib"
    r"|Connection refused|No route to host|can't resolve|not responding|slurm_load",
    re.I,
)
"""Of a cluster that cannot be reached, in what some libraries still call a denial."""

UNREACHED = re.compile(r"unable to contact|Connection refused|No route to host", re.I)
"""Of a cluster that was certainly not asked."""

LOWER = "lower what it asks for, or name another queue"
ASK = "ask the administrators of this cluster"

DENIALS: tuple[tuple[str, Rejection, str], ...] = (
    (r"only \d+ jobs are allowed", Rejection.CROWDED, ""),
    (r"more than \d+ tasks", Rejection.SIZE, ""),
    (
        r"no suitable queues",
        Rejection.PERMANENT,
        f"no queue could run it as things are: {LOWER}; `qsub -w v` with the same request tells "
        "which resource is short; sge.check = false has it wait instead",
    ),
    (r"can't resolve hostname", Rejection.NODES, "name hosts that there are"),
    (r"unknown queue", Rejection.PERMANENT, "name a queue that there is: qconf -sql lists them"),
    (
        r"parallel environment .* does not exist",
        Rejection.PERMANENT,
        "name one: qconf -spl lists them",
    ),
    (r"unknown resource", Rejection.PERMANENT, "name one that there is: qconf -sc lists them"),
    (r"is not a \w+ value", Rejection.PERMANENT, "mend the value"),
    (r"not a submit host", Rejection.PERMANENT, f"submit from another host, or {ASK}"),
    (r"[Pp]roject|access|permission", Rejection.PERMANENT, ASK),
    (r"invalid option|[Uu]nknown option", Rejection.PERMANENT, "mend the native specification"),
)
"""Read from the top: what a denial says, and what to do; of any other the words have to do."""

LIBRARY_VARIABLE = "DRMAA_LIBRARY_PATH"
NAME_IT = f"drmaa.library in a site file, or ${LIBRARY_VARIABLE}"
PACKAGES = "on Debian: apt install gridengine-drmaa1.0; for Slurm: slurm-drmaa"

PROBLEMS: dict[str, tuple[str, str]] = {
    "JT200": (
        "the records of DRMAA jobs cannot be kept",
        "make the directory writable by you",
    ),
    "JT230": (
        "the batch system drmaa needs the Python package drmaa, which is not installed",
        "pip install 'jobtree[drmaa]', with the Python that runs jobTree",
    ),
    "JT231": (
        "no DRMAA library was found",
        f"install one ({PACKAGES}), or name it: {NAME_IT}",
    ),
    "JT232": (
        "the DRMAA library cannot be loaded",
        f"name one for this machine: {NAME_IT}; or install one ({PACKAGES})",
    ),
    "JT233": (
        "the DRMAA library finds no room for its thread-local data",
        "take the library out that needs it, in a copy of your own:\n"
        "  patchelf --remove-needed libjemalloc.so.2 COPY_OF_LIBDRMAA\n"
        "and name the copy by drmaa.library in a site file",
    ),
    "JT234": (
        "Grid Engine's DRMAA library needs SGE_ROOT, the directory of a cell",
        "source the cell's settings.sh, or set drmaa.sge_root in a site file",
    ),
}
"""What may be wrong with the library, by code, and the cure."""
