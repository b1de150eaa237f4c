"""The saved environment: complete, private, and second to what belongs to the node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobtree.errors import StoreError
from jobtree.payload.context import scratch_on_node
from jobtree.payload.environment import (
    Environment,
    belongs_to_node,
    capture,
    drop_earlier,
    keep_earlier,
    load,
    save,
    step_environ,
)
from jobtree.payload.shell_environment import SETUP_MARK, shell_lines, with_submission

SAVED = Environment({"A": "1", "B\udcff": "\udcfe"}, "/d", 0o27, ["/p"], "/s.py", "", "/python")


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save(str(tmp_path), SAVED)
    assert load(str(tmp_path)) == SAVED
    assert (tmp_path / "environment.json").stat().st_mode & 0o777 == 0o600


def test_what_was_replaced_is_found_by_those_who_were_submitted_with_it(tmp_path: Path) -> None:
    tree, first = str(tmp_path), capture()
    known = save(tree, first)
    second = first._replace(environ={"ONE": "two"})
    keep_earlier(tree, known)
    save(tree, second)
    assert load(tree, known) == first
    assert load(tree, f"{known} {second.digest()}") == second
    drop_earlier(tree)
    with pytest.raises(StoreError, match="is not what was written"):
        load(tree, known)


def test_what_others_could_have_written_is_refused(tmp_path: Path) -> None:
    save(str(tmp_path), SAVED)
    (tmp_path / "environment.json").chmod(0o620)
    with pytest.raises(StoreError):
        load(str(tmp_path))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '"x"'])
def test_damage_is_a_value_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "environment.json"
    path.touch(0o600)
    path.write_text(content)
    with pytest.raises(ValueError, match=r"."):
        load(str(tmp_path))


def test_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOME", "thing")
    monkeypatch.setattr(sys, "path", ["", "lib", "/abs"])
    old = os.umask(0o037)
    try:
        found = capture()
    finally:
        assert os.umask(old) == 0o037
    assert (found.environ["SOME"], found.directory, found.umask) == ("thing", str(tmp_path), 0o37)
    assert found.sys_path == [f"{tmp_path}/", f"{tmp_path}/lib", "/abs"]
    assert found.python == sys.executable


@pytest.mark.parametrize(
    ("arguments", "path", "module"),
    [
        (["flow.py"], "flow.py", ""),
        (["-m", "flow"], "flow.py", "flow"),
        (["-m", "pkg"], "pkg/__main__.py", "pkg.__main__"),
        (["-c", "import flow; flow.show()"], "", ""),
    ],
)
def test_where_the_script_is(tmp_path: Path, arguments: list[str], path: str, module: str) -> None:
    text = (
        "import json\nfrom jobtree.payload.environment import main_script\n"
        "def show(): print(json.dumps(main_script()))\n"
        "if __name__ == '__main__': show()\n"
    )
    (tmp_path / "pkg").mkdir()
    for name in ("flow.py", "pkg/__main__.py"):
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [str(tmp_path / path) if path else "", module]


def test_the_node_wins_where_it_is_at_home() -> None:
    saved = {"HOME": "/me", "TMPDIR": "/login", "SLURM_JOB_ID": "1", "CUDA_VISIBLE_DEVICES": "0"}
    node = {"HOME": "/other", "TMPDIR": "/node", "SLURM_TASK_PID": "2", "JOB_ID": "9", "X": "y"}
    assert step_environ(saved, node) == {
        "HOME": "/me",
        "TMPDIR": "/node",
        "SLURM_TASK_PID": "2",
        "JOB_ID": "9",
    }


@pytest.mark.parametrize("name", ["TMP", "HOST", "SGE_ROOT", "PBS_O", "LSB_JOBID", "NSLOTS"])
def test_names_of_the_node(name: str) -> None:
    assert belongs_to_node(name)


@pytest.mark.parametrize("name", ["PATH", "HOME", "LANG", "SBATCH_ACCOUNT", "MY_JOB_ID", "TMPX"])
def test_names_of_the_user(name: str) -> None:
    assert not belongs_to_node(name)


@pytest.mark.parametrize(
    ("wanted", "node", "found"),
    [
        ("", {"TMPDIR": "/a", "TMP": "/b"}, "/a"),
        ("", {"TMP": "/b"}, "/b"),  # all that Grid Engine gives to root's jobs
        ("", {}, "/tmp"),
        ("$TMPDIR/x", {"TMPDIR": "/a"}, "/a/x"),
        ("$NOWHERE", {"TMP": "/b"}, "/b"),
    ],
)
def test_local_directories_are_made_where_the_node_says(
    monkeypatch: pytest.MonkeyPatch, wanted: str, node: dict[str, str], found: str
) -> None:
    for name in ("TMPDIR", "TMP", "NOWHERE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in node.items():
        monkeypatch.setenv(name, value)
    assert scratch_on_node(wanted) == found


# ---- on its way to a node -----------------------------------------------------------------

TWO_LINES = "it's $HOME `x`\n\\ "
FUNCTION = {"BASH_FUNC_module%%": '() {  echo "module $1\'s"\n}'}


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_shell_lines_are_the_environment_again(tmp_path: Path, shell: str) -> None:
    given = {"A": TWO_LINES, "B": "", "B\udcff": "x", "PWD": "/nowhere", "IFS": "x"}
    lines = tmp_path / "environment.sh"
    lines.write_bytes(shell_lines(given | FUNCTION))
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    show = f". {lines}; exec {sys.executable} -c '{program}'"
    done = subprocess.run([shell, "-euc", show], capture_output=True, check=True, env={})
    found = json.loads(done.stdout)
    assert (found["A"], found["B"], found[SETUP_MARK]) == (TWO_LINES, "", "whole")
    assert found.get("PWD") != "/nowhere"
    assert "IFS" not in found
    if shell == "/bin/bash":
        said = subprocess.run(
            [shell, "-c", f". {lines}; module it"], capture_output=True, check=True
        )
        assert said.stdout == b"module it's\n"


def test_what_a_setup_has_made_of_it_wins() -> None:
    saved = {"A": "1", "B": "1", "PWD": "/home", "BASH_FUNC_f%%": "() { :; }", "TMPDIR": "/old"}
    node = {"A": "2", "C": "3", "PWD": "/spool", "SLURM_JOB_ID": "7", SETUP_MARK: "whole"}
    assert step_environ(saved, node) == {
        "A": "2",  # B was unset
        "C": "3",
        "PWD": "/home",
        "BASH_FUNC_f%%": "() { :; }",
        "SLURM_JOB_ID": "7",
    }


def test_a_setup_that_began_with_a_part_of_it_is_no_ground_to_stand_on() -> None:
    with pytest.raises(ValueError, match=r"environment\.sh is damaged"):
        step_environ({}, {SETUP_MARK: "begun"})


def test_what_goes_with_a_submission_is_no_secret() -> None:
    kept = {"PATH": "/bin", "LD_LIBRARY_PATH": "/lib", "LC_ALL": "C", "HOME": "/h"}
    assert with_submission(kept | {"MY_TOKEN": "x", "AWS_SECRET": "y", "A": "1"}) == kept


def test_the_lines_of_shell_are_private(tmp_path: Path) -> None:
    save(str(tmp_path), SAVED)
    assert (tmp_path / "environment.sh").stat().st_mode & 0o777 == 0o600
