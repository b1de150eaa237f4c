"""A secret in a user's environment: it reaches the steps, and nobody else, whatever the scheduler.

Owns the workflow, and where another user looks; must not know a scheduler. Read next: trees.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.live.trees import Tree

NAME, SECRET = "MY_TOKEN", "s3cr3t-0f-the-user"

BODY = f"""
class Root(Target):
    def run(self):
        note("began", batch_id())
        wait_for("go")
        note("token", os.environ.get("{NAME}", "-"))
        note("setup", os.environ.get("GREETING", "-"))
        note("setup", os.environ["PATH"].partition(":")[0])
        self.addChildCommand('echo "$GREETING ${{PATH%%:*}} ${NAME}" >>shell')
"""

SETUP = ["greet() { export GREETING=hello-$1; }", f"greet ${NAME}", "export PATH=/opt/x:$PATH"]


def run_with_a_secret(
    tree: Tree,
    monkeypatch,
    look: Callable[[str], str],
    places: list[Path],
    reader: str,
) -> None:
    """Run a tree whose master has a secret; see that only its steps do.

    look: what the scheduler says of a batch job. places: where it keeps things. reader: another
    user.
    """
    monkeypatch.setitem(tree.lab.env, NAME, SECRET)
    tree.write(BODY)
    master = tree.start()
    (job,) = tree.wait_for_lines("began", 1)
    monkeypatch.delitem(tree.lab.env, NAME)
    shown = look(job)
    assert shown
    assert SECRET not in shown
    assert not any(SECRET in line for line in command_lines())
    found = tree.lab.run("grep", "-rls", SECRET, *map(str, places), user=reader, check=False).stdout
    assert not found.strip(), "for everybody to read"
    tree.open("go")
    tree.assert_done(master.end())
    assert tree.lines("token") == [SECRET]
    assert tree.lines("setup") == [f"hello-{SECRET}", "/opt/x"]
    assert tree.lines("shell") == [f"hello-{SECRET}", "/opt/x", SECRET]


def command_lines() -> list[str]:
    """Return what `ps` shows of every process."""
    lines = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with suppress(OSError):
                lines.append(Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace"))
    return lines


def assert_setup_is_told(tree: Tree) -> None:
    """Run a tree whose site's setup has a line that fails; see it told, and charged to no step."""
    tree.write("class Root(Target):\n    def run(self):\n        note('ran', 'x')\n")
    said = tree.run("--rescueCount", "1", code=1)
    assert said.count("its worker ended before it began (launch failed") >= 2
    assert "worker.setup, line 2, ended with status 127: nosuch load python" in said
    assert "not found" in said
    assert tree.lines("ran") == []
