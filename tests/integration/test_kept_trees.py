"""Trees that an earlier version has made are told of, and finished.

Owns what is expected of the trees in tests/data/trees; the script make.sh beside them has made
them, of workflows/kept.py, by a version whose modules stood elsewhere.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.killing import ROOT, WORKFLOWS, Ended, assert_complete, python, run
from tests.integration.namespaces import bent
from tests.integration.test_takeover import MASTERS
from tests.integration.workflows import kept

pytestmark = pytest.mark.usefixtures("no_stray_processes")

ENDED = {
    *("root", "opener", "branch", "chain-1", "chain-2", "shell-late", "published-late"),
    *(*kept.EARLY, *kept.SHORT[3:]),
}
"""What had ended when the half-finished tree was killed: chain-2 unknown to its master."""

REDONE = 4
"""So many steps were running."""


class Kept:
    """A copy of a kept tree; its master ran on a machine that cannot be seen from here."""

    def __init__(self, name: str, home: Path) -> None:
        data = ROOT / "tests" / "data" / "trees" / f"{name}.tar.gz"
        subprocess.run(["tar", "-xpzf", data, "--no-same-owner", "-C", home], check=True)
        self.home, self.tree, self.log = home, home / "tree", home / "log"

    def told(self, verb: str, *more: str) -> str:
        """Return what a command that looks prints."""
        found = subprocess.run(
            bent(verb, *more, self.tree), cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, found.stderr
        return found.stdout

    def data(self, verb: str, *more: str) -> Any:
        return json.loads(self.told(verb, *more, "--json"))

    def go_on(self) -> Ended:
        """Start the script again."""
        script = WORKFLOWS / "kept.py"
        return run(python(MASTERS, "--stale", "1", script, "--jobTree", self.tree), self.log)

    def audit(self) -> Counter[str]:
        return Counter((self.home / "audit").read_text().split())

    def result(self) -> list[str]:
        return (self.home / "result").read_text().split()


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[str], Kept]:
    return lambda name: Kept(name, tmp_path)


def test_a_finished_tree_is_told_of_and_says_that_it_is_finished(
    tree: Callable[[str], Kept],
) -> None:
    kept_tree = tree("finished")
    found = kept_tree.data("status")
    assert (found["state"], found["remaining"], found["failures"]) == ("done", 0, [])
    assert {name: known["done"] for name, known in found["classes"].items()} == {
        "Held": 4,
        "Link": 4,
        "Opener": 1,
        "Publisher": 2,
        "Reader": 1,
        "Root": 1,
        "Step": 14,
        "Sum": 1,
        "echo": 4,
        "function": 3,
        "sed": 1,
    }
    assert ": done\n" in kept_tree.told("status")
    figures = kept_tree.data("stats")
    assert (figures["run"]["count"], figures["run"]["failed"]) == (len(kept.NAMES), 0)
    assert figures["classes"]["Link"]["estimated"]["max"] == kept.LONG_S
    assert "root prints" in kept_tree.told("logs", "1")
    assert "no node is left out" in kept_tree.told("nodes")
    ended = kept_tree.go_on()
    assert "all done" in ended.said
    assert_complete(kept_tree.tree, ended)
    assert kept_tree.audit() == Counter(kept.NAMES)


def test_a_half_finished_tree_is_told_of(tree: Callable[[str], Kept]) -> None:
    kept_tree = tree("half")
    found = kept_tree.data("status")
    assert found["state"] == "interrupted"
    assert found["colours"] == {"white": 2, "grey": 7, "blue": 3, "black": 0, "red": 1}
    assert found["classes"]["Step"]["done"] == 10
    (failure,) = found["failures"]
    assert (failure["class"], failure["attempt"]) == ("Reader", 1)
    assert "No such file or directory: 'input'" in failure["why"]
    assert "a restart takes them over" in kept_tree.told("status")
    figures = kept_tree.data("stats")
    assert (figures["run"]["failed"], figures["run"]["lost"]) == (1, 0)
    assert figures["classes"]["Reader"]["failed"]["count"] == 1
    said = kept_tree.told("logs", str(failure["job"]))
    assert 'Path("input").read_text()' in said
    assert "no node is left out" in kept_tree.told("nodes")


def test_a_half_finished_tree_is_finished_and_no_step_that_had_ended_runs_again(
    tree: Callable[[str], Kept],
) -> None:
    kept_tree = tree("half")
    assert kept_tree.audit() == Counter(ENDED)
    assert_names_of_before(kept_tree.tree)
    for name in ("go", "late", "input"):
        (kept_tree.home / name).touch()
    ended = kept_tree.go_on()
    assert_complete(kept_tree.tree, ended)
    assert kept_tree.audit() == Counter(kept.NAMES)
    assert kept_tree.result() == sorted(set(kept.NAMES) - {"sum"})
    assert (kept_tree.home / "tally").read_text() == "chain-1 chain-2 chain-3 chain-4"
    figures = kept_tree.data("stats")["run"]
    assert (figures["count"], figures["failed"]) == (len(kept.NAMES), 1)
    assert figures["lost"] == REDONE


def assert_names_of_before(tree: Path) -> None:
    """Fail if nothing in a tree names what is to be found though it may stand elsewhere now."""
    pickled = b"".join(path.read_bytes() for path in (tree / "bundles").iterdir())
    for name in (b"jobtree.target", b"Node", b"FunctionTarget", b"__main__", b"Tally"):
        assert bytes((0x8C, len(name))) + name in pickled, name
