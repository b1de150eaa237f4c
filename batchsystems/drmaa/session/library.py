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
from batchsystems.drmaa.settings import DrmaaSettings
from batchsystems.drmaa.tables import LIBRARY_VARIABLE, PROBLEMS
from batchsystems.errors import BatchSystemError

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
        raise problem("JT230")
    path, who = _chosen(own, environment)
    wrong = _wrong(path)
    if wrong:
        raise problem("JT232", path, f"{wrong}; it was named by {who}")
    return Library(path, _grid_engine(own, environment, path))


def _chosen(own: DrmaaSettings, environment: Mapping[str, str]) -> tuple[str, str]:
    if own.library:
        return os.path.expanduser(own.library), "drmaa.library of the site file"
    if environment.get(LIBRARY_VARIABLE):
        return environment[LIBRARY_VARIABLE], f"${LIBRARY_VARIABLE}"
    found = next(_places(own, environment), None)
    if found is None:
        places = f"$SGE_ROOT/lib, {', '.join(PLACES[:3])} and what the loader knows"
        why = f"looked at: drmaa.library of the site file, ${LIBRARY_VARIABLE}, {places}"
        raise problem("JT231", why=why)
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
        lacking = f"there is no {root}/{cell}/{KNOWS_MASTER}" if root else "it is not set"
        raise problem("JT234", path, lacking)
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


def problem(code: str, where: str = "", why: str = "") -> BatchSystemError:
    """Return the error of this code, with its cure."""
    what, fix = PROBLEMS[code]
    return BatchSystemError(what, code=code, where=where, why=why, fix=fix)


def explain(kind: str, words: str, path: str, directory: str) -> BatchSystemError:
    """Return the error that tells why the process that loads a library could not begin."""
    if kind == "package":
        return problem("JT230")
    if STATIC_TLS.search(words) or "static TLS" in words:
        tried = "what jobTree sets against it did not help"
        why = f"{words}; {tried} (GLIBC_TUNABLES={TUNABLE}, then LD_PRELOAD)"
        return problem("JT233", path, why)
    if kind == "directory":
        return problem("JT200", directory, words)
    return problem("JT234" if "SGE_ROOT" in words else "JT232", path, words)
