"""Pickles by reference: where `__main__` leads, and what is said when it leads nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobtree.errors import JobTreeError
from jobtree.pickling import MAIN, Script, dump, explain, load

OWN = "class Own:\n    class Inner:\n        version = 1\n"


def pickled_in_main(tmp_path: Path, code: str, expression: str) -> bytes:
    """Return what a script's `__main__` pickles."""
    script = tmp_path / "maker.py"
    script.write_text(
        f"{code}\nimport sys\nfrom jobtree.pickling import dump\n"
        f"sys.stdout.buffer.write(dump({expression}))\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, script], env=env, stdout=-1, check=True).stdout


@pytest.fixture(autouse=True)
def _forget_main(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MAIN, None)


def test_main_leads_to_the_script_and_so_does_what_is_pickled_there(tmp_path: Path) -> None:
    script = tmp_path / "flow"
    script.write_text(OWN)
    found = load(pickled_in_main(tmp_path, OWN, "Own.Inner()"), Script(str(script)))
    assert type(found).__module__ == MAIN
    again = load(dump(found), Script(str(script)))  # as the next worker does
    assert again.version == 1


def test_an_edited_script_counts_as_it_is_now(tmp_path: Path) -> None:
    pickled = pickled_in_main(tmp_path, OWN, "Own.Inner()")
    script = tmp_path / "flow.py"
    for version in (1, 2):  # within one second, and of one size: a .pyc would not notice
        script.write_text(OWN.replace("version = 1", f"version = {version}"))
        assert load(pickled, Script(str(script))).version == version
    assert not (tmp_path / "__pycache__").exists()


def test_a_module_run_with_m_is_imported_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "flowpkg").mkdir()
    (tmp_path / "flowpkg" / "mod.py").write_text(OWN)
    found = load(pickled_in_main(tmp_path, OWN, "Own()"), Script("ignored", "flowpkg.mod"))
    assert type(found).__module__ == "flowpkg.mod"


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


def test_site_is_run_when_a_module_is_missing(tmp_path: Path) -> None:
    """An editable install is found through a .pth file, which -S skips."""
    site_packages = tmp_path / "site"
    hidden = tmp_path / "hidden"
    for directory in (site_packages, hidden):
        directory.mkdir()
    (hidden / "edited.py").write_text("class Thing:\n    pass\n")
    (site_packages / "edited.pth").write_text(f"{hidden}\n")
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "import site\n"
        f"site.main = lambda: site.addsitedir({str(site_packages)!r})\n"
        "from jobtree.pickling import Script, load\n"
        "print(type(load(b'cedited\\nThing\\n)R.', Script(''))).__module__)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout == "edited\n", done.stderr


def test_explain_ends_on_circles() -> None:
    class Loop:
        pass

    loop = Loop()
    vars(loop)["me"] = loop
    assert explain(loop, "self")[0] in ("self", "self.me")
