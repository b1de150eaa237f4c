"""What the master does when all is done and only the scheduler's word is waited for."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jobtree.core.issue_states import State
from jobtree.master.loop import Master
from tests.unit.master.runs import add_issue, living


def test_ends_are_expected_once_when_nothing_else_is_waited_for(tmp_path: Path) -> None:
    asked: list[str] = []
    quiet: Any = SimpleNamespace(
        getUpdatedJobs=dict,
        fileno=lambda: None,
        expect_ends=lambda: asked.append("asked"),
        capacity=lambda: SimpleNamespace(told=True, slots=1, largest=None),
    )
    nothing: Any = SimpleNamespace(keep=lambda: None)
    with living(tmp_path) as run:
        run.systems = {"singleMachine": quiet}
        run.mailbox = SimpleNamespace(  # type: ignore[assignment]
            rung=set, requests=tuple, forget_bundles=lambda names: None
        )
        with closing(Master(run, nothing)) as master:
            master.leaving = True
            issue = add_issue(run, State.RUNNING)
            master.turn()
            assert not asked
            run.change_state(issue, State.PUBLISHED)
            master.turn()
            master.turn()
            assert asked == ["asked"]
