"""`jobtree site`: what an administrator types, sees, and gets as exit status."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from batchsystems.sitefiles import schema
from jobtree.cli.main import main

ROOT = Path(__file__).parents[3]
READY = sorted((ROOT / "site-config").glob("*.toml"))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the user's own site file, which is not there yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "jobtree").mkdir()
    return tmp_path / "jobtree" / "site.toml"


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> tuple[str, str]:
    assert main(["site", *words]) == status
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.out, captured.err


def test_show_tells_every_key_its_value_and_origin(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine.write_text("schema = 1\n[slurm]\naccount = 'lab'\n[pacing]\npoll_interval = '1m'\n")
    later = tmp_path / "later.toml"
    later.write_text("schema = 1\n[locked]\nkeys = ['retry']\n[slurm]\naccount = 'all'\n")
    monkeypatch.setenv("JOBTREE_SITE", str(mine))
    out, _ = said(capsys, "show", "--site", str(later))
    lines = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert list(lines) == [key for key in schema().keys if "[]" not in key]
    assert (
        lines["slurm.account"].split(maxsplit=1)[1] == f'"all"                # {later}:5 (--site)'
    )
    assert lines["pacing.poll_interval"].endswith(
        f'"1m"                 # {mine}:5 ($JOBTREE_SITE)'
    )
    assert lines["grace.stuck"].endswith('"2m"                 # default')
    assert lines["retry.retry_count"].endswith(f"# default, locked by {later}:3")
    assert all(len(line) <= 120 + len(str(tmp_path)) for line in lines.values())


def test_show_as_json(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine.write_text("schema = 1\n[[slurm.queue]]\nname = 'a'\nmax_time = '2h'\n")
    found = json.loads(said(capsys, "show", "--json")[0])
    assert found["files"] == [str(mine)]
    queue = found["settings"]["slurm.queue"]
    assert (queue["value"][0]["name"], queue["value"][0]["time_s"]) == ("a", 7200.0)
    assert queue["origin"] == {"file": str(mine), "line": 2, "via": "your configuration"}
    assert found["settings"]["grace.absence"] == {
        "value": 60.0, "origin": None, "locked_by": None,
    }  # fmt: skip


def test_show_refuses_a_wrong_file(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine.write_text("schema = 1\n[slurm]\nacount = 'lab'\n")
    out, err = said(capsys, "show", status=3)
    assert out == ""
    assert err.startswith("error[JT122]: unknown key 'acount' in [slurm]")


def test_the_meaning_of_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "show", "--schema")
    words = out.split()
    assert [key for key in schema().keys if key not in words] == []
    assert max(map(len, out.splitlines())) <= 100
    made = json.loads(said(capsys, "show", "--schema", "--json")[0])
    assert made["properties"]["schema"]["const"] == 1
    assert made["required"] == ["schema"]
    slurm = made["properties"]["slurm"]
    assert slurm["additionalProperties"] is False
    assert slurm["properties"]["memory"]["enum"] == ["job", "cpu", "none"]
    assert slurm["properties"]["queue"]["items"]["required"] == ["name"]
    assert '"null"' not in json.dumps(made)


def test_check_without_a_site_file_tells_where_it_looked(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = said(capsys, "check")
    assert "no site file" in out
    assert str(mine) in out


def test_check_tells_everything_that_is_wrong_in_the_files_in_force(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine.write_text("schema = 1\n[slurm]\nacount = 'lab'\nmemory = 3\n")
    _, err = said(capsys, "check", status=3)
    assert err.count("error[JT12") == 2
    assert "    4 | memory = 3" in err.splitlines()
    mine.write_text("schema = 1\n[slurm]\naccount = 'lab'\n")
    out, _ = said(capsys, "check")
    assert f"{mine}: good, 1 key in force" in out


def test_check_of_named_files_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text("schema = 1\n")
    bad.write_text("schema = 1\nlimit = 3\n")
    found = json.loads(said(capsys, "check", str(good), str(bad), "nope", "--json", status=3)[0])
    assert found["ok"] is False
    assert found["files"][:2] == [str(good), str(bad)]
    assert [(each["code"], each["line"]) for each in found["problems"]] == [
        ("JT122", 2), ("JT120", None),
    ]  # fmt: skip
    assert found["problems"][0]["source"] == "limit = 3"
    assert json.loads(said(capsys, "check", str(good), "--json")[0])["problems"] == []


def test_a_verb_is_wanted_and_an_unknown_one_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "wants a verb" in said(capsys, status=2)[1]
    assert "did you mean check?" in said(capsys, "chek", status=2)[1]


# ---- the ready files -------------------------------------------------------------------------


@pytest.mark.parametrize("path", READY, ids=lambda path: path.name)
def test_a_ready_file_is_good_and_so_is_all_it_has_commented_out(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "good" in said(capsys, "check", str(path))[0]
    whole = tmp_path / "whole.toml"
    lines = [live(line) for line in path.read_text().splitlines()]
    whole.write_text("\n".join(lines))
    said(capsys, "check", str(whole))
    assert len(tomllib.loads(whole.read_text())) >= len(tomllib.loads(path.read_text()))


def live(line: str) -> str:
    """Return a commented-out setting as one that counts, and all else as it is."""
    text = line.removeprefix("# ")
    setting = text.startswith(("[", "module ", '"""')) or " = " in text.partition("#")[0]
    return text if line.startswith("# ") and setting else line


def test_the_readme_names_every_ready_file() -> None:
    page = (ROOT / "site-config/README.md").read_text()
    assert READY
    assert [path.name for path in READY if f"[{path.name}]" not in page] == []
