"""Hostile names: whatever a thing is called, nothing runs that was not asked for.

Owns names of directories, scripts, classes, files, commands and messages; must not alter files
behind the master's back. Read next: test_hostile_files.py, which does.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.killing import Ended, assert_complete, jobtree, python, run
from tests.integration.places import CANARY, Place

pytestmark = pytest.mark.usefixtures("no_stray_processes")

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

SCRIPT = """
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


class Flow(Place):
    """A workflow that gives each name to all that can have one."""

    def run(self, names: list[str], *options: str, **more: str) -> Ended:
        (self.home / "names.json").write_text(json.dumps(names))
        self.script.write_text(SCRIPT)
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


def lines_that_are_not_ours(said: str) -> list[str]:
    """Return the lines of a log that neither begin as its lines do nor are indented."""
    ours = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (debug|info|warning|error) |    |$")
    _, _, log = said.partition("\n")  # the first line is the command, as the test wrote it
    return [line for line in log.split("\n") if not ours.match(line)]


def test_hostile_names_run_nothing(tmp_path: Path) -> None:
    place = Flow(tmp_path / "home")
    ended = place.run(list(HOSTILE))
    place.no_canary()
    place.check(list(HOSTILE), ended)
    assert not lines_that_are_not_ours(ended.said)
    for mark in ("\x1b", "\u202e", "\r"):
        assert mark not in ended.said


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_tree_in_a_hostile_place(tmp_path: Path, number: int) -> None:
    name = HOSTILE[number]
    place = Flow(tmp_path / f"{name} home", f"{name} flow.py", f"{name} tree")
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
    place = Flow(tmp_path / "home")
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
    place = Flow(tmp_path_factory.mktemp("home"))
    ended = place.run(names)
    place.no_canary()
    place.check(names, ended)
    assert not lines_that_are_not_ours(ended.said)


def test_the_shell_is_given_what_was_written(tmp_path: Path) -> None:
    """The test's own quoting is right: what it asks for is what a shell would run."""
    for name in HOSTILE:
        argv = ["/bin/sh", "-c", f"printf %s {shlex.quote(name)}"]
        said = subprocess.run(argv, capture_output=True, check=True, cwd=tmp_path).stdout
        assert said == os.fsencode(name)
    assert sys.executable
