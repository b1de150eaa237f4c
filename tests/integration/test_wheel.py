"""The wheel, installed elsewhere: it runs, and has the site files, epilog and examples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_stray_processes")]

WANTED = (
    "site-config/generic-slurm.toml",
    "site-config/drmaa-sge.toml",
    "site-config/schema.json",
    "site-config/README.md",
    "contrib/slurm/epilog.sh",
    "contrib/slurm/local-cluster",
    "contrib/sge/local-cell",
    "contrib/sge/README.md",
    "examples/sort.py",
)

LOOK = """
import importlib.resources, json, sys, batchsystems, jobtree
data = importlib.resources.files("batchsystems") / "data"
found = {name: (data / name).read_text() for name in json.loads(sys.argv[1])}
print(json.dumps({"at": [batchsystems.__file__, jobtree.__file__], "found": found}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory into which a wheel built from here was installed."""
    home = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [
        *pip,
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(home),
        str(ROOT),
    ]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = home.glob("*.whl")
    target = ["--no-deps", "--no-index", "--target", str(home / "site")]
    subprocess.run([*pip, "install", *target, str(wheel)], check=True, timeout=300)
    return home / "site"


def python(installed: Path, home: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_installed_files_are_found_and_are_those_of_here(
    installed: Path, tmp_path: Path
) -> None:
    said = json.loads(python(installed, tmp_path, "-c", LOOK, json.dumps(WANTED)))
    assert all(place.startswith(str(installed)) for place in said["at"])
    for name, text in said["found"].items():
        assert text == (ROOT / name).read_text(), name


def test_it_checks_an_installed_site_file_and_runs_by_it(installed: Path, tmp_path: Path) -> None:
    site = installed / "batchsystems/data/site-config/single-machine.toml"
    assert "good" in python(installed, tmp_path, "-m", "jobtree", "site", "check", str(site))
    command = ["run", "--site", str(site), "--jobTree", "tree"]
    python(installed, tmp_path, "-m", "jobtree", *command, "--command", ": JOB_FILE; echo > out")
    assert (tmp_path / "out").exists()


@pytest.mark.parametrize("program", ["slurm/local-cluster", "sge/local-cell"])
def test_local_engines_find_what_they_share(installed: Path, tmp_path: Path, program: str) -> None:
    path = installed / "batchsystems/data/contrib" / program
    assert "break or mend" in python(installed, tmp_path, "-IS", str(path), "--help")
