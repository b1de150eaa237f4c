"""The DRMAA library: where it is, whether it can be loaded here, and what to do if not.

Owns the places it is looked for in, what the process that loads it needs in its environment, and
the errors that name a cure; must not load it. Read next: client.py, whose process does.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import platform
import re
import struct
from collections.abc import Iterator, Mapping
from ctypes.util import find_library
from typing import NamedTuple

from batchsystems.drmaa.session.server import PACKAGE
from batchsystems.drmaa.tables import DrmaaSettings
from batchsystems.errors import BatchSystemError

VARIABLE = "DRMAA_LIBRARY_PATH"
PLACES = (
    "/usr/lib/gridengine-drmaa/lib/libdrmaa.so*",
    "/usr/lib/slurm-drmaa/lib/libdrmaa.so*",
    "/usr/lib*/slurm-drmaa/libdrmaa.so*",
    "/usr/local/lib/libdrmaa.so*",
    "/opt/*/lib/libdrmaa.so*",
)
"""Where packages put it that the loader does not look through."""

ROOTS = ("/etc/default/gridengine", "/etc/default/sge")
"""Files of shell in which packages of Grid Engine say where its cell is."""

DEBIAN_ROOT = "/var/lib/gridengine"

KNOWS_MASTER = "common/act_qmaster"
"""What a cell's directory has, and every client reads first."""

TUNABLE = "glibc.rtld.optional_static_tls=2048"
"""So much room a library may have for thread-local data that is loaded late, as jemalloc is."""

MACHINES = {
    3: "i386",
    20: "ppc",
    21: "ppc64",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv",
}
NAMES = {"ppc64le": "ppc64", "i686": "i386", "riscv64": "riscv", "armv7l": "arm"}

PACKAGES = "on Debian: apt install gridengine-drmaa1.0; for Slurm: slurm-drmaa"


class Library(NamedTuple):
    """A library that can be tried. env: what the process that loads it has besides."""

    path: str
    env: Mapping[str, str]


def find(own: DrmaaSettings, environment: Mapping[str, str]) -> Library:
    """Return the library, and the environment it needs.

    Raises BatchSystemError: JT230 without the Python package, JT231 if there is no library, JT232
    if it is none for this machine, JT234 if Grid Engine's needs SGE_ROOT and nobody knows it.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise no_package()
    path, who = _chosen(own, environment)
    wrong = _wrong(path)
    if wrong:
        raise _unloadable(path, f"{wrong}; it was named by {who}")
    return Library(path, _grid_engine(own, environment, path))


def _chosen(own: DrmaaSettings, environment: Mapping[str, str]) -> tuple[str, str]:
    if own.library:
        return os.path.expanduser(own.library), "drmaa.library of the site file"
    if environment.get(VARIABLE):
        return environment[VARIABLE], f"${VARIABLE}"
    found = next(_places(own, environment), None)
    if found is None:
        raise BatchSystemError(
            "no DRMAA library was found",
            code="JT231",
            why=f"looked at: drmaa.library of the site file, ${VARIABLE}, $SGE_ROOT/lib, "
            f"{', '.join(PLACES[:3])} and what the loader knows",
            fix=f"install one ({PACKAGES}), or name it: drmaa.library in a site file, "
            f"or ${VARIABLE}",
        )
    return found, "nobody: it was found"


def _places(own: DrmaaSettings, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the libraries there are, the likeliest first."""
    root = own.sge_root or environment.get("SGE_ROOT", "")
    if root:
        yield from _fitting([f"{root}/lib/*/libdrmaa.so*", f"{root}/lib/libdrmaa.so*"])
    yield from _fitting(PLACES)
    known = find_library("drmaa")
    if known:
        yield known


def _fitting(patterns: tuple[str, ...] | list[str]) -> Iterator[str]:
    """Yield the files of these patterns that this machine can load: cells have one for each."""
    for pattern in patterns:
        for path in sorted(glob.glob(pattern), key=lambda each: (len(each), each)):
            if not _wrong(path):
                yield path


def _wrong(path: str) -> str:
    """Say why a file is no library for this machine, "" if it may be one. No path: the loader's."""
    if "/" not in path:
        return ""
    try:
        with open(path, "rb") as file:
            head = file.read(20)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return "it is no library: it has an invalid ELF header"
    bits, order = {1: 32, 2: 64}.get(head[4], 0), "<" if head[5] == 1 else ">"
    if bits != 8 * struct.calcsize("P"):
        return f"it has the wrong ELF class: it is for {bits} bits, this Python for " + str(
            8 * struct.calcsize("P")
        )
    machine = MACHINES.get(struct.unpack(f"{order}H", head[18:20])[0], "another kind of machine")
    here = platform.machine()
    if machine != NAMES.get(here, here):
        return f"it is for {machine}, and this machine is {here}"
    return ""


