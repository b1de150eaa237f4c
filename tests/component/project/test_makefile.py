"""What `make` would do, as it says itself: nothing is installed here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def would_do(tmp_path: Path, target: str, **more: str) -> str:
    """Return the commands of a target in a clone that has no environment yet."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "-n", target, f"VENV={tmp_path}/venv"],
        cwd=ROOT,
        env=plain | more,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_demo_installs_only_what_jobtree_runs_with(tmp_path: Path) -> None:
    demo, test = would_do(tmp_path, "demo"), would_do(tmp_path, "lint")
    assert "--editable ." in demo
    assert "[dev]" not in demo
    assert "--editable '.[dev]'" in test


def test_what_the_demo_left_out_is_installed_later(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / ".jobtree-runs").touch()
    assert "--editable" not in would_do(tmp_path, "demo")
    assert "--editable '.[dev]'" in would_do(tmp_path, "lint")
    (tmp_path / "venv" / ".jobtree-installed").touch()
    assert "--editable" not in would_do(tmp_path, "lint")


def test_a_user_s_settings_of_pip_put_nothing_elsewhere(tmp_path: Path) -> None:
    said = would_do(tmp_path, "lint", PIP_USER="1", PIP_TARGET="/elsewhere")
    assert "PIP_USER=0 PIP_TARGET= PIP_PREFIX= PIP_ROOT= " in said
