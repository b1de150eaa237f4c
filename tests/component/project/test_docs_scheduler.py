"""docs/add-a-scheduler.md: a package built of its blocks keeps the contract, as the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOY = ROOT / "examples" / "toyscheduler"
PAGE = (ROOT / "docs" / "add-a-scheduler.md").read_text()
FILES = dict(re.findall(r"^`([^`\n]+)`\n\n```\w+\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
DIALECT = [f"jobtree_toy/{part}.py" for part in ("tables", "settings", "parse", "dialect")]
CONFORMANCE = "tests/test_conformance.py::TestToy::test"

BROKEN = {
    "a state is dropped": (
        "jobtree_toy/tables.py",
        '"running": Phase.RUNNING, ',
        "",
        "tests/test_parse.py::test_the_queue",
    ),
    "half an answer is taken for a whole one": (
        "jobtree_toy/parse.py",
        ' or lines[-1] != f"{len(lines) - 2} jobs"',
        "",
        "tests/test_parse.py::test_half_an_answer_tells_nothing",
    ),
    "a kill is taken for success": (
        "jobtree_toy/tables.py",
        "Reason.CANCELLED",
        "Reason.OK",
        f"{CONFORMANCE}_a_kill_of_waiting_jobs",
    ),
    "the exit status is not read": (
        "jobtree_toy/parse.py",
        "exit_status=int(number)",
        "exit_status=0",
        f"{CONFORMANCE}_exit_status_is_told",
    ),
    "the output is dropped": (
        "jobtree_toy/dialect.py",
        'request.output or "/dev/null"',
        '"/dev/null"',
        f"{CONFORMANCE}_output_is_appended",
    ),
    "the scheduler's own variables are handed on": (
        "jobtree_toy/dialect.py",
        '    scrubbed = ("TOY_",)',
        "    scrubbed = ()",
        f"{CONFORMANCE}_variables_given_arrive_whatever_their_names",
    ),
    "tasks are counted from another number": (
        "jobtree_toy/dialect.py",
        'request.index("TOY_TASK", self.ids.first_task)',
        'request.index("TOY_TASK")',
        f"{CONFORMANCE}_an_array_of_50_knows_its_indices",
    ),
}
"""File, what stands there, what instead, and the case that has to find it."""


def write(repository: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_text(text)
    return repository


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that has jobTree, and the page's package installed."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    ours = sysconfig.get_path("purelib")
    (site / "ours.pth").write_text(f"{ROOT}\nimport site; site.addsitedir({ours!r})\n")
    package = write(home / "package", FILES)
    pip = [sys.executable, "-m", "pip", "--python", f"{home}/bin/python", "install", "--quiet"]
    alone = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*pip, *alone, str(package)], check=True)
    return home / "bin" / "python"


@pytest.fixture
def env(python: Path, tmp_path: Path, no_stray_processes: None) -> dict[str, str]:
    """Return the environment of somebody who follows the page."""
    return {
        "PATH": f"{python.parent}:{TOY}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TOY_HOME": str(tmp_path / "toy"),
        "JOBTREE_TEST_TMP_PATH": os.environ["JOBTREE_TEST_TMP_PATH"],
    }


def run(repository: Path, env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=repository, env=env, capture_output=True, text=True, check=False, timeout=600
    )


def plain(answers: str) -> str:
    """Return answers without what differs from day to day: times, and how long jobs ran."""
    return re.sub(r"TIME\|\d+\|", "TIME|SECONDS|", re.sub(r"\d{10}", "TIME", answers))


def test_the_answers_are_what_the_toy_prints(tmp_path: Path, env: dict[str, str]):
    repository = write(tmp_path / "repository", FILES)
    captured = run(repository, env, "sh", "capture.sh")
    assert captured.stderr == ""
    assert plain(captured.stdout) == plain(FILES["tests/data/answers.txt"])


def test_the_package_keeps_the_contract_and_the_doctor_is_content(
    tmp_path: Path, env: dict[str, str]
):
    repository = write(tmp_path / "repository", FILES)
    site = ("python", "-m", "jobtree", "site")
    with ThreadPoolExecutor() as pool:  # both mostly wait
        doctor = pool.submit(
            run, repository, env, *site, "doctor", "--quick", "--site", "site.toml"
        )
        ran = run(repository, env, "python", "-m", "pytest", "-p", "no:cacheprovider", "-rs")
        checked = run(repository, env, *site, "check", "site.toml")
    assert ran.returncode == 0, ran.stdout
    told = re.search(r"\b(\d+ passed) in", ran.stdout)
    assert told is not None, ran.stdout
    assert told[1] in PAGE
    assert checked.returncode == 0, checked.stdout + checked.stderr
    seen = doctor.result()
    assert seen.returncode == 0, seen.stdout + seen.stderr
    assert re.search(r"^array of 10 +passed", seen.stdout, re.MULTILINE)


@pytest.mark.parametrize("what", BROKEN)
def test_a_block_that_is_broken_is_found(tmp_path: Path, env: dict[str, str], what: str):
    path, whole, broken, case = BROKEN[what]
    assert whole in FILES[path]
    files = {**FILES, path: FILES[path].replace(whole, broken)}
    repository = write(tmp_path / "repository", files)
    ran = run(repository, env, "python", "-m", "pytest", "-p", "no:cacheprovider", "-rf", case)
    assert ran.returncode == 1, ran.stdout
    assert f"FAILED {case}" in ran.stdout


def test_a_wrong_key_of_the_site_file_is_told(tmp_path: Path, env: dict[str, str]):
    site = FILES["site.toml"].replace("priority = 1", "priorty = 1")
    repository = write(tmp_path / "repository", {**FILES, "site.toml": site})
    told = run(repository, env, "python", "-m", "jobtree", "site", "check", "site.toml")
    assert told.returncode != 0
    assert "did you mean 'priority'?" in told.stderr


def test_the_four_files_are_as_short_as_the_page_says():
    lines = sum(len(FILES[path].splitlines()) for path in DIALECT)
    assert f"four files, with {lines} lines in all" in PAGE
    assert lines <= 250


def test_the_blocks_are_as_the_project_writes_code(tmp_path: Path):
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        pytest.skip("ruff is not installed")
    repository = write(tmp_path, {**FILES, "pyproject.toml": (ROOT / "pyproject.toml").read_text()})
    for words in (("format", "--diff"), ("check", "--ignore", "D,INP001,PT,S101,I001")):
        ran = run(repository, {"PATH": "/usr/bin:/bin"}, ruff, *words, "jobtree_toy", "tests")
        assert ran.returncode == 0, ran.stdout + ran.stderr
