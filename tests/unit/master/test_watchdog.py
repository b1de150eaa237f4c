"""The regular looks at running issues: by whose clock a step is long, and a worker silent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from batchsystems.errors import Unobtainable
from jobtree.core.issue_states import News, State
from jobtree.core.job import Requirements
from jobtree.core.rescue import NEVER_BEGAN, Policy
from jobtree.mailbox.results import Start
from jobtree.master import watchdog
from jobtree.master.issue import Issue

POLICY = Policy(silent_s=100.0, longest_step_s=50.0)


class Look:
    """One issue, looked at as time goes by; notes why it was killed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: State, policy: Policy) -> None:
        self.now, self.running_s, self.killed = 0.0, 0.0, ""
        self.beat = 1
        self.step: Start | None = None
        self.issue = Issue("j", 0, "any", Requirements(), [(1, 1, 0)], 0.0, 0.0)
        self.issue.state, self.issue.handle = state, 1
        system = SimpleNamespace(
            getIssuedJobIDs=lambda: frozenset({1}), getRunningJobIDs=lambda: {1: self.running_s}
        )
        self.run_state: Any = SimpleNamespace(
            systems={"any": system},
            issues={"j.0": self.issue},
            clock=SimpleNamespace(now=lambda: self.now),
            policy=policy,
            outages={},
            mailbox=SimpleNamespace(
                running=lambda _: self.step, beat=lambda _: self.beat, keep_alive=lambda: None
            ),
        )
        monkeypatch.setattr(watchdog, "read_results", lambda *_: None)
        monkeypatch.setattr(watchdog, "readmit_due", lambda _: None)
        monkeypatch.setattr(watchdog, "kill", lambda _, issue, why: setattr(self, "killed", why))

    def after(self, seconds: float, running_s: float | None = None) -> str:
        """Look again after so long, in which the job ran for so long; return why it was killed."""
        self.now += seconds
        self.running_s += seconds if running_s is None else running_s
        watchdog.check_issues(self.run_state)
        return self.killed


def test_silence_counts_only_while_the_job_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Look(monkeypatch, State.RUNNING, POLICY)
    assert look.after(10) == ""
    assert look.after(10_000, running_s=0) == "", "suspended: it cannot beat"
    assert look.after(99) == ""
    assert look.after(2) == ""
    assert look.after(1) == "no heartbeat for 100 s", "silent at two looks"


def test_a_master_that_was_stalled_hears_its_workers_before_it_judges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file server that was away for long stalls master and workers alike."""
    look = Look(monkeypatch, State.RUNNING, POLICY)
    assert look.after(10) == ""
    for _ in range(2):
        assert look.after(1000) == "", "the master may be the first to go on"
        look.beat += 1
        assert look.after(1) == ""
    assert look.after(101) == ""
    assert look.after(1) == "no heartbeat for 100 s"


def test_a_step_is_no_longer_for_being_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Look(monkeypatch, State.RUNNING, POLICY)
    look.step = Start(1, 1, 0, 5.0)
    look.running_s = 5.0
    assert look.after(40) == ""
    look.beat += 1
    assert look.after(10_000, running_s=0) == ""
    assert look.after(11) == "a step ran for more than --maxJobDuration (50 s)"


def test_what_is_said_to_run_and_never_begins_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Look(monkeypatch, State.QUEUED, POLICY)
    assert look.after(100) == ""
    assert look.after(1) == ""
    assert look.after(1) == NEVER_BEGAN, "at two looks"


def test_what_stays_in_the_queue_after_its_results_is_killed_and_given_up_at_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A batch system may show what ran on a lost node until that node is back."""
    look = Look(monkeypatch, State.PUBLISHED, POLICY)
    news: list[News] = []
    monkeypatch.setattr(watchdog, "advance_issue", lambda _, issue, each: news.append(each))
    look.after(POLICY.publish_s)
    assert News.OVERDUE not in news
    look.after(1)
    assert news.count(News.OVERDUE) == 1
    look.after(POLICY.kill_s)
    assert News.ABSENT not in news
    look.run_state.systems["any"].getIssuedJobIDs = unobtainable
    look.after(1_000)
    assert News.ABSENT not in news, "the batch system may have been told nothing"
    look.run_state.systems["any"].getIssuedJobIDs = lambda: frozenset({1})
    look.after(1)
    assert (news.count(News.OVERDUE), news.count(News.ABSENT)) == (1, 1)


@pytest.mark.parametrize("state", [State.SUBMITTING, State.AMBIGUOUS])
def test_what_was_only_handed_to_the_adapter_is_not_queued(
    monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    look = Look(monkeypatch, state, POLICY)
    news: list[News] = []
    monkeypatch.setattr(watchdog, "advance_issue", lambda _, issue, each: news.append(each))
    look.run_state.systems["any"].getRunningJobIDs = dict
    look.after(POLICY.unanswered_s + 1)
    look.after(1)
    assert news == [], "nor is it given up: the adapter has it"
    look.run_state.systems["any"].getRunningJobIDs = lambda: {1: 1.0}
    look.after(1)
    assert news == [News.PRESENT], "it runs, though nobody said that it was accepted"


def test_a_batch_system_that_gives_no_answer_is_told_of_once_an_hour(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    look = Look(monkeypatch, State.SUBMITTING, Policy())
    look.issue.handle = 0
    look.run_state.systems["any"].getIssuedJobIDs = unobtainable
    for _ in range(11):
        look.after(60)
    assert caplog.messages == []
    for _ in range(60):
        look.after(60)
    assert caplog.messages == ["any gives no answer: no answer; jobs are unaffected"]
    for _ in range(2):
        look.after(60)
    assert len(caplog.messages) == 2
    look.run_state.systems["any"].getIssuedJobIDs = lambda: frozenset({1})
    look.after(60)
    assert look.run_state.outages == {}


def unobtainable() -> frozenset[int]:
    raise Unobtainable("no answer")
