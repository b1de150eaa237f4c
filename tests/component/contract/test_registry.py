"""Batch systems by name, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import batchsystems
import jobtree
from batchsystems import AcidTest, BatchSystemError, SingleMachine, load, load_for, names, registry
from batchsystems.commandline.adapter import CommandLine
from batchsystems.commandline.pacing import Timeouts
from batchsystems.site import Origin, Setting, Site

ROOT = str(Path(batchsystems.__file__).parent.parent)


@pytest.mark.parametrize(
    "name", ["singleMachine", "single_machine", "singlemachine", "SINGLE-MACHINE", "local"]
)
def test_single_machine_by_all_its_spellings(name: str):
    batch = load(name, max_cpus=3)
    assert isinstance(batch, SingleMachine)
    assert batch.capacity().slots == 3
    batch.close()


def test_acid_test():
    batch = load("acid_test", seed=1)
    assert isinstance(batch, AcidTest)
    batch.close()


def test_an_unknown_name_gets_the_known_ones_and_a_guess():
    with pytest.raises(BatchSystemError) as caught:
        load("singelMachine")
    assert caught.value.code == "JT201"
    assert "known are: acidTest" in str(caught.value)
    assert "singleMachine" in caught.value.why
    assert "did you mean singleMachine?" in caught.value.fix


def test_an_old_spelling_of_an_adapter_that_is_not_there_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(
        registry,
        "BUILT_IN",
        {"acidTest": registry.Parts("batchsystems.singlemachine.acidtest:AcidTest")},
    )
    with pytest.raises(BatchSystemError, match="JT201") as caught:
        load("gridengine")
    assert "did you mean" not in caught.value.fix


def test_old_spellings_of_grid_engine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        registry,
        "BUILT_IN",
        {"sge": registry.Parts("batchsystems.singlemachine.acidtest:AcidTest")},
    )
    for name in ("gridengine", "gridEngine", "grid_engine", "SGE", "uge"):
        load(name).close()


def test_of_a_dialect_that_a_third_party_offers_the_adapter_is_made(
    monkeypatch: pytest.MonkeyPatch,
):
    def offered(group: str) -> list[EntryPoint]:
        return [EntryPoint("inmemory", "tests.unit.commandline.inmemory:JsonDialect", group)]

    monkeypatch.setattr("importlib.metadata.entry_points", offered)
    batch = load("inmemory", timeouts=Timeouts(close_s=1.0))
    assert isinstance(batch, CommandLine)
    assert batch.name == "inmemory"
    batch.close()
    with pytest.raises(BatchSystemError, match="JT203"):
        load("inmemory", colour="red")
    said = {"worker.setup": ("true",), "inmemory.colour": "red"}
    site = Site({key: Setting(key, value, Origin("x", 1)) for key, value in said.items()})
    with pytest.raises(BatchSystemError, match=r"unknown keys in \[inmemory\]: colour"):
        load_for("inmemory", site)
    load_for("inmemory", Site({"worker.setup": site.settings["worker.setup"]})).close()


def test_third_parties_by_entry_point(monkeypatch: pytest.MonkeyPatch):
    def offered(group: str) -> list[EntryPoint]:
        return [
            EntryPoint("myCluster", "batchsystems.singlemachine.acidtest:AcidTest", group),
            EntryPoint("broken", "nosuchmodule:X", group),
            EntryPoint("nothing", "builtins:dict", group),
            EntryPoint("singleMachine", "builtins:dict", group),
        ]

    monkeypatch.setattr("importlib.metadata.entry_points", offered)
    load("mycluster").close()
    load("singleMachine").close()
    assert "myCluster" in names()
    for name in ("broken", "nothing"):
        with pytest.raises(BatchSystemError, match="JT202"):
            load(name)


def test_options_it_does_not_take():
    with pytest.raises(BatchSystemError, match="max_cpu") as caught:
        load("singleMachine", max_cpu=3)
    assert caught.value.code == "JT203"


def python(script: str) -> str:
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {ROOT!r}); {script}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_importing_the_package_is_light():
    loaded = python("old = set(sys.modules); import batchsystems; print(*set(sys.modules) - old)")
    assert set(loaded.split()) <= {"batchsystems", "__future__"}
    cost = "import time; t = time.perf_counter(); import batchsystems; print(time.perf_counter()-t)"
    assert min(float(python(cost)) for _ in range(5)) < 0.002


def test_it_never_imports_jobtree():
    script = "import batchsystems; [getattr(batchsystems, n) for n in batchsystems.__all__]; "
    script += "print('jobtree' in sys.modules)"
    assert python(script).split() == ["False"]


def test_every_public_name_is_there():
    assert set(batchsystems.__all__) <= set(dir(batchsystems))
    assert all(getattr(batchsystems, name) is not None for name in batchsystems.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = batchsystems.nonsense


def test_no_module_hides_a_public_name():
    """A module of the package, once imported, is found before what is loaded when first used."""
    for package in (batchsystems, jobtree):
        modules = {path.stem for path in Path(str(package.__file__)).parent.glob("*")}
        assert not modules & set(package.__all__)
