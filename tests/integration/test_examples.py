"""The examples and the workflows beside them: right on this machine, under acid, after any kill.

Owns what comes out; killing.py starts, kills and restarts. JOBTREE_KILL_ROUNDS sets how often
(`make crash`: 50).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sysconfig
import time
from collections import Counter
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from tests.integration.killing import (
    EXAMPLES,
    GROUP,
    MASTER,
    ROUNDS,
    WORKER,
    WORKFLOWS,
    assert_complete,
    jobtree,
    kill_and_restart,
    python,
    run,
    start,
)

pytestmark = [pytest.mark.usefixtures("no_stray_processes"), pytest.mark.slow]

SYSTEMS = ("singleMachine", "acidTest")
STDLIB = Path(sysconfig.get_path("stdlib"))
SORT, MODULES, FILETREE = EXAMPLES / "sort.py", EXAMPLES / "modules.py", EXAMPLES / "filetree.sh"


class Place(NamedTuple):
    """Where a test works. scratch is where local temp dirs go."""

    log: Path
    tree: Path
    scratch: Path

    def options(self, system: str = "singleMachine", **more: object) -> list[str]:
        pairs = {"jobTree": self.tree, "batchSystem": system, "scratch": self.scratch, **more}
        return [word for name, value in pairs.items() for word in (f"--{name}", str(value))]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a place, with a space in its name: the unquoted path is found by it."""
    home = tmp_path / "a place"
    (home / "scratch").mkdir(parents=True)
    return Place(home / "log", home / "tree.jt", home / "scratch")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two million bytes of real lines."""
    path = tmp_path_factory.mktemp("text") / "text"
    with path.open("wb") as out:
        for module in sorted(STDLIB.glob("*.py")):
            out.write(module.read_bytes())
            if out.tell() > 2_000_000:
                break
    return path


def sorted_text(path: Path) -> bytes:
    """Return the lines of a file in order, by other means than the example's."""
    lines = path.read_bytes().split(b"\n")
    if not lines[-1]:
        lines.pop()
    return b"".join(line + b"\n" for line in sorted(lines))


def imported(script: Path) -> ModuleType:
    """Return an example as a module."""
    spec = util.spec_from_file_location(f"example_{script.stem}", script)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- sort.py -----------------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_sort_is_that_of_sort(place: Place, text: Path, system: str) -> None:
    output = place.log.parent / "sorted"
    argv = python(SORT, text, "--output", output, "--chunkBytes", "100000")
    ended = run(argv + place.options(system), place.log)
    found = assert_complete(place.tree, ended)
    assert f"sorted: {output}" in ended.said
    assert output.read_bytes() == sorted_text(text)
    assert found["done"] > 20
    if shutil.which("sort"):
        environment = os.environ | {"LC_ALL": "C"}
        subprocess.run(["sort", "-c", output], env=environment, check=True)
    again = run(argv + place.options(system), place.log)
    assert again.status == 0
    assert output.read_bytes() == sorted_text(text)
    assert not list(place.scratch.iterdir())


ODD = {
    "empty": b"",
    "one_newline": b"\n",
    "no_last_newline": b"b\na\nc",
    "no_newline_at_all": b"abc",
    "empty_lines": b"\n\nb\n\na\n\n",
    "control_bytes": b"a\x01\na\na\t\n\x00\n\xff\n\x00\x00\na\r\n\x80\n" * 3,
    "long_line": b"z" * 5000 + b"\n" + b"a\n" * 50 + b"y" * 3000,
}


def test_the_sort_takes_odd_files(place: Place) -> None:
    for name, content in ODD.items():
        source = place.log.parent / f"{name} it's"
        source.write_bytes(content)
        here = place._replace(tree=place.tree.with_name(f"{name}.jt"))
        limits = ["--chunkBytes", "40", "--lines", "3", "--ways", "3"]
        ended = run(python(SORT, source, *limits, *here.options()), place.log)
        assert_complete(here.tree, ended)
        assert Path(f"{source}.sorted").read_bytes() == sorted_text(source), name
        assert source.read_bytes() == content


def test_the_sort_refuses_what_it_cannot_read(place: Place) -> None:
    ended = run(python(SORT, "/proc/nowhere", *place.options()), place.log)
    assert ended.status == 2
    assert "/proc/nowhere cannot be sorted: No such file" in ended.said
    assert not place.tree.exists()


def test_the_sort_survives_steps_that_fail_after_their_work(place: Place, text: Path) -> None:
    output = place.log.parent / "sorted"
    script = WORKFLOWS / "flaky_sort.py"
    argv = python(script, text, "--output", output, "--chunkBytes", "200000")
    ended = run(argv + place.options(retryCount=40), place.log)
    assert_complete(place.tree, ended)
    assert output.read_bytes() == sorted_text(text)
    assert "failed after its work" in ended.said


