"""Submissions that a real Grid Engine's verifier (JSV) turns down in its administrators' words.

Owns the verifier; must not use the session's cell, whose jobs it would judge. Read next: lab.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from batchsystems import JobEnd, Reason, Refused
from batchsystems.commandline.adapter import CommandLine
from batchsystems.commandline.factory import AdapterOf
from batchsystems.commandline.pacing import Timeouts
from batchsystems.conformance import Watcher, end_all, sh
from batchsystems.sge.dialect import SgeDialect
from batchsystems.sge.settings import SgeSettings
from tests.live.sge.conftest import temporary_cell
from tests.live.sge.lab import Lab
from tests.live.sge.test_adapter import BRIEF, QUICK

VERIFIER = """#!/bin/sh
# jsv(1): one job after the other, line by line
while read -r word rest; do
    case "$word $rest" in
        START*) echo STARTED; name= ;;
        'PARAM N '*) name=${rest#N } ;;
        BEGIN*)
            case $name in
                plain*) echo 'RESULT STATE REJECT You must ask for memory' ;;
                busy*) if mkdir "$0.busy" 2>/dev/null
                       then echo 'RESULT STATE REJECT_WAIT Not before lunch'
                       else echo 'RESULT STATE ACCEPT'
                       fi ;;
                *) echo 'RESULT STATE ACCEPT' ;;
            esac ;;
        QUIT*) exit 0 ;;
    esac
done
"""


def adapter(cell: Lab, monkeypatch: pytest.MonkeyPatch, settings: SgeSettings) -> CommandLine:
    cell.lead(monkeypatch)
    return AdapterOf(SgeDialect)(settings, QUICK, BRIEF)


@pytest.mark.parametrize("where", ["at the master", "at the client"])
def test_a_verifiers_own_words_are_a_refusal_that_is_told(
    monkeypatch: pytest.MonkeyPatch, open_tmp_path: Path, where: str
) -> None:
    script = open_tmp_path / "verifier.sh"
    script.write_text(VERIFIER)
    script.chmod(0o755)
    open_tmp_path.chmod(0o777)
    at_master = where == "at the master"
    conf = ("--conf", f"jsv_url=script:{script}") if at_master else ()
    settings = SgeSettings(directives=() if at_master else (f"-jsv {script}",))
    with temporary_cell("--hosts", "1", *conf) as cell:
        batch = adapter(cell, monkeypatch, settings)
        watcher = Watcher(batch)
        refused, busy, other = (
            batch.issueJob(sh("exit 0", name)) for name in ("plain", "busy", "other")
        )
        watcher.until(lambda: len(watcher.news.get(refused, ())) > 0, "an answer")
        (told,) = watcher.news[refused]
        assert isinstance(told, Refused), told
        assert not told.transient
        assert "You must ask for memory" in told.why
        assert f"({Timeouts().tries} times)" in told.why
        for job in (busy, other):
            end = watcher.end(job)
            assert isinstance(end, JobEnd)
            assert end.reason is Reason.OK
        end_all(batch)
