"""The site's setup in a job's script: what it exports is kept, and a line that fails is told."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from batchsystems.common.jobscript import launch_words, reread_launch, setup_lines
from batchsystems.interface import JobEnd, Reason

SHELLS = [shell for shell in ("/bin/sh", "/bin/dash", "/bin/bash") if shutil.which(shell)]

pytestmark = pytest.mark.parametrize("shell", SHELLS)


def run(shell: str, setup: Sequence[str], private: str | None = None) -> tuple[int, str, str]:
    lines = [f"#!{shell}", *setup_lines(setup, '"$((1 + 2))"', private), "exec /usr/bin/env"]
    done = subprocess.run(
        [shell, "-s"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin"},
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "setup",
    [
        ["export A=1"],
        ["A=1", "export A"],
        ["if true", "then", "    export A=1", "fi"],
        ["f() {", "    export A=$1", "}", "f 1"],
        ["false ||", "export A=1"],
        ["export A=\\", "1"],
        ["cat <<END >/dev/null", "$(false)", "END", "export A=1"],
        ["# what a comment says", "", "export A=1", "# no more"],
        ["nosuch load x || true", "export A=1"],
        ["set -e", "set -u", "export A=1"],
        ["set -a", "A=1"],
        ["case x in", "x) export A=1 ;;", "esac"],
        ["A='", "'; export A; A=1"],
    ],
)
def test_what_it_exports_is_kept(shell: str, setup: list[str]) -> None:
    status, env, errors = run(shell, setup)
    assert status == 0, errors
    assert "\nA=1\n" in f"\n{env}"
    assert "batchsystems" not in env


@pytest.mark.parametrize(
    ("setup", "line", "status", "words"),
    [
        (["nosuch load x"], 1, 127, "not found"),
        (["export A=1", "false", "export B=1"], 2, 1, ""),
        ([". /nosuch/profile.sh"], 1, None, "/nosuch/profile.sh"),
        (["exit 0"], 1, 0, ""),
        (["set -u", 'echo "$nosuch"'], 2, None, "nosuch"),
        (["set -e", "f() { false; true; }", "f"], 3, 1, ""),
        (["echo 'not closed"], 1, None, ""),
        (["if true", "then", "false", "fi"], 4, 1, ""),
    ],
)
def test_a_line_that_fails_is_told(
    shell: str, setup: list[str], line: int, status: int | None, words: str
) -> None:
    code, env, errors = run(shell, setup)
    if setup[0] == "set -e":  # under `||`, where the line stands, it has no say
        assert code == 0
        return
    assert (code, env) == (126, "")
    told = launch_words(errors, 3)
    assert told.startswith(f"worker.setup, line {line}, ended with status")
    assert status is None or f"status {status}: " in told
    assert words in told
    assert launch_words(errors, 2) == ""


def test_it_starts_with_what_is_private(shell: str, tmp_path: Path) -> None:
    private = tmp_path / "it's private"
    private.write_text("export TOKEN='a b'\n")
    status, env, _ = run(shell, ['export GOT="$TOKEN"'], str(private))
    assert (status, "GOT=a b\n" in env) == (0, True)


def test_what_is_private_and_not_to_be_seen_is_the_nodes_failure(
    shell: str, tmp_path: Path
) -> None:
    status, _, errors = run(shell, ["export A=1"], f"{tmp_path}/nowhere")
    assert status == 70
    assert launch_words(errors, 3) == f"{tmp_path}/nowhere is not to be read on this node"


def test_a_job_that_ends_so_by_itself_was_launched(shell: str) -> None:
    _, _, errors = run(shell, ["false"])
    failed = JobEnd(Reason.FAILED, exit_status=126)
    assert reread_launch(failed, 3, errors).reason is Reason.LAUNCH_FAILED
    assert reread_launch(failed, 3, "sh: ./x: Permission denied") == failed
    assert reread_launch(JobEnd(Reason.FAILED, exit_status=1), 3, errors).reason is Reason.FAILED
