"""Site files of any content: read, or explained; never anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batchsystems.commandline.pacing import Pace, Timeouts
from batchsystems.site.problems import refuse
from batchsystems.site.reading import Source, read_sites
from batchsystems.site.writing import write_value
from batchsystems.sitefiles import schema
from batchsystems.slurm.settings import SlurmSettings
from jobtree.cli.explain import CODES
from jobtree.core.rescue import Policy
from jobtree.options import settings_in_force
from tests.unit.site.test_site_positions import VALUES, texts

KEYS = [key for key in schema().keys if "[]" not in key]
READY = [path.read_text() for path in Path(__file__).parents[3].glob("site-config/*.toml")]
LIKELY: Any = st.sampled_from(
    ["2h", "4GB", "0", "-1", "1e400", "", "short", "/bin/sh", "a,b", "--array=1", "-x", "cpu"]
) | st.sampled_from([0, 1, -1, 2**63, 2**70, 0.5, 1e308, -0.0, True, [], ["a"], [{"name": "q"}]])


@st.composite
def likely_texts(draw: st.DrawFn) -> str:
    """Write known keys with values that may or may not be theirs."""
    lines = ["schema = 1"]
    for key in draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=8)):
        lines.append(f"{key} = {write_value(draw(LIKELY | VALUES))}")
    if draw(st.booleans()):
        locked = draw(st.lists(st.sampled_from([*KEYS, "slurm", "nonsense", ""]), max_size=3))
        lines.append(f"locked.keys = {write_value(locked)}")
    return "\n".join(lines)


@st.composite
def spoiled_texts(draw: st.DrawFn) -> str:
    """Take a ready file, and cut something out or put something in."""
    text = draw(st.sampled_from(READY))
    at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 20))
    return text[:at] + draw(st.text(max_size=6)) + text[at + length :]


ANY_TEXT = st.text(max_size=60) | texts() | likely_texts() | spoiled_texts()


@given(st.lists(ANY_TEXT, max_size=3))
def test_any_files_are_read_or_explained(contents: list[str]) -> None:
    sources = [Source(f"/{n}", "test", text) for n, text in enumerate(contents)]
    site, problems = read_sites(sources, schema(), lambda name: name == "other")
    for problem in problems:
        assert problem.code in CODES
        lines = contents[int(problem.origin.file[1:])].split("\n")
        assert 0 <= problem.origin.line <= len(lines)
        assert problem.what
    if problems:
        assert str(refuse(problems)).count("error[JT12") >= len(problems)
        return
    settings, _ = settings_in_force(
        {}, None, site
    )  # what was found good makes all that is made of it
    assert isinstance(settings.policy, Policy)
    assert site.make(Pace).poll_s > 0
    assert site.make(Timeouts).query_s > 0
    site.make(SlurmSettings, "slurm")


@given(VALUES)
def test_a_value_is_written_as_it_would_be_read(value: Any) -> None:
    import tomllib

    assert tomllib.loads(f"a = {write_value(value)}") == {"a": value}
