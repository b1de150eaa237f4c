"""What Grid Engine reveals of itself becomes a site file that is valid, true and explained."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchsystems.errors import Unobtainable
from batchsystems.sge.probe import SgeProbe
from batchsystems.site.draft import write_draft
from batchsystems.sitefiles import check_text, schema
from batchsystems.transport.local import CommandResult

TOLD = json.loads((Path(__file__).parents[2] / "data" / "sge" / "probe.json").read_text())
ANSWERS = {name: CommandResult(0, text) for name, text in TOLD.items()}


def written(**changed: CommandResult | tuple[str, str]) -> str:
    """Return the file that is written when some answers, or words of them, are others."""
    answers = dict(ANSWERS)
    for name, new in changed.items():
        if isinstance(new, tuple):
            assert new[0] in TOLD[name]
            answers[name] = CommandResult(0, TOLD[name].replace(*new))
        else:
            answers[name] = new
    text = write_draft(SgeProbe().draft(answers), schema().keys, "/opt/python", "2026-11-25")
    assert check_text(text, "/site.toml") == []
    return text


def table(**changed: CommandResult | tuple[str, str]) -> dict[str, Any]:
    return tomllib.loads(written(**changed))["sge"]


H_VMEM = "h_vmem              h_vmem     MEMORY    <=    YES         YES"
M_MEM_FREE = "m_mem_free          mfree      MEMORY    <=    YES         YES"


def test_what_a_real_cell_told() -> None:
    assert SgeProbe().questions("root").keys() == TOLD.keys()
    assert table() == {"memory": "h_vmem", "memory_per": "slot"}
    text = written()
    assert text.startswith("# The cell of SGE 8.1.9")
    for words in ("so are m_mem_free, mem_free", "here are mpi, smp", "here are all.q, short.q"):
        assert words in text


@pytest.mark.parametrize(
    ("name", "change", "key", "value"),
    [
        ("resources", (H_VMEM, H_VMEM[:-3] + "NO "), "memory", "m_mem_free"),
        ("resources", (H_VMEM, H_VMEM[:-3] + "JOB"), "memory_per", "job"),
        ("resources", ("gpu                 gpu ", "ngpus               gpu "), "gpu", "ngpus"),
        ("config", ("accounting=true", "accounting=false"), "accounting", "none"),
    ],
)
def test_what_is_different_is_taken_up(
    name: str, change: tuple[str, str], key: str, value: str
) -> None:
    assert table().get(key) != value
    assert table(**{name: change})[key] == value


def test_memory_that_is_not_handed_out_is_at_least_limited() -> None:
    change = (" YES         YES        ", " YES         NO         ")
    assert table(resources=change)["memory"] == "h_vmem"
    assert "it only limits" in written(resources=change)


def test_limits_and_projects_are_told() -> None:
    limited = written(config=("max_u_jobs                   0", "max_u_jobs 300"))
    assert tomllib.loads(limited)["limits"]["max_jobs"] == 300
    forced = ("enforce_project              false", "enforce_project true")
    text = written(config=forced, projects=CommandResult(0, "physics\nbiology\n"))
    assert "every job must name one; here are physics, biology" in text
    assert '# project = "physics"' in text


def test_what_is_not_told_is_said() -> None:
    text = written(resources=CommandResult(1, "", "denied"))
    assert "how memory is asked for" in text
    assert "memory" not in tomllib.loads(text)["sge"]


def test_a_cell_that_does_not_answer_is_not_described() -> None:
    answers = dict.fromkeys(ANSWERS, CommandResult(1, "", "error: commlib error: got select error"))
    with pytest.raises(Unobtainable, match="commlib error"):
        SgeProbe().draft(answers)


def test_a_row_that_names_no_resource_is_none() -> None:
    said = TOLD["resources"] + "gpu:0   g   INT   <=   YES   YES   0   0\n"
    said = "\n".join(line for line in said.split("\n") if not line.startswith("gpu "))
    draft = SgeProbe().draft(ANSWERS | {"resources": CommandResult(0, said)})
    text = write_draft(draft, schema().keys, "/opt/python", "2026-11-25")
    assert check_text(text, "/site.toml") == []


@settings(deadline=None)
@given(st.data())
def test_no_answer_makes_a_file_that_is_wrong(data: st.DataObject) -> None:
    changed: dict[str, CommandResult] = {}
    for name in data.draw(st.sets(st.sampled_from(sorted(set(TOLD) - {"config"})))):
        said = TOLD[name]
        at, cut = data.draw(st.integers(0, len(said))), data.draw(st.integers(0, 12))
        changed[name] = CommandResult(
            0, said[:at] + data.draw(st.text(max_size=6)) + said[at + cut :]
        )
    draft = SgeProbe().draft(ANSWERS | changed)
    text = write_draft(draft, schema().keys, "/opt/python", "2026-11-25")
    assert check_text(text, "/site.toml") == []
