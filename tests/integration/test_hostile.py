"""Hostile names and files: nothing runs that was not asked for, and no secret gets out."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.killing import Ended, assert_complete, jobtree, python, run

pytestmark = pytest.mark.usefixtures("no_stray_processes")

CANARY = "canary"
HOSTILE = (
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"; touch {CANARY} #",
    f"& touch {CANARY} &",
    f"| touch {CANARY}",
    f"'; touch {CANARY}; '",
    f'"; touch {CANARY}; "',
    f"\ntouch {CANARY}\n",
    f"${{IFS}}touch${{IFS}}{CANARY}",
    'it\'s "quoted" \\ twice',
    "-rf",
    "--jobTree",
    "new\nline",
    "tab\tand\rreturn",
    "\u202egnp.exe\u202c",
    "%s%n{0}{x}",
    "*",
    "~",
    "%INDEX%",
    "\udcff not UTF-8",
    "<!--]]>&amp;",
    "\x1b[31mred",
)
NOT_FOR_XML = ("\x1b", "\udcff")
NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)

FLOW = """
import argparse, json, os, shlex, sys
from jobtree import Stack, Target
with open("names.json", encoding="ascii") as file:
    NAMES = json.load(file)
class Root(Target):
    def run(self):
        for number, name in enumerate(NAMES):
            self.addChildTarget(globals()[label_of(number, name)](number))
            quoted = shlex.quote(name)
            self.addChildCommand(f"printf %s {quoted} > said/{number}")
            if not os.path.exists("no JOB_FILE"):
                self.addChildCommand(f": JOB_FILE {quoted}; cat JOB_FILE > job/{number}")
            self.logToMaster(name)
        self.setFollowOnTarget(Last())
class Named(Target):
    def __init__(self, number):
        super().__init__(time=0.01)
        self.number = number
    def run(self):
        name = NAMES[self.number]
        draft = os.path.join(self.getAttemptDir(), name)
        with open(draft, "w") as file:
            file.write(str(self.number))
        self.publish(draft, os.path.abspath(os.path.join("published", str(self.number), name)))
        print(name)
        open(os.path.join(self.getLocalTempDir(), name), "w").close()
        if not os.path.exists(f"failed/{self.number}"):
            open(f"failed/{self.number}", "w").close()
            raise ValueError(name)
def label_of(number, name):
    label = f"class-{number}: {name}".replace(".", "_")  # a dot would lead into the class
    return label.encode("utf-8", "backslashreplace").decode()
for number, name in enumerate(NAMES):
    label = label_of(number, name)
    globals()[label] = type(label, (Named,), {"__module__": __name__, "__qualname__": label})
class Last(Target):
    def run(self):
        open("last", "w").close()
if __name__ == "__main__":
    for number in range(len(NAMES)):
        os.makedirs(f"published/{number}")
    for name in ("said", "job", "failed"):
        os.mkdir(name)
    parser = argparse.ArgumentParser()
    Stack.addJobTreeOptions(parser)
    sys.exit(min(1, Stack(Root()).startJobTree(parser.parse_args())))
