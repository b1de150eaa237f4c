"""How long a session is waited for that has no end of a job: with a library made of answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchsystems.drmaasession.book import Book
from batchsystems.drmaasession.session import GONE_S, UNDETERMINED_S, Session


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
    monkeypatch.setattr("batchsystems.drmaasession.session.time.monotonic", lambda: now[0])
    book = Book(str(tmp_path))
    book.open()
    session = Session(Library("running", state, "running", state), book)
    session.submit({**ASKED, "native": "", "limit_s": None})
    (job,) = book.jobs.values()
    for _ in range(3):  # the third look makes up for the second
        assert session.look(0)["jobs"][0]["state"] == "running"
        now[0] += patience_s
    session.look(0)
    now[0] += patience_s - 1
    assert "end" not in session.look(0)["jobs"][0]
    now[0] += 1
    assert session.look(0)["jobs"][0]["end"]["how"] == "gone"
    assert job.key not in book.jobs
    book.close()
