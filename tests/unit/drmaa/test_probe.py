"""What a DRMAA library tells of its cluster, as a site file that is right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchsystems import Unobtainable
from batchsystems.drmaa.probe import DrmaaProbe
from batchsystems.probe import run_probe
from batchsystems.site.draft import write_draft
from batchsystems.sitefiles import check_text, schema
from batchsystems.transport.local import CommandResult, Local
from tests.unit.drmaa.fake import use

MISSING = CommandResult(None, stderr="qconf: not found", started=False)


def written(about: str, **answers: CommandResult) -> str:
    """Return the site file of a cluster whose library says this of itself."""
    told = {"path": "/opt/x/libdrmaa.so", "env": {"SGE_ROOT": "/opt/sge"}, "about": {}}
    told["about"] = {"drmsInfo": about, "drmaaImplementation": "", "version": "1.0"}
    probe = DrmaaProbe()
    every = dict.fromkeys(probe.questions("user"), MISSING)
    draft = probe.draft({**every, "library": CommandResult(0, json.dumps(told)), **answers})
    text = write_draft(draft, schema().keys, "/usr/bin/python3", "2026-11-25")
    assert check_text(text, "site.toml") == []
    return text


def test_grid_engine_without_its_commands():
    text = written("SGE 8.1.9")
    assert 'library = "/opt/x/libdrmaa.so"' in text
    assert 'sge_root = "/opt/sge"' in text
    assert "qconf gave no answer" in text
    assert "task_variables" not in text


def test_grid_engine_with_its_commands():
    row = "h_vmem h_vmem MEMORY <= YES YES 1G 0"
    config = CommandResult(0, "max_aj_tasks                 75000\n")
    text = written("SGE 8.1.9", resources=CommandResult(0, f"{row}\n"), config=config)
    assert '\n[sge]\nmemory = "h_vmem"' in text
    assert 'memory_per = "slot"' in text


def test_a_cluster_that_is_not_known():
    text = written("PBS Professional")
    assert "how memory is asked for on PBS Professional" in text
    assert '# task_variables = ["PBS_ARRAYID"]' in text


def test_no_library_is_told_with_the_cure():
    said = CommandResult(1, stderr="error[JT231]: no DRMAA library was found\n  install one\n")
    with pytest.raises(Unobtainable, match="no DRMAA library gave an answer") as caught:
        written("", library=said)
    assert "install one" in caught.value.why


def test_the_library_of_this_machine_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, tmp_path / "drm").configure(drms="SLURM 22.05")
    # the library's own variables are kept from questions, as they are from jobs
    draft = run_probe(DrmaaProbe(), Local(), "user")
    assert draft.about == "SLURM 22.05, by its DRMAA library"
