"""The examples, run on a real scheduler by root and by an ordinary user, and their results.

Owns what is the right result; must not know any scheduler. Read next: trees.py.
"""

from __future__ import annotations

import json
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from pwd import struct_passwd

import pytest

from tests.integration.flows import ROOT
from tests.live.everyone import copy_jobtree, python_for
from tests.live.trees import Tree

STDLIB = Path(sysconfig.get_path("stdlib"))


def assert_examples_are_right(
    plant: Callable[..., Tree], user: struct_passwd | None, place: Path, *also: str
) -> None:
    """Run three examples at once, as root or another user; fail unless each result is right.

    Another user's trees have no settings but the defaults. place: where all users may read. also:
    the distributions that jobTree needs beyond its own dependencies.
    """
    how = {} if user is None else {"user": user.pw_name, "brisk": False}
    sort, modules, count = trees = [plant(**how) for _ in range(3)]
    examples = ROOT / "examples"
    if user is not None:
        python = python_for(user)
        if python is None:
            pytest.skip(f"no Python {sys.version_info[:2]} that {user.pw_name} can run")
        path = place / "everyone"
        path.mkdir()
        examples = copy_jobtree(path, *also) / "examples"
        for tree in trees:
            tree.python, tree.path = python, str(path)
    material = place / "material"
    for name in ("json", "email", "logging"):
        shutil.copytree(STDLIB / name, material / name)
    material.chmod(0o755)
    sources = sorted(material.rglob("*.py"))
    text = place / "text"
    text.write_bytes(b"".join(path.read_bytes() for path in sources))

    report, counted = modules.home / "report.json", count.home / "counts"
    running = [
        sort.start(
            str(text), "--output", "sorted", "--chunkBytes", "60000", script=examples / "sort.py"
        ),
        modules.start(
            "--library", str(material), "--report", str(report), script=examples / "modules.py"
        ),
        count.command(f"sh {examples}/filetree.sh {material} {counted} JOB_FILE"),
    ]
    for tree, master in zip(trees, running, strict=True):
        tree.assert_done(master.end())
        assert {run.user for run in tree.runs()} == {tree.user or "root"}
    lines = text.read_bytes().split(b"\n")[:-1]
    assert (sort.home / "sorted").read_bytes() == b"".join(line + b"\n" for line in sorted(lines))
    totals = json.loads(report.read_text())["totals"]
    assert totals["modules"] == len(sources)
    files = [path for path in material.rglob("*") if path.is_file()]
    folders = [path for path in material.rglob("*") if path.is_dir()]
    content = [path.read_bytes() for path in files]
    expected = [len(folders) + 1, len(files), sum(c.count(b"\n") for c in content)]
    assert list(map(int, counted.read_text().split()))[:3] == expected
