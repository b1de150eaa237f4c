"""The code that Python's `site` runs at start: listed by the master, run by workers when needed.

Owns which files and modules those are, and running them; must not know why workers start without
them (../master/dispatch.py: in half the time). Read next: ../worker/process_state.py.

The paths that .pth files add are in sys.path, which workers get from the master. What is left is
code: finders of editable installs, hooks of coverage tools, sitecustomize.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

CUSTOM = ("sitecustomize", "usercustomize")
_BESIDE_THE_POINT = {"_virtualenv.pth"}  # changes where setuptools installs to, and nothing else
if sys.version_info < (3, 12):
    _BESIDE_THE_POINT.add("distutils-precedence.pth")  # another distutils; later ones have none


def site_code() -> list[str]:
    """Return what `site` has run in this process: .pth files with code in them, and modules."""
    if sys.flags.no_site:
        return []
    import site

    places = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        places.insert(0, site.getusersitepackages())
    files = [f"{place}/{name}" for place in dict.fromkeys(places) for name in _pth_files(place)]
    return [path for path in files if _has_code(path)] + [n for n in CUSTOM if n in sys.modules]


def run_site_code(found: Sequence[str] | None) -> None:
    """Run here what site_code() found in another process; None: it is not known, so run all.

    Changes sys.path, and may change anything. What fails is printed, and the rest still runs.
    """
    import site

    if found is None:
        site.main()
        return
    known: set[str] = set()
    for entry in found:
        if entry == "sitecustomize":
            site.execsitecustomize()
        elif entry == "usercustomize":
            site.execusercustomize()
        else:
            site.addpackage(os.path.dirname(entry), os.path.basename(entry), known)


def _pth_files(place: str) -> list[str]:
    try:
        names = os.listdir(place)
    except OSError:
        return []
    return sorted(n for n in names if n.endswith(".pth") and n not in _BESIDE_THE_POINT)


def _has_code(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return any(line.startswith((b"import ", b"import\t")) for line in file)
    except OSError:
        return False
