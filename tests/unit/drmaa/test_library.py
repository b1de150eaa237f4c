"""A DRMAA library that is not there, or cannot be loaded: each error names the cure."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from batchsystems import BatchSystemError, load
from batchsystems.drmaa.session.client import Client
from batchsystems.drmaa.session.library import TUNABLE, Library, explain, find, with_tunable
from batchsystems.drmaa.settings import DrmaaSettings
from batchsystems.transport.local import Command
from tests.unit.drmaa.fake import use

pytestmark = pytest.mark.usefixtures("no_stray_processes")

TEXT = b"INPUT(-ldrmaa)\n"


def elf(bits: int, machine: int) -> bytes:
    """Return the beginning of a library."""
    kind = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9)
    return kind + struct.pack("<HH", 3, machine) + bytes(40)


GOOD = elf(64, {"x86_64": 62, "aarch64": 183}[__import__("platform").machine()])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (TEXT, "invalid ELF header"),
        (b"", "invalid ELF header"),
        (elf(32, 3), "wrong ELF class"),
        (elf(64, 21), "it is for ppc64, and this machine is"),
        (elf(64, 999), "it is for another kind of machine"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_library_for_this_machine(
    tmp_path: Path, content: bytes | None, said: str
):
    path = tmp_path / "libdrmaa.so"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BatchSystemError, match="JT232") as caught:
        find(DrmaaSettings(library=str(path)), {"SGE_ROOT": "/x"})
    assert said in caught.value.why
    assert "drmaa.library of the site file" in caught.value.why
    assert caught.value.where == str(path)
    assert "drmaa.library in a site file" in caught.value.fix


def test_a_cell_s_library_of_this_machine_is_chosen(tmp_path: Path):
    for folder, content in (("lx-ppc", elf(64, 21)), ("lx-this", GOOD), ("lx-x86", elf(32, 3))):
        (tmp_path / "lib" / folder).mkdir(parents=True)
        (tmp_path / "lib" / folder / "libdrmaa.so").write_bytes(content)
    (tmp_path / "default" / "common").mkdir(parents=True)
    (tmp_path / "default" / "common" / "act_qmaster").touch()
    found = find(DrmaaSettings(), {"SGE_ROOT": str(tmp_path)})
    assert found.path == str(tmp_path / "lib/lx-this/libdrmaa.so")
    by_place = find(DrmaaSettings(library=found.path), {})
    assert by_place.env["SGE_ROOT"] == str(tmp_path), "told by where the library lies"
    told = find(DrmaaSettings(library=found.path, sge_root="/told", sge_cell="c"), {})
    assert told.env == {"SGE_ROOT": "/told", "SGE_CELL": "c"}


def test_no_library_at_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("batchsystems.drmaa.session.library.PLACES", ("/proc/nowhere/*",) * 3)
    monkeypatch.setattr("batchsystems.drmaa.session.library.find_library", lambda name: None)
    with pytest.raises(BatchSystemError, match="JT231") as caught:
        find(DrmaaSettings(), {})
    assert "DRMAA_LIBRARY_PATH" in caught.value.why
    assert "gridengine-drmaa1.0" in caught.value.fix


def test_grid_engine_s_library_wants_its_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "gridengine").mkdir()
    path = tmp_path / "gridengine" / "libdrmaa.so.1.0"
    path.write_bytes(GOOD)
    defaults = tmp_path / "defaults"
    monkeypatch.setattr("batchsystems.drmaa.session.library.ROOTS", (str(defaults),))
    with pytest.raises(BatchSystemError, match="JT234") as caught:
        find(DrmaaSettings(library=str(path)), {})
    assert "drmaa.sge_root" in caught.value.fix
    defaults.write_text(f'# where it is\nexport SGE_ROOT="{tmp_path}"\n')
    with pytest.raises(BatchSystemError, match="JT234") as caught:
        find(DrmaaSettings(library=str(path)), {})
    assert caught.value.why == f"there is no {tmp_path}/default/common/act_qmaster"
    (tmp_path / "default" / "common").mkdir(parents=True)
    (tmp_path / "default" / "common" / "act_qmaster").touch()
    assert find(DrmaaSettings(library=str(path)), {}).env == {"SGE_ROOT": str(tmp_path)}
    for cell in (DrmaaSettings(library=str(path), sge_cell="gone"), DrmaaSettings(str(path))):
        with pytest.raises(BatchSystemError, match="JT234") as caught:
            find(cell, {"SGE_CELL": "gone"})
        assert f"there is no {tmp_path}/gone/common" in caught.value.why


def test_without_the_python_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("batchsystems.drmaa.session.library.PACKAGE", "no_such_package_as_drmaa")
    with pytest.raises(BatchSystemError, match="JT230") as caught:
        load("drmaa")
    assert "pip install 'jobtree[drmaa]'" in caught.value.fix


def test_what_the_loader_says_is_told(tmp_path: Path):
    """The real package, and a file that only begins as a library does."""
    path = tmp_path / "libdrmaa.so"
    path.write_bytes(GOOD)
    line = Client(Library(str(path), {}), DrmaaSettings(), str(tmp_path / "records"))
    with pytest.raises(BatchSystemError, match="JT232") as caught:
        line.start()
    assert "libdrmaa.so" in caught.value.why
    ran = line.run(Command("queue", ("drmaa",), "{}"), 20.0)
    assert (ran.status, ran.stdout) == (1, "before")
    line.close()


def test_room_for_thread_local_data_is_made_beside_what_is_set():
    assert with_tunable({}) == {"GLIBC_TUNABLES": TUNABLE}
    other = {"GLIBC_TUNABLES": "glibc.malloc.check=1"}
    assert with_tunable(other) == {"GLIBC_TUNABLES": f"glibc.malloc.check=1:{TUNABLE}"}
    own = {"GLIBC_TUNABLES": "glibc.rtld.optional_static_tls=4096"}
    assert with_tunable(own) == own


def test_each_kind_of_failure_has_its_error():
    words = "/lib/libjemalloc.so.2: cannot allocate memory in static TLS block"
    assert explain("load", words, "/x", "/d").code == "JT233"
    assert explain("load", "libmunge.so.2: cannot open shared object file", "/x", "/d").code == (
        "JT232"
    )
    assert explain("package", "", "/x", "/d").code == "JT230"
    assert explain("directory", "Permission denied", "/x", "/d").where == "/d"
    assert explain("load", "Please set the environment variable SGE_ROOT.", "/x", "").code == (
        "JT234"
    )


def test_records_that_cannot_be_kept_are_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    use(monkeypatch, tmp_path / "drm")
    (tmp_path / "file").touch()
    with pytest.raises(BatchSystemError, match="the records of DRMAA jobs") as caught:
        load("drmaa", state_dir=str(tmp_path / "file"))
    assert caught.value.where == str(tmp_path / "file" / "drmaa")


def test_what_a_library_prints_disturbs_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, tmp_path / "drm")
    loud = tmp_path / "loud"
    loud.mkdir()
    (loud / "sitecustomize.py").write_text("print('hello from below')\n")
    (loud / "drmaa.py").write_text(
        "import os\nos.write(1, b'noise on 1\\n')\n"
        "class Session:\n    drmsInfo = drmaaImplementation = version = 'quiet'\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(loud))
    line = Client(Library(sys.executable, {}), DrmaaSettings(), str(tmp_path / "records"))
    line.start()
    assert line.about["drmsInfo"] == "quiet"
    line.close()
