"""`jobtree site init`: what is asked, what is written, and what is never overwritten."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from jobtree.cli.main import main
from tests.unit.slurm.fake import FakeSlurm, use


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty directory that is the current one."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return use(monkeypatch, tmp_path / "fake")


def init(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> tuple[str, str]:
    assert main(["site", "init", *words]) == status
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.out, captured.err


def test_the_batch_system_that_is_here_is_asked(
    here: Path, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = init(capsys)
    written = tomllib.loads((here / "site.toml").read_text())
    assert written["batch_system"] == "slurm"
    assert [queue["name"] for queue in written["slurm"]["queue"]] == ["fake", "spare"]
    assert written["slurm"]["queue"][1]["preemptible"] is True
    assert f"jobtree site check {here}/site.toml" in out
    assert "the cluster fake (Slurm 22.05.8)" in out
    assert slurm.calls("sbatch") == []
    assert main(["site", "check", str(here / "site.toml")]) == 0
    assert sorted(path.name for path in here.iterdir()) == ["site.toml"]


def test_it_is_printed_on_demand(
    here: Path, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = init(capsys, "--output", "-")
    assert tomllib.loads(out)["batch_system"] == "slurm"
    assert sys.executable in out
    assert list(here.iterdir()) == []


def test_no_file_is_replaced_unasked(
    here: Path, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine.toml").write_text("mine")
    _, err = init(capsys, "--output", "mine.toml", status=2)
    assert err.startswith(f"error[JT109]: {here}/mine.toml exists")
    assert (here / "mine.toml").read_text() == "mine"
    assert slurm.calls() == [], "nothing is asked in vain"
    init(capsys, "--output", "mine.toml", "--force")
    assert tomllib.loads((here / "mine.toml").read_text())["batch_system"] == "slurm"
    assert sorted(path.name for path in here.iterdir()) == ["mine.toml"]


def test_a_directory_that_is_not_there_is_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = init(capsys, "--batchSystem", "local", "--output", "no/site.toml", status=5)
    assert f"{here}/no/site.toml" in err


def test_this_machine_is_described(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, canonical in (("single_machine", "singleMachine"), ("acidTest", "acidTest")):
        out, _ = init(capsys, "--batchSystem", name, "--output", "-")
        assert tomllib.loads(out)["batch_system"] == canonical
        assert "# max_cpus = " in out


def test_without_a_scheduler_it_is_this_machine(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/proc/nowhere")
    out, _ = init(capsys, "--output", "-")
    assert tomllib.loads(out)["batch_system"] == "singleMachine"
    _, err = init(capsys, "--batchSystem", "slurm", status=4)
    assert "there is no sbatch, no scontrol, no sinfo" in err


def test_an_unknown_batch_system_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = init(capsys, "--batchSystem", "slrum", status=4)
    assert "did you mean slurm?" in err


def test_a_scheduler_that_does_not_answer_is_not_described(
    here: Path, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.fault("scontrol", "error", times=9, stderr="Unable to contact slurm controller")
    _, err = init(capsys, status=4)
    assert "error[JT210]: Slurm gave no answer" in err
    assert "Unable to contact slurm controller" in err
    assert list(here.iterdir()) == []


def test_what_could_not_be_found_out_is_said(
    here: Path, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.configure(accounting=False)
    slurm.fault("sinfo", "garbage")
    init(capsys)
    text = (here / "site.toml").read_text()
    assert tomllib.loads(text)["slurm"]["accounting"] is False
    slurm.fault("sacct", "error", stderr="Connection refused")
    out, _ = init(capsys, "--force")
    assert "could not be found out" in out
    assert "whether there is accounting" in (here / "site.toml").read_text()


def test_an_enclosing_job_does_not_change_the_answers(
    here: Path, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SINFO_FORMAT", "%n")
    from batchsystems import probe, registry

    environment = probe._environment(registry.probes()["slurm"])
    assert "SINFO_FORMAT" not in environment
    assert "SLURM_CONF" in environment


def test_a_third_party_s_batch_system_gets_a_frame(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from batchsystems import registry

    known = registry._known()
    monkeypatch.setattr(registry, "_known", lambda: known | {"myBatch": "nowhere:MyBatch"})
    out, _ = init(capsys, "--batchSystem", "mybatch", "--output", "-")
    assert tomllib.loads(out) | {"batch_system": "myBatch", "myBatch": {}} == tomllib.loads(out)
    assert "there is no probe for myBatch" in out
