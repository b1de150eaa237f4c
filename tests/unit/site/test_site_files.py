"""Where site files are looked for, what may be read, and what adapters are made of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from batchsystems import BatchSystem, BatchSystemError, JobSpec, SingleMachine, registry
from batchsystems.commandline.adapter import CommandLine
from batchsystems.commandline.dialect import Dialect
from batchsystems.commandline.limits import Queue
from batchsystems.commandline.settings import QueueSettings
from batchsystems.errors import SiteError
from batchsystems.interface import Caller, Update
from batchsystems.site import Origin, Setting, Site
from batchsystems.site.fields import NAMES, PERIOD
from batchsystems.site.sections import SchedulerSettings
from batchsystems.sitefiles import SYSTEM, Place, check_places, load_site, places, site_at
from tests.unit.commandline.inmemory import JsonDialect
from tests.unit.sge.fake import use as use_sge
from tests.unit.slurm.fake import use


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"schema = 1\n{text}")
    return path


def test_the_places_in_their_order(tmp_path: Path) -> None:
    found = places("x.toml", {"JOBTREE_SITE": "/var.toml", "HOME": "/home/me"})
    assert [(each.file, each.named) for each in found] == [
        (os.path.abspath("x.toml"), True), ("/var.toml", True),
        ("/home/me/.config/jobtree/site.toml", False), (SYSTEM, False),
    ]  # fmt: skip
    assert places(None, {"XDG_CONFIG_HOME": "/conf", "HOME": "/h"})[0].file == (
        "/conf/jobtree/site.toml"
    )
    assert places(None, {"XDG_CONFIG_HOME": "relative", "HOME": "/h"})[0].file == (
        "/h/.config/jobtree/site.toml"
    )
    twice = places(SYSTEM, {"HOME": "/h", "JOBTREE_SITE": SYSTEM})
    assert [each.file for each in twice] == [SYSTEM, "/h/.config/jobtree/site.toml"]


def test_files_are_merged_from_all_places(tmp_path: Path) -> None:
    mine = write(tmp_path / "conf/jobtree/site.toml", "[slurm]\naccount = 'mine'\nqos = 'q'")
    named = write(tmp_path / "named.toml", "[slurm]\nqos = 'n'")
    variable = write(tmp_path / "var.toml", "[slurm]\nconstraint = 'v'")
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "conf"), "JOBTREE_SITE": str(variable)}
    site = load_site(str(named), environment)
    assert site.table("slurm") == {"qos": "n", "constraint": "v", "account": "mine"}
    assert site.settings["slurm.constraint"].origin == Origin(str(variable), 3, "$JOBTREE_SITE")
    assert site.files[:3] == (str(named), str(variable), str(mine))


def test_a_named_file_must_be_there_and_another_need_not(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="No such file") as caught:
        load_site(str(tmp_path / "none.toml"))
    assert caught.value.code == "JT120"
    assert "--site" in caught.value.fix
    with pytest.raises(SiteError, match="JOBTREE_SITE"):
        load_site(None, {"JOBTREE_SITE": str(tmp_path / "none.toml")})
    assert site_at([Place(str(tmp_path / "none.toml"), "somebody")]) == Site()


def test_files_that_are_refused_are_told_with_all_else_that_is_wrong(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "latin").write_bytes(b"a = 1\nb = '\xe9'\n")
    (tmp_path / "big").write_bytes(b"#" * (2**20 + 1))
    write(tmp_path / "open", "").chmod(0o666)
    write(tmp_path / "wrong", "x = 1")
    names = ("fifo", "latin", "big", "open", "wrong", "missing")
    _, problems = check_places([Place(str(tmp_path / name), "me") for name in names])
    assert [(Path(each.origin.file).name, each.code) for each in problems] == [
        ("fifo", "JT120"), ("latin", "JT121"), ("big", "JT120"), ("open", "JT126"),
        ("missing", "JT120"), ("wrong", "JT122"),
    ]  # fmt: skip
    assert "line 2" in problems[1].what
    assert "chmod o-w" in problems[3].hint


def test_an_unknown_batch_system_is_told_with_its_line(tmp_path: Path) -> None:
    file = write(tmp_path / "site.toml", "batch_system = 'slrum'")
    with pytest.raises(SiteError, match="slrum") as caught:
        load_site(str(file))
    assert caught.value.code == "JT123"
    assert "line 2" in caught.value.what
    assert "did you mean slurm?" in caught.value.fix


def test_without_a_site_file_the_schema_is_not_loaded(tmp_path: Path) -> None:
    program = (
        "import sys; from batchsystems.sitefiles import load_site; load_site(); "
        "import jobtree.workflow; print('batchsystems.site.schema' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


# ---- adapters --------------------------------------------------------------------------------


def site_of(**values: object) -> Site:
    named = {name.replace("__", "."): value for name, value in values.items()}
    return Site({key: Setting(key, value, Origin("x", 1)) for key, value in named.items()})


class Plain(BatchSystem):
    """A third party's: four methods, and options of its own."""

    def __init__(self, host: str = "none") -> None:
        self.host = host

    def issueJob(self, spec: JobSpec) -> int:
        return 1

    def getIssuedJobIDs(self) -> frozenset[int]:
        return frozenset()

    def getUpdatedJobs(self) -> dict[int, Update]:
        return {}

    def killJobs(self, ids: Iterable[int]) -> None:
        return None


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> str:
    """Install a third party's batch system."""

    def offered(group: str) -> list[EntryPoint]:
        return [EntryPoint("myCluster", f"{__name__}:Plain", group)]

    monkeypatch.setattr("importlib.metadata.entry_points", offered)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Plain.__module__])
    return "myCluster"


