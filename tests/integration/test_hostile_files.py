"""Hostile files: a tree that others altered, or could alter, is refused and never loaded.

Owns links, owners, modes, pickles and results put in by somebody else; must not damage a tree as
accidents do. Read next: test_tree_faults.py, which does.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.killing import Ended, assert_complete, jobtree, python, run
from tests.integration.places import CANARY, Place

pytestmark = pytest.mark.usefixtures("no_stray_processes")

PAYLOAD = f"""
import argparse, os, sys
from jobtree import Stack, Target
class Root(Target):
    def run(self):
        self.addChildTarget(Child())
class Child(Target):
    def run(self):
        if not os.path.exists("mended"):
            raise ValueError("not yet")
        open("ran", "w").close()
class Canary:
    def __reduce__(self):
        return os.mknod, ({CANARY!r},)
if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    Stack.addJobTreeOptions(parser)
    sys.exit(min(1, Stack(Root()).startJobTree(parser.parse_args())))
"""


@pytest.fixture
def failed(tmp_path: Path) -> Place:
    """A tree that waits for a restart to run its last job."""
    place = Place(tmp_path / "home")
    place.script.write_text(PAYLOAD)
    ended = run(python(place.script, "--jobTree", place.tree), place.home / "log")
    assert ended.status == 1, ended.said
    (place.home / "mended").touch()
    return place


def restart(place: Place) -> Ended:
    return run(jobtree("restart", place.tree, "--rescueCount", "1"), place.home / "log")


def refused(place: Place, code: str, status: int = 5) -> None:
    ended = restart(place)
    assert ended.status == status, ended.said
    assert code in ended.said, ended.said
    assert not re.search("^Traceback", ended.said, re.M), ended.said
    place.no_canary()
    assert not (place.home / "ran").exists()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
TRUSTED = (
    *("tree.db", "environment.json", "jobtree.json", "orders", "results", "bundles", "claims"),
    *("directories", "control", "leases", "logs", "batch", "fences"),
)


@pytest.mark.parametrize("name", TRUSTED)
def test_a_symlink_in_the_tree_is_refused(failed: Place, name: str) -> None:
    real, elsewhere = failed.tree / name, failed.home / "elsewhere"
    real.rename(elsewhere)
    real.symlink_to(elsewhere)
    refused(failed, "JT330")


@needs_root
@pytest.mark.parametrize("name", TRUSTED)
def test_what_another_user_owns_is_refused(failed: Place, name: str) -> None:
    os.chown(failed.tree / name, 12345, 12345)
    refused(failed, "JT330")


@pytest.mark.parametrize("name", TRUSTED)
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_what_others_may_write_is_refused(failed: Place, name: str, mode: int) -> None:
    path = failed.tree / name
    path.chmod(path.stat().st_mode | mode)
    refused(failed, "JT330")


def test_a_place_where_anybody_may_write_is_refused(failed: Place) -> None:
    failed.home.chmod(0o777)
    refused(failed, "JT330")
    fresh = Place(failed.home, tree="fresh")
    ended = run(python(fresh.script, "--jobTree", fresh.tree), fresh.home / "log")
    assert ended.status == 5
    assert "JT330" in ended.said
    assert not fresh.tree.exists()
    failed.home.chmod(0o1777)
    assert_complete(failed.tree, restart(failed))


def bundle_of(place: Place) -> Path:
    (found,) = (path for path in (place.tree / "bundles").iterdir() if path.name != "root")
    return found


def poison(path: Path, payload: Callable[[], bytes]) -> None:
    content = path.read_bytes()
    path.write_bytes(payload().ljust(len(content), b"."))


def canary_pickle() -> bytes:
    return b"cos\nmknod\n(V" + CANARY.encode() + b"\ntR."


def test_an_altered_pickle_is_refused(failed: Place) -> None:
    poison(bundle_of(failed), canary_pickle)
    refused(failed, "JT331", status=1)


def _owned_by_another(path: Path) -> None:
    os.chown(path, 12345, 12345)


def _writable(path: Path) -> None:
    path.chmod(0o622)


def _linked(path: Path) -> None:
    path.rename(path.parent.parent.parent / "real")
    path.symlink_to(path.parent.parent.parent / "real")


@pytest.mark.parametrize(
    "spoil", [_linked, _writable, pytest.param(_owned_by_another, marks=needs_root)]
)
def test_a_pickle_that_others_could_alter_is_refused(
    failed: Place, spoil: Callable[[Path], None]
) -> None:
    spoil(bundle_of(failed))
    refused(failed, "JT330", status=1)


def test_an_altered_environment_is_refused_and_the_script_writes_a_new_one(
    failed: Place,
) -> None:
    path = failed.tree / "environment.json"
    saved = json.loads(path.read_text())
    evil = failed.home / "evil.py"
    evil.write_text(f"open({CANARY!r}, 'w').close()\n{PAYLOAD}")
    path.write_text(json.dumps(saved | {"main_path": str(evil)}))
    refused(failed, "JT332")
    ended = run(python(failed.script, "--jobTree", failed.tree), failed.home / "log")
    assert_complete(failed.tree, ended)
    failed.no_canary()


def test_results_planted_while_a_tree_runs_are_refused(tmp_path: Path) -> None:
    """A result may name commands: one that leads elsewhere is not read."""
    place = Place(tmp_path / "home")
    body = PAYLOAD.replace('open("ran", "w").close()', "pass").replace(
        'raise ValueError("not yet")',
        """
            from pathlib import Path
            (results,) = Path(sys.argv[0]).parent.glob("tree/results/*")
            results.rename("moved")
            results.symlink_to(os.path.abspath("moved"))
            import time
            time.sleep(3)""",
    )
    place.script.write_text(body)
    ended = run(python(place.script, "--jobTree", place.tree), place.home / "log")
    assert ended.status == 5
    assert "JT330" in ended.said
