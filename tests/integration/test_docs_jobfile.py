"""What docs/jobfile.md shows works as shown."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "jobfile.md").read_text()
BLOCKS = re.findall(r"^```(?:sh|perl)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.usefixtures("no_stray_processes")


def script(name: str) -> str:
    (found,) = (block for block in BLOCKS if f"\n# {name} " in block)
    return found


def command(tree: str) -> str:
    (found,) = (block for block in BLOCKS if block.rstrip().endswith(f"--jobTree {tree}"))
    return found


def run(line: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of the page in a shell in which `jobtree` is this checkout's."""
    (directory / "bin").mkdir()
    starter = directory / "bin" / "jobtree"
    starter.write_text(f'#!/bin/sh\nexec {sys.executable} -m jobtree "$@"\n')
    starter.chmod(0o755)
    path = f"{directory}/bin:{os.environ['PATH']}"
    return subprocess.run(
        line,
        shell=True,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_awk_example_counts_lines(tmp_path: Path):
    for name in ("count.sh", "one.sh", "sum.sh"):
        (tmp_path / name).write_text(script(name))
    (tmp_path / "texts").mkdir()
    for number in range(1, 6):
        (tmp_path / "texts" / f"{number}.txt").write_text("line\n" * number)
    ran = run(command("count.jt"), tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "total").read_text() == "15\n"


@pytest.mark.skipif(shutil.which("perl") is None, reason="no perl here")
def test_the_perl_example_fans_out(tmp_path: Path):
    (tmp_path / "fan.pl").write_text(script("fan.pl"))
    ran = run(command("fan.jt"), tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "all done: 11 jobs" in ran.stderr