# ---- modules.py --------------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_report_adds_up(place: Place, system: str) -> None:
    library, report = STDLIB / "email", place.log.parent / "report.json"
    argv = python(MODULES, "--library", library, "--report", report)
    ended = run(argv + place.options(system), place.log)
    found = assert_complete(place.tree, ended)
    modules = sorted(library.rglob("*.py"))
    told = json.loads(report.read_text())
    assert told["totals"]["modules"] == len(modules) == found["done"] - 1
    assert told["totals"]["lines"] == sum(m.read_bytes().count(b"\n") for m in modules)
    example = imported(MODULES)
    counted = [example.counted(module.read_bytes()) for module in modules]
    for name in example.COUNTS:
        assert told["totals"][name] == sum(counts[name] for counts in counted), name
    assert told["not_parsed"] == []
    assert f"all of it {told['totals']['modules']:>21}" in ended.said


def test_a_file_that_is_no_python_is_reported_as_such(place: Place) -> None:
    library, report = place.log.parent / "library", place.log.parent / "report.json"
    library.mkdir()
    (library / "good.py").write_text("import os, sys.path\nclass A:\n  def b(self): pass\n")
    (library / "bad.py").write_text("print 'two'\n")
    (library / "odd\udcff.py").write_bytes(b"# coding: no-such-coding\n")
    argv = python(MODULES, "--library", library, "--report", report)
    assert_complete(place.tree, run(argv + place.options(), place.log))
    told = json.loads(report.read_text())
    assert told["not_parsed"] == ["bad.py", "odd\udcff.py"]
    assert told["totals"] == {
        "modules": 3, "lines": 5, "classes": 1, "functions": 1, "imports": 2, "branches": 0
    }  # fmt: skip


# ---- filetree.sh and commands.awk --------------------------------------------------------


def awkward_directory(root: Path) -> str:
    """Make a directory of names that break careless scripts; return what is in it, counted."""
    names = [b"a b", b"q'uo\"te", b"<&>", b"new\nline", b"latin\xe9", b".dot", b"..two", b"-n",
             b"*", b"end\n", b"\\back\\n", b"$HOME", b"total"]  # fmt: skip
    for name in names:
        directory = os.fsencode(root) + b"/" + name
        os.makedirs(directory + b"/below")
        for path, content in ((b"/f\n" + name, b"x\ny"), (b"/below/-f", b"1\n2\n")):
            with open(directory + path, "wb") as file:
                file.write(content)
    (root / "link").symlink_to("/usr")
    count = len(names)
    return f"{2 * count + 1} {2 * count} {3 * count} {7 * count}\n"


def file_tree_command(script: Path, directory: Path, result: Path) -> list[str]:
    words = " ".join(f"'{word}'" for word in (script, directory, result))
    return jobtree("run", "--command", f"sh {words} JOB_FILE")


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_file_tree_is_counted(place: Place, system: str) -> None:
    directory, result = place.log.parent / "dir", place.log.parent / "result"
    directory.mkdir()
    expected = awkward_directory(directory)
    argv = file_tree_command(FILETREE, directory, result)
    assert_complete(place.tree, run(argv + place.options(system), place.log))
    assert result.read_text() == expected
    assert not list(place.scratch.iterdir())


def test_the_file_tree_survives_steps_that_fail_after_their_work(place: Place) -> None:
    directory, result = place.log.parent / "dir", place.log.parent / "result"
    directory.mkdir()
    expected = awkward_directory(directory)
    flaky = place.log.parent / "flaky.sh"
    fail = '[ "$(od -An -N1 -tu1 /dev/urandom)" -ge 64 ] || { echo failed on purpose; exit 9; }\n'
    flaky.write_text(FILETREE.read_text() + fail)
    argv = file_tree_command(flaky, directory, result)
    ended = run(argv + place.options(retryCount=30), place.log)
    assert_complete(place.tree, ended)
    assert result.read_text() == expected
    assert "exit status 9" in ended.said


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_line_of_a_file_is_a_command(place: Place, system: str) -> None:
    home = place.log.parent
    commands = home / "commands"
    lines = [f"# a comment\n\n  printf '%s' \"<{n} & 'q'>\" > '{home}/out{n}'\n" for n in range(9)]
    commands.write_text("".join(lines))
    command = f"awk -f '{EXAMPLES}/commands.awk' '{commands}' JOB_FILE"
    argv = jobtree("run", "--command", command)
    found = assert_complete(place.tree, run(argv + place.options(system), place.log))
    assert found["done"] == 10
    for n in range(9):
        assert (home / f"out{n}").read_text() == f"<{n} & 'q'>"


# ---- kill -9 -----------------------------------------------------------------------------


def rng() -> random.Random:
    """Return rng that fall otherwise each time; what they did is in the story of a failure."""
    return random.Random(os.urandom(8))


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return imported(WORKFLOWS / "audited.py")


