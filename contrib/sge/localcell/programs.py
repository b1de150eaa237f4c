"""The programs a Grid Engine consists of, and the Debian packages that bring them.

Owns their names and places; must not start anything. Read next: cell.py, which starts them.
"""

from __future__ import annotations

from pathlib import Path

from localengines import packages

BINARIES = Path("/usr/lib/gridengine")
"""Where Debian keeps the programs proper; those in /usr/bin are slow wrappers around them."""

RESOURCES = Path("/usr/share/gridengine/util/resources")
"""Grid Engine's own definitions of resources and sets of users."""

DRMAA = Path("/usr/lib/gridengine-drmaa/lib/libdrmaa.so.1.0")

CLIENTS = (
    "qacct",
    "qalter",
    "qconf",
    "qdel",
    "qhold",
    "qhost",
    "qlogin",
    "qmod",
    "qping",
    "qquota",
    "qresub",
    "qrls",
    "qrsh",
    "qselect",
    "qsh",
    "qstat",
    "qsub",
)
DAEMONS = ("sge_qmaster", "sge_execd", "sge_shepherd", "spoolinit", "spooldefaults")
TOOLS = ("ip", "unshare", "nsenter", "mount", "umount")

PACKAGES = (
    "gridengine-master",
    "gridengine-exec",
    "gridengine-client",
    "gridengine-common",
    "gridengine-drmaa1.0",
    "iproute2",
    "netbase",
)
UNCONFIGURED = tuple(
    f"{package} shared/gridengineconfig boolean false"
    for package in PACKAGES
    if package.startswith("gridengine-") and "drmaa" not in package
)
"""The packages need not make a cell: that is what this program does."""


def binary(name: str) -> str:
    """Return the path of one of Grid Engine's programs; Failure if it is not installed."""
    return packages.program(name, str(BINARIES))


def missing() -> list[str]:
    """Return the programs without which no cell can start."""
    return packages.missing((*DAEMONS, *CLIENTS), str(BINARIES))


def missing_tools() -> list[str]:
    """Return the programs without which execution hosts cannot be machines of their own."""
    return packages.missing(TOOLS)


def install() -> bool:
    """Install what is missing; return whether anything was."""
    if not missing() and not missing_tools() and DRMAA.exists():
        return False
    parts = "Grid Engine's master, execution daemon and clients, its DRMAA library and iproute2"
    packages.install("Grid Engine", PACKAGES, parts, UNCONFIGURED)
    return True
