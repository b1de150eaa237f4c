"""The layers of pyproject.toml bite: a forbidden import, planted in a copy, breaks its contract."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT_IMPORTS = Path(sysconfig.get_path("scripts")) / "lint-imports"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the two packages, and of the contracts, to plant imports into."""
    for package in ("jobtree", "batchsystems"):
        ignore = shutil.ignore_patterns("__pycache__", "data")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignore)
        (tmp_path / package / "__init__.py").touch()  # else an installed copy is merged in
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(directory: Path) -> tuple[int, str]:
    """Run lint-imports as `make layers` does; return its exit status and what it said."""
    env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(
        [LINT_IMPORTS, "--no-logo", "--no-cache"],
        cwd=directory,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def plant(file: Path, line: str) -> None:
    """Append an import to a module, which is made if it is not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as module:
        module.write(f"\n{line}\n")


def test_the_packages_keep_every_contract(copy: Path) -> None:
    status, said = lint(copy)
    assert status == 0, said
    assert "0 broken" in said


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("jobtree/core/job_states.py", "import time", "the core touches no world"),
        ("jobtree/core/job_states.py", "import os", "the core touches no world"),
        ("jobtree/core/issue_states.py", "import os.path", "the core touches no world"),
        (
            "jobtree/core/rescue.py",
            "from datetime import datetime",
            "the core touches no world",
        ),
        (
            "jobtree/core/packing.py",
            "def f():\n    import random",
            "the core touches no world",
        ),
        ("jobtree/core/job.py", "import logging", "the core touches no world"),
        ("jobtree/core/job_states.py", "import jobtree.mailbox.files", "jobtree imports downward"),
        ("jobtree/core/rescue.py", "import jobtree.core.job_states", "within the core"),
        ("jobtree/core/packing.py", "import batchsystems.interface", "the core touches no world"),
        ("jobtree/store/store.py", "import jobtree.master.loop", "jobtree imports downward"),
        ("jobtree/mailbox/claims.py", "import jobtree.store.store", "jobtree imports downward"),
        ("jobtree/worker/main.py", "import psutil", "the worker starts light"),
        ("jobtree/worker/main.py", "import batchsystems.interface", "the worker starts light"),
        ("batchsystems/interface.py", "import jobtree", "batchsystems never imports jobtree"),
        ("batchsystems/slurm.py", "import jobtree.core.job", "batchsystems never imports jobtree"),
        ("batchsystems/slurm.py", "import batchsystems.sge", "no adapter imports another"),
    ],
)
def test_a_planted_import_breaks_its_contract(
    copy: Path, module: str, line: str, contract: str
) -> None:
    for planned in (
        "jobtree/errors.py",
        "jobtree/mailbox/__init__.py",
        "jobtree/master/loop.py",
        "jobtree/store/store.py",
        "jobtree/core/job_states.py",
        "batchsystems/sge.py",
    ):
        plant(copy / planned, "")
    plant(copy / module, line)

    status, said = lint(copy)

    assert status == 1, said
    broken = [row for row in said.splitlines() if " BROKEN" in row]
    assert any(contract in row for row in broken), said


def test_a_module_without_a_layer_is_refused(copy: Path) -> None:
    plant(copy / "jobtree/utils.py", "")

    status, said = lint(copy)

    assert status == 1, said
    assert "utils" in said


def test_a_worker_loads_nothing_heavy() -> None:
    if not (ROOT / "jobtree/worker/main.py").exists():
        pytest.skip("jobtree/worker/main.py is not written yet")
    heavy = (
        "psutil",
        "rich",
        "sqlite3",
        "asyncio",
        "batchsystems.interface",
        "jobtree.master.loop",
    )
    program = f"import sys, jobtree.worker; print(*[m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_named_tuples_compile_nothing_at_every_start() -> None:
    """An annotation that is text is compiled when its class is made: a worker has a hundred of
    them. So modules with named tuples go without `from __future__ import annotations`."""
    program = """
import sys, typing
import jobtree.payload.serialize, jobtree.worker.main, jobtree.workflow
for name, module in sys.modules.items():
    for kind in vars(module).values() if name.startswith("jobtree") else ():
        if isinstance(kind, type) and hasattr(kind, "_fields"):
            fields = kind.__annotations__.values()
            if any(isinstance(field, typing.ForwardRef) for field in fields):
                print(f"{kind.__module__}.{kind.__name__}")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