"""


class Place:
    """A directory with a workflow, both called as the test likes."""

    def __init__(self, home: Path, script: str = "flow.py", tree: str = "tree") -> None:
        self.home, self.script, self.tree = home, home / script, home / tree
        home.mkdir(parents=True, exist_ok=True)

    def run(self, names: list[str], *options: str, **more: str) -> Ended:
        (self.home / "names.json").write_text(json.dumps(names))
        self.script.write_text(FLOW)
        argv = python(self.script, "--retryCount", "2", *options, f"--jobTree={self.tree}")
        return run(argv, self.home / "log", **more)

    def check(self, names: list[str], ended: Ended) -> None:
        assert_complete(self.tree, ended)
        assert (self.home / "last").exists()
        for number, name in enumerate(names):
            assert (self.home / f"published/{number}/{name}").read_text() == str(number)
            assert (self.home / f"said/{number}").read_bytes() == os.fsencode(name)
            if not (self.home / "no JOB_FILE").exists():
                job = ET.parse(self.home / f"job/{number}").getroot()
                assert job.get("global_temp_dir", "").startswith(f"{self.tree}/directories/")

    def no_canary(self) -> None:
        found = [path for path in self.home.rglob("*") if path.name == CANARY]
        assert not found
        assert not Path(CANARY).exists()


def lines_that_are_not_ours(said: str) -> list[str]:
    """Return the lines of a log that neither begin as its lines do nor are indented."""
    ours = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (debug|info|warning|error) |    |$")
    _, _, log = said.partition("\n")  # the first line is the command, as the test wrote it
    return [line for line in log.split("\n") if not ours.match(line)]


def test_hostile_names_run_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path / "home")
    ended = place.run(list(HOSTILE))
    place.no_canary()
    place.check(list(HOSTILE), ended)
    assert not lines_that_are_not_ours(ended.said)
    for mark in ("\x1b", "\u202e", "\r"):
        assert mark not in ended.said


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_tree_in_a_hostile_place(tmp_path: Path, number: int) -> None:
    name = HOSTILE[number]
    place = Place(tmp_path / f"{name} home", f"{name} flow.py", f"{name} tree")
    scratch = place.home / f"{name.replace('$', 'S')} scratch"
    scratch.mkdir()
    more = {"TMPDIR": str(scratch)} if number % 2 else {}
    options = () if number % 2 else ("--scratch", str(scratch))
    if any(mark in name for mark in NOT_FOR_XML):
        refused = place.run([name], *options, **more)
        assert refused.status == 1
        assert "character that XML cannot hold" in refused.said
        shutil.rmtree(place.home)
        place.home.mkdir()
        scratch.mkdir()
        (place.home / "no JOB_FILE").touch()
    ended = place.run([name], *options, **more)
    place.no_canary()
    place.check([name], ended)
    assert not list(scratch.iterdir())
    again = run(jobtree("restart", place.tree), place.home / "log")
    assert_complete(place.tree, again)


def test_a_relative_tree_that_begins_with_a_dash(tmp_path: Path) -> None:
    place = Place(tmp_path / "home")
    place.tree = Path("-tree")
    ended = place.run(["x"])
    assert ended.status == 0, ended.said
    assert (place.home / "-tree" / "jobtree.json").exists()


@settings(
    max_examples=int(os.environ.get("JOBTREE_HOSTILE_EXAMPLES", "2")),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(names=st.lists(NAMES, min_size=20, max_size=30, unique=True))
def test_any_names_run_nothing(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    place = Place(tmp_path_factory.mktemp("home"))
    ended = place.run(names)
    place.no_canary()
    place.check(names, ended)
    assert not lines_that_are_not_ours(ended.said)


# ---- files -------------------------------------------------------------------------------

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
    refused(failed, "JT332", status=1)
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


# ---- secrets -----------------------------------------------------------------------------

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "s3cr3t-one-AKIA",
    "TOKEN": "s3cr3t-two-ghp",
    "DATABASE_PASSWORD": "s3cr3t-three-pg",
}

SECRETIVE = """
import argparse, os, sys
from jobtree import Stack, Target
class Root(Target):
    def run(self):
        for number in range(6):
            self.addChildTarget(Child(number))
        self.addChildCommand("test -n \\"$TOKEN\\" && : JOB_FILE")
        self.addChildCommand("test -n \\"$TOKEN\\"")
        self.addChildCommand("false")
class Child(Target):
    def __init__(self, number):
        super().__init__()
        self.number = number
    def run(self):
        assert os.environ["TOKEN"] and os.environ["AWS_SECRET_ACCESS_KEY"]
        if self.number == 0:
            raise ValueError("the reason")
        if self.number == 1:
            os.kill(os.getpid(), 11)
if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    Stack.addJobTreeOptions(parser)
    sys.exit(min(1, Stack(Root()).startJobTree(parser.parse_args())))
"""


class ProcessList:
    """What `ps` would have shown at any time: command lines, read again and again."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.002):
            for entry in os.listdir("/proc"):
                if entry.isdecimal():
                    with suppress(OSError), open(f"/proc/{entry}/cmdline", "rb") as file:
                        self.seen.add(file.read())

    def __enter__(self) -> ProcessList:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def holding_secrets(path: Path) -> Iterator[Path]:
    for file in path.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            if any(secret.encode() in content for secret in SECRETS.values()):
                yield file


def test_secrets_of_the_environment_get_nowhere(tmp_path: Path) -> None:
    place = Place(tmp_path / "home")
    place.script.write_text(SECRETIVE)
    argv = python(place.script, "--jobTree", place.tree, "--logLevel", "DEBUG", "--stats")
    with ProcessList() as processes:
        first = run([*argv, "--logFile", "master.log"], place.home / "log", **SECRETS)
        assert first.status == 1, first.said
        for verb in (["status"], ["status", "--json"], ["stats"], ["why"], ["logs", "2"]):
            run(jobtree(*verb, place.tree), place.home / f"log.{'-'.join(verb)}", **SECRETS)
        run(jobtree("restart", place.tree), place.home / "log", **SECRETS)
    assert any(b"worker_start.py" in line for line in processes.seen)
    shown = [line for line in processes.seen if any(s.encode() in line for s in SECRETS.values())]
    assert not shown
    kept = place.tree / "environment.json"
    assert list(holding_secrets(tmp_path)) == [kept]
    assert kept.stat().st_mode & 0o777 == 0o600
    shutil.copytree(place.tree, tmp_path / "copy")
    with sqlite3.connect(tmp_path / "copy" / "tree.db") as db:
        dump = "\n".join(db.iterdump())
    assert not any(secret in dump for secret in SECRETS.values())


def test_the_shell_is_given_what_was_written(tmp_path: Path) -> None:
    """The test's own quoting is right: what it asks for is what a shell would run."""
    for name in HOSTILE:
        argv = ["/bin/sh", "-c", f"printf %s {shlex.quote(name)}"]
        said = subprocess.run(argv, capture_output=True, check=True, cwd=tmp_path).stdout
        assert said == os.fsencode(name)
    assert sys.executable
