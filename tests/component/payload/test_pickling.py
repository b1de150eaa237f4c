"""Pickles by reference: where `__main__` leads, and what is said when it leads nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobtree.errors import JobTreeError
from jobtree.payload.main_script import LOADING, Script
from jobtree.payload.pickling import dump, explain, load

OWN = "class Own:\n    class Inner:\n        version = 1\n"


def pickled_in_main(tmp_path: Path, code: str, expression: str) -> bytes:
    """Return what a script's `__main__` pickles."""
    script = tmp_path / "maker.py"
    script.write_text(
        f"{code}\nimport sys\nfrom jobtree.payload.pickling import dump\n"
        f"sys.stdout.buffer.write(dump({expression}))\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, script], env=env, stdout=-1, check=True).stdout


@pytest.fixture(autouse=True)
def _forget_main(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("__main__", LOADING):
        monkeypatch.setitem(sys.modules, name, sys.modules.get(name))


def test_main_leads_to_the_script_and_so_does_what_is_pickled_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "flow"
    script.write_text(OWN)
    found = load(pickled_in_main(tmp_path, OWN, "Own.Inner()"), Script(str(script)))
    assert type(found).__module__ == "__main__"
    monkeypatch.setitem(sys.modules, "__main__", sys.modules[LOADING])
    again = load(dump(found), Script(str(script)))  # as the next worker does
    assert again.version == 1


def test_an_edited_script_counts_as_it_is_now(tmp_path: Path) -> None:
    pickled = pickled_in_main(tmp_path, OWN, "Own.Inner()")
    script = tmp_path / "flow.py"
    for version in (1, 2):  # within one second, and of one size: a .pyc would not notice
        script.write_text(OWN.replace("version = 1", f"version = {version}"))
        assert load(pickled, Script(str(script))).version == version
    assert not (tmp_path / "__pycache__").exists()


def test_a_module_run_with_m_is_main_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "flowpkg" / "mod.py"
    path.parent.mkdir()
    (path.parent / "beside.py").write_text("word = 'beside'")
    path.write_text(f"from .beside import word\n{OWN}    word = word\n")
    found = load(pickled_in_main(tmp_path, OWN, "Own()"), Script(str(path), "flowpkg.mod"))
    assert (type(found).__module__, found.word) == ("__main__", "beside")


def test_what_older_trees_call_the_script_leads_there_too(tmp_path: Path) -> None:
    script = tmp_path / "flow.py"
    script.write_text(OWN)
    pickled = b"c__jobtree_main__\nOwn.Inner\n."
    assert load(b"\x80\x04" + pickled, Script(str(script))).version == 1


KINDS = """
import enum, functools, typing
from collections import namedtuple
class Base:
    class Inner: pass
    @staticmethod
    def static(): pass
    @classmethod
    def cls(cls): pass
    def method(self): pass
class Colour(enum.Enum):
    RED = 1
Pair = namedtuple("Pair", "a b")
class Typed(typing.NamedTuple):
    a: int
@functools.lru_cache
def cached(): pass
T = typing.TypeVar("T")
class Hostile:
    def __getattribute__(self, name):
        raise RuntimeError("no")
hostile = Hostile()
class Fixed(type):
    def __setattr__(cls, name, value):
        raise TypeError("no")
class Odd(metaclass=Fixed): pass
"""


def test_all_that_pickles_name_is_named_by_main(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "flow.py"
    script.write_text(KINDS)
    where = Script(str(script))
    where.install()
    here = sys.modules["__main__"]
    assert here.Colour(1) is here.Colour.RED  # found, so run
    for thing in (
        *(here.Base, here.Base.Inner, here.Base.static, here.Base().method, here.Colour.RED),
        *(here.Pair(1, 2), here.Typed(1), here.cached, here.T, here.Base().cls),
    ):
        pickled = dump(thing)
        assert LOADING.encode() not in pickled, thing
        assert b"__main__" in pickled
        load(pickled, where)
    load(dump(here.Odd()), where)


def test_a_module_looks_into_main_at_no_cost(tmp_path: Path) -> None:
    """What libraries look for, to find out where they are, runs no script."""
    script = tmp_path / "flow.py"
    script.write_text(f"with open({str(tmp_path / 'ran')!r}, 'a') as f: f.write('x')\n")
    where = Script(str(script))
    where.install()
    here = sys.modules["__main__"]
    for name in ("__spec__", "__path__", "__IPYTHON__", "__wrapped__"):
        getattr(here, name, None)
    assert here.__file__ == str(script)
    assert not (tmp_path / "ran").exists()
    for _ in range(2):
        assert not hasattr(here, "absent")
    assert (tmp_path / "ran").read_text() == "x"


def test_a_script_that_cannot_be_imported_has_no_names(tmp_path: Path) -> None:
    where = Script(str(tmp_path / "absent.py"))
    where.install()
    with pytest.raises(AttributeError, match="JT410"):
        _ = sys.modules["__main__"].anything


def test_gone_class_gone_script_no_script(tmp_path: Path) -> None:
    pickled = pickled_in_main(tmp_path, OWN, "Own()")
    script = tmp_path / "flow.py"
    with pytest.raises(JobTreeError, match=r"is gone: .*flow.py") as error:
        load(pickled, Script(str(script)))
    assert error.value.code == "JT410"
    script.write_text("class Other: pass")
    with pytest.raises(JobTreeError, match="no Own any more"):
        load(pickled, Script(str(script)))
    with pytest.raises(JobTreeError) as error:
        load(pickled, Script(""))
    assert error.value.code == "JT404"


def test_a_failing_script_is_run_once_only(tmp_path: Path) -> None:
    pickled = pickled_in_main(tmp_path, OWN, "Own()")
    script = tmp_path / "flow.py"
    script.write_text(
        f"with open({str(tmp_path / 'runs')!r}, 'a') as f: f.write('x')\nraise SystemExit(3)"
    )
    where = Script(str(script))
    for _ in range(3):
        with pytest.raises(JobTreeError, match=r"exit 3") as error:
            load(pickled, where)
        assert "__main__" in error.value.fix
    assert (tmp_path / "runs").read_text() == "x"


@pytest.mark.parametrize("how", ["-c", "-"])
def test_python_without_a_script_is_refused_when_added(how: str) -> None:
    code = (
        "from jobtree import Target\n"
        "class Own(Target): pass\n"
        "try:\n    Target().addChildTarget(Own())\n"
        "except Exception as error:\n    print(error)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    given = [how, code] if how == "-c" else [how]
    done = subprocess.run(
        [sys.executable, *given], input=code, env=env, capture_output=True, text=True, check=True
    )
    assert "JT404" in done.stdout
    assert "save the workflow as a script" in done.stdout


def test_explain_ends_on_circles() -> None:
    class Loop:
        pass

    loop = Loop()
    vars(loop)["me"] = loop
    assert explain(loop, "self")[0] in ("self", "self.me")
