"""What the batch system answers to a submission, and what becomes of its pack then."""

from __future__ import annotations

from pathlib import Path

from batchsystems.interface import Ambiguous, Refused, Resources
from jobtree.core.issue_states import News, State
from jobtree.core.job import Colour
from jobtree.core.packing import Measured
from jobtree.mailbox.results import End
from jobtree.master.issue_events import HOLD_S, advance_issue
from tests.unit.master.world import (
    BACK,
    FENCED,
    HELLO,
    NEEDS,
    RESCUES,
    RETRIES,
    UNTIMED,
    budgets,
    one_pack,
    world,
)


def test_what_is_accepted_is_queued_and_its_id_is_kept(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        issue = one_pack(it, 1)
        assert issue.state == State.QUEUED
        (stored,) = it.run.store.issues()
        assert stored.native == "4711"


def test_a_submission_in_doubt_costs_its_jobs_nothing_and_is_not_made_again(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        (issue,) = it.turn()
        it.hears(issue, Ambiguous("timed out"))
        assert issue.state == State.AMBIGUOUS
        assert budgets(it, 2) == (Colour.GREY, RETRIES, RESCUES)
        assert it.turn() == []


def test_what_is_refused_for_the_moment_goes_back_and_the_next_submission_waits(
    tmp_path: Path,
) -> None:
    with world(tmp_path, NEEDS) as it:
        (issue,) = it.turn()
        it.hears(issue, Refused("too many jobs", transient=True))
        assert budgets(it, 2) == BACK
        assert it.mailbox.fences == [(issue.name, FENCED)], "it may have started all the same"
        assert it.turn() == []
        it.clock.time += HOLD_S
        assert len(it.turn()) == 1


def test_what_was_refused_and_ran_all_the_same_counts(tmp_path: Path) -> None:
    with world(tmp_path, UNTIMED, UNTIMED, slots=1) as it:
        it.run.measured["Sort"] = Measured(0.001, 1000)
        (issue,) = it.turn()
        it.mailbox.written[issue.name] = [HELLO, it.done(2)]
        it.hears(issue, Refused("too many jobs", transient=True))
        assert it.run.store.get(2) is None
        assert budgets(it, 3) == BACK


def test_what_is_refused_for_good_fails_for_good(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        (issue,) = it.turn()
        it.hears(issue, Refused("no such queue"))
        assert it.job(2).colour == Colour.RED
        assert it.history(2) == [("failed", "no such queue")]
        assert it.run.issues == {}


def test_what_is_refused_for_the_reserve_of_time_alone_is_asked_for_again_without(
    tmp_path: Path,
) -> None:
    with world(tmp_path, NEEDS._replace(time_s=1000.0), time_margin=3.0) as it:
        (issue,) = it.turn()
        it.scheduler.largest = Resources(cpus=2**31, time_s=2000.0)  # known by now
        it.hears(issue, Refused("time limit"))
        assert budgets(it, 2) == BACK
        (again,) = it.turn()
        assert again.granted.time_s == 2000.0


def test_a_refusal_for_the_moment_shortens_no_longer_wait(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        (issue,) = it.turn()
        it.run.launches.hold(it.clock.time + 64)
        it.hears(issue, Refused("too many jobs", transient=True))
        assert it.run.launches.hold_until == it.clock.time + 64


def test_what_runs_though_it_was_refused_for_good_goes_on(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        (issue,) = it.turn()
        it.hears(issue, Ambiguous("timed out"))
        it.writes(issue, HELLO, it.start(2))
        it.hears(issue, Refused("no such queue"))
        assert (issue.state, it.job(2).colour, it.mailbox.fences) == (
            State.RUNNING,
            Colour.GREY,
            [],
        )
        it.writes(issue, it.done(2), End(1.0))
        assert it.run.store.get(2) is None


def test_what_was_done_before_it_was_refused_for_good_counts(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        (issue,) = it.turn()
        it.hears(issue, Ambiguous("timed out"))
        it.mailbox.written[issue.name] = [HELLO, it.start(2), it.done(2), End(1.0)]
        it.hears(issue, Refused("no such queue"))
        assert it.run.store.get(2) is None
        advance_issue(it.run, issue, News.ABSENT)
        assert it.run.issues == {}
