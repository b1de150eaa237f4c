"""What the news of one issue is taken for, by a master that has others out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jobtree.core.issue_states import State
from jobtree.core.job import Requirements
from jobtree.mailbox.results import Hello, ResultLine, Returned, Start
from jobtree.master import issue_events
from jobtree.master.issue import Issue
from jobtree.master.run_state import Launches

HELLO = Hello("node", 1, "0" * 16, 0.0, "")
START = Start(1, 1, 0, 0.0)


@pytest.mark.parametrize(
    ("lines", "running", "failed"),
    [
        ([], None, 2),
        ([HELLO], None, 2),
        ([HELLO], START, 0),
        ([HELLO, START], None, 0),
        ([HELLO, Returned([1])], None, 0),
    ],
)
def test_launches_go_well_again_only_once_a_worker_does_more_than_begin(
    monkeypatch: pytest.MonkeyPatch, lines: list[ResultLine], running: Start | None, failed: int
) -> None:
    """A worker whose workflow's directory is gone begins, and gives up."""
    issue = Issue("j", 0, "any", Requirements(), [(1, 1, 0)], 0.0, 0.0)
    issue.state, issue.started_at = State.RUNNING, 0.0
    mailbox = SimpleNamespace(
        read=lambda _: lines, hello=lambda _: HELLO, running=lambda _: running
    )
    launches = Launches()
    launches.failed_in_row = 2
    run: Any = SimpleNamespace(mailbox=mailbox, launches=launches)
    monkeypatch.setattr(issue_events, "apply_lines", lambda *_: False)
    issue_events.read_results(run, issue)
    assert launches.failed_in_row == failed
