"""What a step's interpreter is to it: the script is `__main__`, and what site starts is started.

Workflows run as a user would run them, on this machine.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.integration.flows import ROOT, TAIL, Workflow

pytestmark = pytest.mark.usefixtures("no_stray_processes")


def lines(flow: Workflow, name: str) -> list[str]:
    path = flow.home / name
    return path.read_text().splitlines() if path.exists() else []


# ---- the script is __main__ --------------------------------------------------------------

POOLS = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
note("loaded", __name__)
class Number:
    def __init__(self, value):
        self.value = value
def square(number):
    return Number(number.value ** 2)
class Root(Target):
    def run(self):
        for isolate in (False, True):
            for method in ("spawn", "forkserver", "fork"):
                self.addChildTarget(Pool(method, isolate))
class Pool(Target):
    def __init__(self, method, isolate):
        super().__init__(isolate=isolate)
        self.method = method
    def run(self):
        context = multiprocessing.get_context(self.method)
        numbers = [Number(value) for value in range(4)]
        with context.Pool(2) as pool:
            found = [number.value for number in pool.map(square, numbers)]
            pool.close()
            pool.join()
        with ProcessPoolExecutor(2, context) as executor:
            assert [number.value for number in executor.map(square, numbers)] == found
        note("found", f"{found}")
"""

GUARDED = TAIL.replace("    parser =", '    note("guarded", "x")\n    parser =', 1)


def test_functions_of_the_script_run_in_processes_of_multiprocessing(flow: Workflow) -> None:
    flow.write(POOLS, GUARDED)
    flow.run()
    assert lines(flow, "found") == ["[0, 1, 4, 9]"] * 6
    assert lines(flow, "guarded") == ["x"]
    assert lines(flow, "loaded").count("__main__") == 1


def test_so_they_do_where_the_script_is_run_as_a_module(flow: Workflow) -> None:
    (flow.home / "package").mkdir()
    (flow.home / "package" / "beside.py").write_text("word = 'beside'\n")
    flow.script = flow.home / "package" / "flow.py"
    flow.write("from .beside import word\n" + POOLS, GUARDED)
    command = [sys.executable, "-m", "package.flow", "--jobTree", str(flow.tree)]
    subprocess.run(command, cwd=flow.home, check=True, timeout=300)
    assert lines(flow, "found") == ["[0, 1, 4, 9]"] * 6
    assert lines(flow, "guarded") == ["x"]


CROSSING = """
import pickle
class Thing:
    class Inner:
        pass
def helper(): pass
def keep(path, *things):
    with open(path, "wb") as file:
        pickle.dump(things, file)
def look(path, where):
    with open(path, "rb") as file:
        thing, inner, fn = pickle.load(file)
    assert type(thing) is Thing and type(inner) is Thing.Inner and fn is helper
    note("crossed", where)
class Root(Target):
    def run(self):
        import __main__
        assert __main__.Thing is Thing and __main__.__file__ == __file__
        assert Thing.__module__ == helper.__module__ == __name__ == "__main__"
        look("there", "to the step")
        keep("back", Thing(), Thing.Inner(), helper)
if __name__ == "__main__":
    keep("there", Thing(), Thing.Inner(), helper)
"""


def test_pickles_cross_between_script_and_steps(flow: Workflow) -> None:
    flow.write(CROSSING, TAIL.replace("sys.exit(", "assert 0 == (") + '    look("back", "back")\n')
    flow.run()
    assert lines(flow, "crossed") == ["to the step", "back"]


ELSEWHERE = """
from jobtree import Target
import multiprocessing, pickle
def double(number):
    return 2 * number
class Root(Target):
    def run(self):
        import __main__
        with open("seen", "w") as file:
            file.write(f"{__main__.SETTING} {getattr(__main__, 'absent', 'no')}\\n")
class Spawns(Target):
    def run(self):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.map_async(double, [2]).get(20)
"""


