"""A master lives on, whoever looks at its tree from where its process cannot be seen.

Owns what is asked and done from there; the places are in namespaces.py. Read next:
docs/decisions/0010-who-a-holder-is.md.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from jobtree.store import lease
from jobtree.store.holder import Holder
from tests.integration.killing import LONGEST_S, Ended, assert_complete, jobtree, python, run
from tests.integration.namespaces import CONTAINER, KINDS, Place, bent
from tests.integration.test_takeover import ALL, FLOW, MASTERS

pytestmark = pytest.mark.usefixtures("no_stray_processes")


class Scene:
    """A tree whose master runs here, and a place from which it cannot be seen."""

    def __init__(self, kind: str, home: Path) -> None:
        home.mkdir()
        self.place, self.home, self.tree = Place(kind, home), home, home / "tree"
        if reason := self.place.why_not():
            pytest.skip(reason)
        (home / "flow.py").write_text(FLOW)
        os.mkfifo(home / "gate")
        if self.place.user is not None:
            for path in (home, home / "gate"):
                os.chown(path, self.place.user, self.place.user)

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a master, and return when its first child waits at the gate."""
        with (self.home / "master").open("ab") as out:
            master = subprocess.Popen(
                argv, stdout=out, stderr=out, start_new_session=True, **self.place.terms(self.home)
            )
        self.gate = os.open(self.home / "gate", os.O_WRONLY)
        return master

    def start_here(self) -> subprocess.Popen[bytes]:
        return self.start(self._by_python(self.master()))

    def master(self) -> list[str]:
        return python(MASTERS, "--renew", "1", self.home / "flow.py", "--jobTree", self.tree)

    def _by_python(self, argv: Sequence[str]) -> list[str]:
        return [str(self.place.python), *argv[1:]]

    def there(self, argv: Sequence[str]) -> Ended:
        """Run a command from where the master cannot be seen."""
        done = self.place.run(self._by_python(argv), self.home)
        return Ended(done.returncode, done.stdout.decode(errors="replace"))

    def holder(self) -> Holder:
        found = lease.latest(str(self.tree))
        assert found is not None
        return found

    def let_go(self) -> None:
        """Let children end, those that wait and those to come."""
        os.unlink(self.home / "gate")
        (self.home / "gate").touch()
        os.close(self.gate)

    def said(self) -> str:
        return (self.home / "master").read_text()

    def ran(self) -> list[str]:
        return sorted((self.home / "ran").read_text().split())


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that an ordinary user may reach, too."""
    folder = Path(tempfile.mkdtemp(prefix="jobtree-namespaces-"))
    folder.chmod(0o755)
    yield folder / "home"
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_what_looks_from_elsewhere_is_answered_and_ends_no_master(kind: str, home: Path) -> None:
    scene = Scene(kind, home)
    master = scene.start_here()
    before = scene.holder()
    for verb, told in (
        (jobtree("status", scene.tree), "running, by process"),
        (bent("status", scene.tree), "running, by process"),
        (jobtree("stats", scene.tree), "Root"),
        (jobtree("nodes", scene.tree), "no node is left out"),
        (jobtree("logs", "1", scene.tree), "job 1"),
    ):
        ended = scene.there(verb)
        assert (ended.status, told in ended.said) == (0, True), ended.said
    refused = scene.there(jobtree("clean", scene.tree, "--yes"))
    assert (refused.status, "JT308" in refused.said) == (5, True), refused.said
    refused = scene.there(jobtree("restart", scene.tree))
    assert (refused.status, "JT302" in refused.said) == (5, True), refused.said
    assert "watching its lease" in refused.said
    assert master.poll() is None
    assert scene.holder()._replace(renewed=0) == before._replace(renewed=0)
    scene.let_go()
    assert master.wait(LONGEST_S) == 0, scene.said()
    assert scene.ran() == ALL
    assert not list(scene.tree.glob("tree.*.db"))


@pytest.mark.parametrize("kind", KINDS)
def test_kill_from_elsewhere_is_the_masters_own_doing(kind: str, home: Path) -> None:
    scene = Scene(kind, home)
    master = scene.start_here()
    ended = scene.there(jobtree("kill", scene.tree))
    assert (ended.status, "killed" in ended.said) == (0, True), ended.said
    assert master.wait(LONGEST_S) != 0
    assert scene.holder().epoch == 1
    scene.let_go()
    gone = scene.there(jobtree("clean", scene.tree, "--yes"))
    assert (gone.status, "deleted" in gone.said) == (0, True), gone.said
    assert not scene.tree.exists()


def test_a_stopped_master_elsewhere_keeps_its_tree_whatever_looks(home: Path) -> None:
    scene = Scene(CONTAINER, home)
    master = scene.start_here()
    os.kill(master.pid, signal.SIGSTOP)
    for verb in ("status", "stats", "nodes"):
        ended = scene.there(bent(verb, scene.tree))
        assert ended.status == 0, ended.said
        assert "did not answer" in ended.said
    assert "running, by" not in scene.there(bent("status", scene.tree)).said
    os.kill(master.pid, signal.SIGCONT)
    scene.let_go()
    assert master.wait(LONGEST_S) == 0, scene.said()
    assert scene.holder().epoch == 1
    assert scene.ran() == ALL


def start_in_container(scene: Scene) -> subprocess.Popen[bytes]:
    return scene.start(scene.place.argv(scene.master()))


def end_container(master: subprocess.Popen[bytes]) -> None:
    """End the container's first process: the kernel kills the others."""
    master.kill()
    master.wait()


def test_a_tree_whose_container_was_killed_is_taken_over_into_a_copy(home: Path) -> None:
    scene = Scene(CONTAINER, home)
    end_container(start_in_container(scene))
    scene.let_go()
    told = run(bent("stats", scene.tree), home / "stats")
    assert (told.status, "did not answer" in told.said) == (0, True), told.said
    assert scene.holder().epoch == 1
    ended = run(bent("restart", scene.tree), home / "restart")
    assert "watching its lease" in ended.said
    assert_complete(scene.tree, ended)
    found = scene.holder()
    assert (found.epoch >= 2, found.database) == (True, "tree.2.db")
    assert set(scene.ran()) == set(ALL)
    assert not list(scene.tree.glob("*~*"))


def test_kill_and_clean_get_at_a_tree_whose_container_was_killed(home: Path) -> None:
    scene = Scene(CONTAINER, home)
    end_container(start_in_container(scene))
    scene.let_go()
    killed = run(bent("kill", scene.tree), home / "kill")
    assert (killed.status, "no master runs" in killed.said) == (0, True), killed.said
    cleaned = run(bent("clean", "--yes", scene.tree), home / "clean")
    assert (cleaned.status, "deleted" in cleaned.said) == (0, True), cleaned.said