def test_a_third_party_s_table_makes_its_adapter(plain: str, tmp_path: Path) -> None:
    site = load_site(str(write(tmp_path / "s.toml", "[myCluster]\nhost = 'far'")))
    made = registry.load_for("mycluster", site)
    assert isinstance(made, Plain)
    assert made.host == "far"
    assert not registry.is_here(plain)


def test_one_without_options_needs_no_table_and_refuses_an_unknown_key(plain: str) -> None:
    bare = registry.load_for(plain, Site())
    assert isinstance(bare, Plain)
    assert bare.host == "none"
    with pytest.raises(BatchSystemError, match=r"myCluster\.port") as caught:
        registry.load_for(plain, site_of(myCluster__port=3))
    assert caught.value.code == "JT203"


@dataclass(frozen=True)
class HostSettings(SchedulerSettings):
    """A third party's."""

    hosts: tuple[str, ...] = NAMES((), "where jobs run")
    longest_s: float = PERIOD(60.0, "the longest a job may run", "longest")


def test_a_third_party_may_declare_its_settings_and_have_them_read_and_checked() -> None:
    site = site_of(myCluster__hosts="far", myCluster__longest="2h", worker__setup=("true",))
    found = site.make(HostSettings, "myCluster")
    assert found == HostSettings(hosts=("far",), longest_s=7200.0, setup=("true",))
    with pytest.raises(BatchSystemError, match="longest_s cannot be 'soon'") as caught:
        site_of(myCluster__longest="soon").make(HostSettings, "myCluster")
    assert "2-00:00:00" in caught.value.fix
    with pytest.raises(TypeError, match=r"unknown keys in .*: port"):
        site_of(myCluster__port=3).make(HostSettings, "myCluster")


@dataclass(frozen=True, slots=True)
class FarSettings(QueueSettings):
    """A third party's scheduler."""

    longest_s: float = PERIOD(60.0, "the longest a job may run", "longest")


class Far(JsonDialect):
    """Its dialect."""

    settings_class = FarSettings

    def __init__(self, settings: FarSettings | None = None, told: object = None) -> None:
        super().__init__()
        Dialect.__init__(self, settings, told)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a third party's dialect."""

    def offered(group: str) -> list[EntryPoint]:
        return [EntryPoint("far", f"{__name__}:Far", group)]

    monkeypatch.setattr("importlib.metadata.entry_points", offered)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Far.__module__])


@pytest.mark.usefixtures("far")
def test_the_table_of_a_third_party_s_dialect_is_read_by_its_settings(tmp_path: Path) -> None:
    text = "[far]\nlongest = '2h'\n[[far.queue]]\nname = 'a'\nmax_memory = '1GB'"
    site = load_site(str(write(tmp_path / "site.toml", text)))
    assert site.get("far.queue") == (Queue("a", memory_bytes=2**30),)
    made = registry.load_for("far", site)
    assert made.capacity().largest.memory_bytes == 2**30
    made.close()


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("[far]\nlonger = 3", "JT122", 3),
        ("[far]\nlongest = 'soon'", "JT123", 3),
        ("[[far.queue]]\nmax_memory = '1GB'", "JT123", 2),
        ("far = 3", "JT123", 2),
    ],
)
def test_and_what_is_wrong_in_it_is_told_with_its_line(
    tmp_path: Path, text: str, code: str, line: int
) -> None:
    _, (problem,) = check_places([Place(str(write(tmp_path / "site.toml", text)), "--site")])
    assert (problem.code, problem.origin.line) == (code, line)


def test_the_single_machine_takes_its_table_and_the_caller_s_cpus(tmp_path: Path) -> None:
    site = site_of(singleMachine__max_cpus=3)
    for caller, slots in ((Caller(str(tmp_path)), 3), (Caller(None, 7), 7)):
        made = registry.load_for("singleMachine", site, caller)
        assert isinstance(made, SingleMachine)
        assert made.capacity().slots == slots
        assert caller.state_dir in (None, made.state_dir)
        made.close()
    locked = Site(site.settings, {"singleMachine": Origin("/etc/x", 4)})
    made = registry.load_for("acidTest", locked, Caller(None, 7))
    assert made.capacity().slots == 3
    made.close()
    assert registry.is_here("acid_test")


def test_grid_engine_is_made_as_the_site_describes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_sge(monkeypatch, tmp_path / "fake")
    text = "[sge]\nmemory = []\n[[sge.queue]]\nname = 'a.q'\nmax_time = '2h'\n[grace]\nstuck = '5s'"
    batch = registry.load_for("gridEngine", load_site(str(write(tmp_path / "s.toml", text))))
    assert isinstance(batch, CommandLine)
    assert batch.capacity().largest.time_s == 7200
    assert batch._dialect.settings.memory == ()
    assert batch._timeouts.held_s == 5
    batch.close()


def test_slurm_takes_its_pace_from_the_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, tmp_path / "fake")
    site = load_site(
        str(write(tmp_path / "s.toml", "[slurm]\n[[slurm.queue]]\nname = 'a'\nmax_cpus = 4"))
    )
    batch = registry.load_for("slurm", site)
    assert batch.capacity().largest.cpus == 4
    batch.close()