# ---- Grid Engine ------------------------------------------------------------------------------


def _grid_engine(own: DrmaaSettings, environment: Mapping[str, str], path: str) -> dict[str, str]:
    """Return SGE_ROOT and SGE_CELL if Grid Engine's library needs them and the environment lacks.

    Raises BatchSystemError JT234 if it needs SGE_ROOT, and nobody knows it or it leads nowhere.
    """
    its_own = re.search(r"gridengine|sge|univa|uge\b", path, re.I)
    found = {"SGE_CELL": own.sge_cell} if own.sge_cell else {}
    root = own.sge_root or environment.get("SGE_ROOT") or _root_by(path)
    cell = own.sge_cell or environment.get("SGE_CELL") or "default"
    if its_own and not os.path.isfile(f"{root}/{cell}/{KNOWS_MASTER}"):
        raise no_root(path, f"there is no {root}/{cell}/{KNOWS_MASTER}" if root else "")
    if root:
        found["SGE_ROOT"] = root
    return found


def _root_by(path: str) -> str:
    """Return the SGE_ROOT that a library lies in, or that its package tells; "" if neither."""
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(path))))
    if os.path.basename(os.path.dirname(os.path.dirname(path))) == "lib" and glob.glob(
        f"{top}/*/{KNOWS_MASTER}"
    ):
        return top
    for name in ROOTS:
        try:
            with open(name, encoding="utf-8", errors="replace") as file:
                said = re.search(r'^\s*(?:export\s+)?SGE_ROOT="?([^"\s$]+)', file.read(), re.M)
        except OSError:
            continue
        if said:
            return said[1]
    debian = "gridengine-drmaa" in path and glob.glob(f"{DEBIAN_ROOT}/*/{KNOWS_MASTER}")
    return DEBIAN_ROOT if debian else ""


def with_tunable(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what gives a library room for its thread-local data, before Python starts."""
    there = environment.get("GLIBC_TUNABLES", "")
    if TUNABLE.partition("=")[0] in there:
        return {"GLIBC_TUNABLES": there}
    return {"GLIBC_TUNABLES": f"{there}:{TUNABLE}" if there else TUNABLE}


STATIC_TLS = re.compile(r"^(\S+): cannot allocate memory in static TLS block", re.M)


# ---- errors -----------------------------------------------------------------------------------


def no_package() -> BatchSystemError:
    """Return the error that the Python package is missing."""
    return BatchSystemError(
        "the batch system drmaa needs the Python package drmaa, which is not installed",
        code="JT230",
        fix="pip install 'jobtree[drmaa]', with the Python that runs jobTree",
    )


def _unloadable(path: str, why: str) -> BatchSystemError:
    return BatchSystemError(
        "the DRMAA library cannot be loaded",
        code="JT232",
        where=path,
        why=why,
        fix=f"name one for this machine: drmaa.library in a site file, or ${VARIABLE}; or install "
        f"one ({PACKAGES})",
    )


def no_root(path: str, words: str) -> BatchSystemError:
    """Return the error that Grid Engine's library does not know where its cell is."""
    return BatchSystemError(
        "Grid Engine's DRMAA library needs SGE_ROOT, the directory of a cell",
        code="JT234",
        where=path,
        why=words or "it is not set",
        fix="source the cell's settings.sh, or set drmaa.sge_root in a site file",
    )


def explain(kind: str, words: str, path: str, directory: str) -> BatchSystemError:
    """Return the error that tells why the process that loads a library could not begin."""
    if kind == "package":
        return no_package()
    if STATIC_TLS.search(words) or "static TLS" in words:
        return BatchSystemError(
            "the DRMAA library finds no room for its thread-local data",
            code="JT233",
            where=path,
            why=f"{words}; what jobTree sets against it did not help "
            f"(GLIBC_TUNABLES={TUNABLE}, then LD_PRELOAD)",
            fix="take the library out that needs it, in a copy of your own:\n"
            "  patchelf --remove-needed libjemalloc.so.2 COPY_OF_LIBDRMAA\n"
            "and name the copy by drmaa.library in a site file",
        )
    if kind == "directory":
        return BatchSystemError(
            "the records of DRMAA jobs cannot be kept",
            where=directory,
            why=words,
            fix="make the directory writable by you",
        )
    if "SGE_ROOT" in words:
        return no_root(path, words)
    return _unloadable(path, words)
