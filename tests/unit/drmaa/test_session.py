"""How long a session is waited for that has no end of a job: with a library made of answers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from batchsystems.drmaa.session.journal import Journal
from batchsystems.drmaa.session.session import GONE_S, UNDETERMINED_S, Session


class ExitTimeoutException(Exception):
    pass


class InvalidJobException(Exception):
    pass


class Library:
    """A loaded module, and its session. states: what jobStatus says next, for ever the last."""

    TIMEOUT_NO_WAIT = 0
    JOB_IDS_SESSION_ANY = "any"
    contact = ""

    def __init__(self, *states: str) -> None:
        self.states = list(states)
        self.Session: Any = self

    def __call__(self) -> Library:
        return self

    def initialize(self, *contact: str) -> None:
        self.contact = contact[0] if contact else "c"

    def createJobTemplate(self) -> Any:
        return type("Template", (), {"attributeNames": ()})()

    def deleteJobTemplate(self, template: Any) -> None:
        pass

    def runJob(self, template: Any) -> str:
        return "1"

    def wait(self, native: str, timeout: int) -> None:
        raise ExitTimeoutException

    def jobStatus(self, native: str) -> str:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if not state:
            raise InvalidJobException
        return state


ASKED = {"name": "job", "size": None, "script": "", "shell": ["/bin/sh"], "cwd": "/"}


@pytest.mark.parametrize(("state", "patience_s"), [("", GONE_S), ("undetermined", UNDETERMINED_S)])
def test_what_nobody_knows_is_gone_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, patience_s: float
):
    now = [1000.0]
    monkeypatch.setattr("batchsystems.drmaa.session.session.time.monotonic", lambda: now[0])
    journal = Journal(str(tmp_path))
    journal.open()
    session = Session(Library("running", state, "running", state), journal)
    session.submit({**ASKED, "native": "", "limit_s": None})
    (job,) = journal.jobs.values()
    for _ in range(3):  # the third look makes up for the second
        assert session.poll(0)["jobs"][0]["state"] == "running"
        now[0] += patience_s
    session.poll(0)
    now[0] += patience_s - 1
    assert "end" not in session.poll(0)["jobs"][0]
    now[0] += 1
    assert session.poll(0)["jobs"][0]["end"]["how"] == "gone"
    assert job.key not in journal.jobs
    journal.close()


class Forgetful(Library):
    """Tells once that a job was aborted, and cannot be reached when that is to be deleted."""

    JobControlAction = SimpleNamespace(TERMINATE="terminate")
    waits = deletions = 0

    def wait(self, native: str, timeout: int) -> Any:
        self.waits += 1
        if self.waits > 1:
            raise InvalidJobException
        usage = {"submission_time": "1"}
        return SimpleNamespace(jobId="1", wasAborted=True, resourceUsage=usage)

    def control(self, native: str, action: str) -> None:
        self.deletions += 1
        if self.deletions == 1:
            raise ConnectionError


def test_an_end_that_is_told_while_the_cluster_goes_away_is_not_waited_for_for_ever(tmp_path: Path):
    journal = Journal(str(tmp_path))
    journal.open()
    library = Forgetful("failed")
    session = Session(library, journal)
    session.submit({**ASKED, "native": "", "limit_s": None})
    with pytest.raises(ConnectionError):
        session.poll(0)
    end = session.poll(0)["jobs"][0]["end"]
    assert (end["how"], end["word"]) == ("gone", "failed")
    assert library.deletions == 2, "it does not stay in the queue in error"
    journal.close()
