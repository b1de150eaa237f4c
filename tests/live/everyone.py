"""A jobTree that every user of the machine can run, wherever the checkout and its Python lie.

Owns the copy and the choice of a Python; must not start anything else. Read next: conftest.py.
"""

from __future__ import annotations

import pwd
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]


def copy_jobtree(place: Path, *also: str) -> Path:
    """Copy the product, its examples and all it depends on to where everyone can read it.

    also: further distributions, such as those of an extra.
    """
    for name in ("jobtree", "batchsystems", "examples"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for distribution in [*_needed("jobtree"), *map(metadata.distribution, also)]:
        for file in distribution.files or ():
            source = Path(str(distribution.locate_file(file)))
            if ".." not in file.parts and source.suffix != ".pyc" and source.is_file():
                target = place / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
    for path in (place, *place.rglob("*")):  # whatever the umask of whoever made the checkout
        mode = path.stat().st_mode
        path.chmod(mode | (0o555 if mode & 0o100 else 0o444))
    return place


def _needed(name: str) -> list[metadata.Distribution]:
    """Return the distributions that another needs here, and those that they need."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [name]
    while waiting:
        for line in metadata.requires(waiting.pop()) or ():
            if ";" in line:
                continue  # of an extra, or for other Pythons
            wanted = re.split(r"[^\w.-]", line)[0].lower()
            if wanted not in found:
                found[wanted] = metadata.distribution(wanted)
                waiting.append(wanted)
    return list(found.values())


def python_for(user: pwd.struct_passwd) -> str | None:
    """Return a Python of this one's version that the user can run; None if there is none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            done = subprocess.run(
                [path, "-c", "import sqlite3"],
                user=user.pw_name,
                group=user.pw_gid,
                extra_groups=[],
                cwd="/",
                check=False,
            )
        except OSError:
            continue
        if done.returncode == 0:
            return path
    return None