def test_the_script_is_main_to_targets_of_other_modules(flow: Workflow) -> None:
    (flow.home / "targets.py").write_text(ELSEWHERE)
    flow.write("from targets import Root\nSETTING = 5\n")
    flow.run()
    assert lines(flow, "seen") == ["5 no"]


def test_a_script_without_a_guard_starts_no_second_workflow(flow: Workflow) -> None:
    """Its Targets are elsewhere, so that nobody but multiprocessing imports it."""
    (flow.home / "targets.py").write_text(ELSEWHERE)
    tail = TAIL.replace('if __name__ == "__main__":', "if True:").replace("Root()", "Spawns()")
    flow.write('from targets import Spawns\nnote("loaded", __name__)\n', tail)
    log = flow.run("--retryCount", "0", code=1)
    assert lines(flow, "loaded").count("__main__") == 1
    failed = "".join(
        path.read_text() for path in flow.tree.rglob("*") if path.is_file() and "logs" in str(path)
    )
    assert "JT402" in failed + log


# ---- what site starts is started ---------------------------------------------------------

FINDER = """
import sys
from importlib.machinery import ModuleSpec
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("hidden"):
            return ModuleSpec(name, self)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        module.word = "found"
sys.meta_path.append(Finder())
"""

SEES = """
import builtins, multiprocessing
try:
    import hidden1
    first = hidden1.word
except ImportError:
    first = "absent"
def seen(_):
    import hidden2
    customs = getattr(builtins, "site_custom", "-"), getattr(builtins, "user_custom", "-")
    return f"{first} {hidden2.word} {customs} {sys.prefix}"
class Root(Target):
    def run(self):
        for isolate in (False, True):
            self.addChildTargetFn(look, isolate=isolate)
def look(target):
    note("seen", seen(0))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        note("seen", pool.map_async(seen, [0]).get(60)[0])
        pool.close()
        pool.join()
"""


def environment_with(home: Path, *sources: str) -> Path:
    """Return the Python of an environment that has jobTree, and code that site runs."""
    place = home / "env"
    venv.EnvBuilder(system_site_packages=True, symlinks=True).create(place)
    packages = next(place.glob("lib/python*/site-packages"))
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "ours.pth").write_text(f"{ROOT}\n{ours}\n")
    for source in sources:
        (packages / source).write_text(
            {
                "edited.pth": "import edited_finder\n",
                "sitecustomize.py": "import builtins; builtins.site_custom = 1\n",
            }[source]
        )
    (packages / "edited_finder.py").write_text(FINDER)
    return place / "bin" / "python"


def test_what_site_starts_is_started_in_workers_too(
    flow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = environment_with(flow.home, "edited.pth", "sitecustomize.py")
    monkeypatch.setenv("PYTHONUSERBASE", str(flow.home / "user"))
    asked = [str(python), "-c", "import site; print(site.getusersitepackages())"]
    users = subprocess.run(asked, check=True, stdout=-1, text=True).stdout.strip()
    Path(users).mkdir(parents=True)
    (Path(users) / "usercustomize.py").write_text("import builtins; builtins.user_custom = 2\n")
    monkeypatch.setattr(sys, "executable", str(python))
    flow.write(SEES)
    flow.run()
    assert lines(flow, "seen") == [f"found found (1, 2) {python.parents[1]}"] * 4


@pytest.mark.parametrize(
    ("sources", "code"),
    [((), []), (("edited.pth",), ["edited.pth"]), (("sitecustomize.py",), ["sitecustomize"])],
)
def test_the_master_tells_whether_there_is_anything_to_start(
    tmp_path: Path, sources: tuple[str, ...], code: list[str]
) -> None:
    """Where there is not, workers keep their quick start."""
    python = environment_with(tmp_path, *sources)
    asked = "from jobtree.payload.environment import capture; print(capture().site_code)"
    said = subprocess.run([python, "-c", asked], check=True, stdout=-1, text=True).stdout
    entries = [entry for entry in said.strip("[]\n").replace("'", "").split(", ") if entry]
    ours = [entry for entry in entries if "/" not in entry or str(tmp_path) in entry]
    assert [entry.rpartition("/")[2] for entry in ours] == code
