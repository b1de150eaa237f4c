"""The layers of pyproject.toml bite: a forbidden import, planted in a copy, breaks its contract."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[3]
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


DOWNWARD = "jobtree imports downward"
CORE = "within the core, imports run downward"
MASTER = "within the master, imports run downward"
STORE = "within the store, imports run downward"
PURE = "the core touches no world"
LIGHT = "the worker starts light"
ALONE = "batchsystems never imports jobtree"
ADAPTERS = "no adapter imports another"
WORDS = "drmaa uses of other schedulers their words alone"
PYTEST = "only the conformance suite knows pytest"


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("jobtree/core/job_states.py", "import time", PURE),
        ("jobtree/core/job_states.py", "import os", PURE),
        ("jobtree/core/issue_states.py", "import os.path", PURE),
        ("jobtree/core/rescue.py", "from datetime import datetime", PURE),
        ("jobtree/core/packing.py", "def f():\n    import random", PURE),
        ("jobtree/core/brand_new.py", "import logging", PURE),
        ("jobtree/core/packing.py", "import batchsystems.interface", PURE),
        ("jobtree/core/rescue.py", "import jobtree.core.job_states", CORE),
        ("jobtree/master/issue_events.py", "import jobtree.master.dispatch", MASTER),
        ("jobtree/master/brand_new.py", "import jobtree.master.run_state", MASTER),
        ("jobtree/store/rows.py", "import jobtree.store.store", STORE),
        ("jobtree/core/job_states.py", "import jobtree.mailbox.files", DOWNWARD),
        ("jobtree/units.py", "import jobtree.options", DOWNWARD),
        ("jobtree/mailbox/claims.py", "import jobtree.store.store", DOWNWARD),
        ("jobtree/mailbox/files.py", "import jobtree.options", DOWNWARD),
        ("jobtree/options.py", "import jobtree.payload.environment", DOWNWARD),
        ("jobtree/store/store.py", "import jobtree.payload.node", DOWNWARD),
        ("jobtree/payload/serialize.py", "import jobtree.target", DOWNWARD),
        ("jobtree/stats.py", "import jobtree.target", DOWNWARD),
        ("jobtree/store/store.py", "import jobtree.master.loop", DOWNWARD),
        ("jobtree/worker/steps.py", "import jobtree.master.run_state", DOWNWARD),
        ("jobtree/master/dispatch.py", "import jobtree.worker.main", DOWNWARD),
        ("jobtree/master/loop.py", "import jobtree.report.progress", DOWNWARD),
        ("jobtree/report/progress.py", "import jobtree.doctor.runner", DOWNWARD),
        ("jobtree/doctor/runner.py", "import jobtree.workflow", DOWNWARD),
        ("jobtree/stack.py", "import jobtree.cli.main", DOWNWARD),
        ("jobtree/worker/main.py", "import psutil", LIGHT),
        ("jobtree/worker/main.py", "import batchsystems.interface", LIGHT),
        ("jobtree/payload/context.py", "import sqlite3", LIGHT),
        ("batchsystems/interface.py", "import jobtree", ALONE),
        ("batchsystems/slurm/dialect.py", "import jobtree.core.job", ALONE),
        ("batchsystems/slurm/dialect.py", "import batchsystems.sge.tables", ADAPTERS),
        ("batchsystems/slurm/parse.py", "import batchsystems.drmaa.parse", ADAPTERS),
        ("batchsystems/commandline/engine.py", "import batchsystems.slurm.parse", ADAPTERS),
        (
            "batchsystems/singlemachine/spawn.py",
            "import batchsystems.commandline.operation",
            ADAPTERS,
        ),
        ("batchsystems/common/jobscript.py", "import batchsystems.commandline.operation", ADAPTERS),
        ("batchsystems/interface.py", "import batchsystems.registry", ADAPTERS),
        ("batchsystems/transport/local.py", "import batchsystems.site.fields", ADAPTERS),
        ("batchsystems/drmaa/parse.py", "import batchsystems.sge.parse", WORDS),
        ("batchsystems/interface.py", "import pytest", PYTEST),
        ("jobtree/workflow.py", "import batchsystems.conformance.suite", PYTEST),
    ],
)
def test_a_planted_import_breaks_its_contract(
    copy: Path, module: str, line: str, contract: str
) -> None:
    plant(copy / module, line)

    status, said = lint(copy)

    assert status == 1, said
    broken = [row for row in said.splitlines() if " BROKEN" in row]
    assert any(contract in row for row in broken), said


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph("jobtree", "batchsystems", cache_dir=None)
    order = TopologicalSorter(
        {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    )
    order.prepare()  # raises CycleError, which names the modules


def test_a_module_without_a_layer_is_refused(copy: Path) -> None:
    plant(copy / "jobtree/utils.py", "")

    status, said = lint(copy)

    assert status == 1, said
    assert "utils" in said


def test_a_worker_loads_nothing_heavy() -> None:
    heavy = (
        *("psutil", "rich", "sqlite3", "asyncio", "batchsystems.interface"),
        *("jobtree.master.loop", "jobtree.store.store"),
    )
    program = (
        "import sys, jobtree.worker.main, jobtree.worker.steps, jobtree.payload.serialize; "
        f"print(*[m for m in {heavy!r} if m in sys.modules])"
    )
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