@pytest.mark.timeout(300 + 200 * ROUNDS)
@pytest.mark.parametrize("what", [MASTER, GROUP, WORKER])
def test_no_finished_step_runs_again(tmp_path: Path, audited: ModuleType, what: str) -> None:
    names = audited.names("root", 3, 3)
    whole_s = 3.0
    for number in range(ROUNDS):
        home = tmp_path / f"{number}"
        (home / "scratch").mkdir(parents=True)
        place = Place(home / "log", home / "tree.jt", home / "scratch")
        argv = python(WORKFLOWS / "audited.py", home / "audit", home / "sum", *place.options())
        began = time.monotonic()
        end = kill_and_restart(argv, place.tree, place.log, what, rng(), whole_s)
        whole_s = 0.3 + 0.7 * min(whole_s, time.monotonic() - began)
        assert (home / "sum").read_text() == "27\n", end.story
        finished = [line.split()[0] for line in (home / "audit").read_text().splitlines()]
        assert set(finished) == set(names), end.story
        repeated = Counter(finished) - Counter(names)
        told = f"{dict(repeated)} ran again; {end.killed} workers died\n{end.story}"
        assert repeated.total() <= end.killed, told
        assert_in_order(finished, told)
        assert_clean(place, end.story)
        assert not [p for p in (place.tree / "directories").rglob("*") if p.is_file()], end.story


def assert_clean(place: Place, story: str) -> None:
    """Fail if a local temp dir stays; a killed worker's sidecar may still be at removing it."""
    deadline = time.monotonic() + 20
    while left := list(place.scratch.iterdir()):
        assert time.monotonic() < deadline, f"{left} stay; {story}"
        time.sleep(0.02)


def assert_in_order(finished: list[str], told: str) -> None:
    """Fail if a step was through before one it has to wait for."""
    first = {name: at for at, name in reversed(list(enumerate(finished)))}
    for name, at in first.items():
        parent = name.removesuffix("-below") if name.endswith("-below") else ""
        if not name.endswith(("-up", "-below")):
            parent = name.rpartition(".")[0]
        assert not parent or first[parent] < at, f"{name} before {parent}: {told}"
        if name.endswith("-up"):
            top = name.removesuffix("-up")
            below = [n for n in first if n.startswith(f"{top}.") and n != name]
            assert all(first[n] < at for n in below), f"{name} too early: {told}"


@pytest.mark.timeout(300 + 200 * ROUNDS)
@pytest.mark.parametrize("what", [MASTER, GROUP, WORKER])
def test_the_examples_survive_kills(tmp_path: Path, text: Path, what: str) -> None:
    right = sorted_text(text)
    directory = tmp_path / "dir"
    directory.mkdir()
    counts = awkward_directory(directory)
    for number in range(ROUNDS):
        home = tmp_path / f"{number}"
        (home / "scratch").mkdir(parents=True)
        place = Place(home / "log", home / "tree.jt", home / "scratch")
        output = home / "output"
        if number % 2:
            argv = file_tree_command(FILETREE, directory, output) + place.options()
            expected = counts.encode()
        else:
            argv = python(SORT, text, "--output", output, "--chunkBytes", "100000")
            argv, expected = argv + place.options(), right
        end = kill_and_restart(argv, place.tree, place.log, what, rng(), 3.0)
        assert output.read_bytes() == expected, end.story
        assert_clean(place, end.story)


def test_a_dead_master_that_nobody_reaps_holds_no_tree(place: Place) -> None:
    home = place.log.parent
    argv = python(WORKFLOWS / "audited.py", home / "audit", home / "sum", *place.options())
    master = start(argv, place.log)
    try:
        await_lines(home / "audit", 1)
        master.kill()
        os.waitid(os.P_PID, master.pid, os.WEXITED | os.WNOWAIT)  # dead, and a zombie
        ended = run(jobtree("restart", place.tree), place.log)
    finally:
        master.kill()
        master.wait()
    assert_complete(place.tree, ended)
    assert (home / "sum").read_text() == "27\n"


def await_lines(path: Path, count: int) -> None:
    """Wait until a file has so many lines."""
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, f"{path} does not grow"
        time.sleep(0.01)


# ---- random trees, odd shapes ------------------------------------------------------------


def test_a_random_tree_of_flaky_commands_is_counted(place: Place) -> None:
    chance = rng()
    script, top = WORKFLOWS / "randomtree.py", place.log.parent / "top"
    leaves = imported(script).grow(str(top), chance, depth=chance.randint(2, 4), most=60)
    command = " ".join(f"'{word}'" for word in python(script, "down", top)) + " JOB_FILE"
    retries = chance.randint(1, 3)
    argv = jobtree("run", "--command", command) + place.options(retryCount=retries)
    ended = run(argv, place.log)
    while ended.status == 1:
        argv = jobtree("restart", place.tree)
        ended = run(argv, place.log)
    assert_complete(place.tree, ended)
    assert int((top / "count").read_text()) == leaves, place.log.read_text()


@pytest.mark.parametrize("shape", ["comb", "star", "balanced", "fly"])
def test_shapes_end_though_their_jobs_leave_daemons_behind(place: Place, shape: str) -> None:
    home = place.log.parent
    argv = python(WORKFLOWS / "shapes.py", shape, "--times", home / "times")
    assert_complete(place.tree, run(argv + place.options(maxCpus=2, jobTime=0), place.log))
    changes = []
    for line in (home / "times").read_text().splitlines():
        _, began, ended = line.split()
        changes += [(float(began), 1), (float(ended), -1)]
    running = most = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    cpus = min(2, len(os.sched_getaffinity(0)))
    assert most == (1 if shape == "comb" else cpus)
