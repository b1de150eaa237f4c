"""The wheel, installed elsewhere: it runs, and has the site files, epilog and examples."""

from __future__ import annotations

import json
import os
import re
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
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--quiet"]
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


# ---- the conformance suite ---------------------------------------------------------------------

PAGE = (ROOT / "docs" / "batch-systems.md").read_text()
_, WRITING, CHECKING = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def run_pytest(installed: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder that knows nothing of this repository."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=home,
        env=plain | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_an_adapter_in_its_own_folder_is_tested_as_the_page_says(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "onthespot.py").write_text(WRITING)
    (tmp_path / "test_onthespot.py").write_text(CHECKING)
    done = run_pytest(installed, tmp_path, "-ra")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " failed" not in done.stdout
    assert " error" not in done.stdout
    (count,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(count) >= 15
    for left_out in re.findall(r"^SKIPPED .*", done.stdout, re.MULTILINE):
        assert re.search(r"does not adopt|no limits|names are unique", left_out), left_out


def test_a_rule_that_is_broken_is_explained(installed: Path, tmp_path: Path) -> None:
    broken = WRITING.replace("exit_status=code", "exit_status=0")
    (tmp_path / "onthespot.py").write_text(broken)
    (tmp_path / "test_onthespot.py").write_text(CHECKING)
    done = run_pytest(installed, tmp_path, "-k", "exit_status_is_told")
    assert done.returncode == 1
    assert "At index 1 diff: 0 != 37" in done.stdout, done.stdout


def test_a_process_that_outlives_a_test_fails_it(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "test_stray.py").write_text(STRAY)
    done = run_pytest(installed, tmp_path)
    assert "processes outlived the test" in done.stdout
    assert "1 passed, 1 error" in done.stdout


STRAY = """
import subprocess, sys

def test_it(no_stray_processes, tmp_path):
    script = "import subprocess; subprocess.Popen(['sleep', '1000'])"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
"""


APART = """
import importlib, pathlib, sys
site = pathlib.Path(sys.argv[1])
for path in sorted((site / "batchsystems").rglob("*.py")):
    name = ".".join(path.relative_to(site).with_suffix("").parts).removesuffix(".__init__")
    if not any(word in name for word in (".data.", ".conformance")):
        importlib.import_module(name)
assert not {"pytest", "_pytest"} & sys.modules.keys()
"""


def test_nothing_but_the_suite_and_its_plugin_needs_pytest(installed: Path, tmp_path: Path) -> None:
    python(installed, tmp_path, "-c", APART, str(installed))
