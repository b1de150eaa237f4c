"""What becomes of an issue and of its pack, as the batch system and its worker tell of it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from batchsystems.interface import JobEnd, Reason
from jobtree.core.exit_status import NOT_OURS, WORKER_FAILED
from jobtree.core.issue_states import News, State
from jobtree.core.job import Colour
from jobtree.mailbox.results import End, Failed, Returned, Usage
from jobtree.master import issue_events
from jobtree.master.issue import issue_of
from jobtree.master.issue_events import advance_issue, kill
from jobtree.master.loop import Master
from jobtree.master.result_events import hand_back
from tests.unit.master.world import (
    BACK,
    FENCED,
    HELLO,
    NEEDS,
    RESCUED,
    RESCUES,
    RETRIED,
    RETRIES,
    UNTIMED,
    budgets,
    one_pack,
    world,
)

# -- a worker's life -----------------------------------------------------------------------------


def test_how_long_an_adopted_issue_waited_is_not_measured(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        issue = one_pack(it, 1)
        again = issue_of(issue.stored(), [(2, *issue.open[2])], it.clock.time)
        it.run.issues[issue.name] = again
        before = it.run.overhead.start_s
        it.clock.time += 2.0
        it.writes(again, HELLO, it.start(2))
        assert again.state == State.RUNNING
        assert it.run.overhead.start_s == before


def test_the_plain_life_of_an_issue_leaves_nothing_behind(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        issue = one_pack(it, 1)
        it.clock.time += 2.0
        it.writes(issue, HELLO, it.start(2))
        assert (issue.state, issue.node, issue.started_at) == (
            State.RUNNING, HELLO.host, it.clock.time,
        )  # fmt: skip
        assert it.run.overhead.start_s == 2.0
        it.writes(issue, it.done(2), End(2.5))
        assert issue.state == State.PUBLISHED
        assert it.run.store.get(2) is None
        assert it.run.store.get(1) is None, "its parent had waited for it alone"
        assert it.history(2) == [("done", "")]
        assert it.mailbox.tidied == []
        it.ends(issue, Reason.OK, exit_status=0, wall_s=5.0)
        assert it.run.overhead.start_s == 2.0 + 5.0 - 2.0, "it lasted longer than its step"
        assert it.mailbox.tidied == [issue.submission]
        assert (it.run.issues, it.run.store.issues()) == ({}, [])
        assert it.run.in_use.slots_in.total() == it.run.in_use.slots == it.run.in_use.issues == 0
        assert it.run.finished()


def test_files_of_a_submission_stay_until_its_last_issue_has_ended(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS, NEEDS) as it:
        first, second = it.turn()
        for issue, number in ((first, 2), (second, 3)):
            it.writes(issue, HELLO, it.done(number), End(1.0))
        it.ends(first, Reason.OK)
        assert (it.mailbox.tidied, set(it.run.issues)) == ([], {first.name, second.name})
        it.ends(second, Reason.OK)
        assert (it.mailbox.tidied, it.run.issues) == ([first.submission], {})


def test_files_of_a_submission_stay_while_an_output_of_it_is_to_be_moved(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        issue = one_pack(it, 1)
        it.run.moves[99] = issue.name
        it.writes(issue, HELLO, it.done(2), End(1.0))
        it.ends(issue, Reason.OK)
        assert (it.mailbox.tidied, it.run.untidy) == ([], {issue.submission})
        it.run.moves.clear()
        issue_events.tidy_submission(it.run, issue.submission)
        it.act()
        assert (it.mailbox.tidied, it.run.untidy) == ([issue.submission], set())


def test_lines_of_another_attempt_change_nothing(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        issue = one_pack(it, 1)
        done = it.done(2)
        it.writes(issue, HELLO, done._replace(attempt=done.attempt - 1), done._replace(step=1))
        assert it.job(2).colour == Colour.GREY
        assert it.history(2) == []


def test_a_worker_hands_back_nothing_that_another_was_given_meanwhile(tmp_path: Path) -> None:
    with world(tmp_path, UNTIMED, UNTIMED, slots=1) as it:
        old = one_pack(it, 2)
        hand_back(it.run, old, 3)
        it.scheduler.slots = 2
        (new,) = it.turn()
        it.writes(old, HELLO, it.start(2), Returned([3]))
        assert (it.job(3).colour, list(new.open)) == (Colour.GREY, [3])


def test_what_a_worker_hands_back_is_ready_again(tmp_path: Path) -> None:
    with world(tmp_path, UNTIMED, UNTIMED, slots=1) as it:
        issue = one_pack(it, 2)
        issue.recall(2, it.clock.time)
        it.writes(issue, HELLO, it.start(2), Returned([3]))
        assert (budgets(it, 3), list(issue.open), issue.recalled_at) == (BACK, [2], None)


# -- ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "pays", "why"),
    [
        (JobEnd(Reason.FAILED, signal=11), RETRIED, "took its process down by signal 11"),
        (JobEnd(Reason.FAILED, exit_status=3), RETRIED, "ended its process with exit status 3"),
        (JobEnd(Reason.NODE_FAILED), RESCUED, "node failed"),
        (JobEnd(Reason.FAILED, signal=9), RESCUED, "its worker was killed by signal 9"),
        (JobEnd(Reason.TIME_LIMIT), RESCUED, "reached its time limit"),
        (JobEnd(Reason.OUT_OF_MEMORY), RESCUED, "out of memory at 1 GiB"),
        (JobEnd(Reason.FAILED, exit_status=NOT_OURS), BACK, ""),
        (JobEnd(Reason.FAILED, exit_status=WORKER_FAILED), RESCUED, "its worker could not go on"),
    ],
)
def test_the_step_that_ran_pays_and_its_pack_mates_do_not(
    tmp_path: Path, end: JobEnd, pays: tuple[Colour, int, int], why: str
) -> None:
    with world(tmp_path, UNTIMED, UNTIMED, UNTIMED, slots=1) as it:
        issue = one_pack(it, 3)
        it.writes(issue, HELLO, it.start(2))
        it.hears(issue, end)
        assert budgets(it, 2) == pays
        assert [budgets(it, mate) for mate in (3, 4)] == [BACK, BACK]
        assert all(told.startswith(why) for _, told in it.history(2))
        event = "failed" if pays == RETRIED else "lost"
        assert [told for told, _ in it.history(2)] == ([event] if why else [])
        assert it.mailbox.fences == [(issue.name, FENCED)], "an orphan is to begin nothing more"
        assert it.job(2).has_directory, "who knows how far it came"


def test_more_is_asked_for_after_memory_or_time_ran_out(tmp_path: Path) -> None:
    with world(tmp_path, UNTIMED, time_margin=4.0, least_time_s=100.0) as it:
        issue = one_pack(it, 1)
        it.writes(issue, HELLO, it.start(2))
        it.ends(issue, Reason.OUT_OF_MEMORY)
        assert it.job(2).memory_bytes == 2 * (NEEDS.memory_bytes or 0)
        (issue,) = it.turn()
        it.writes(issue, HELLO, it.start(2))
        it.ends(issue, Reason.TIME_LIMIT)
        granted_s = issue.granted.time_s or 0.0
        assert it.job(2).time_s == 2.0 * granted_s / 4.0, "without the margin"


def test_a_step_that_is_lost_twice_in_a_way_of_its_own_pays(tmp_path: Path) -> None:
    with world(tmp_path, UNTIMED) as it:
        for pays in (RESCUED, (Colour.WHITE, RETRIES - 1, RESCUES - 1)):
            issue = one_pack(it, 1)
            it.writes(issue, HELLO, it.start(2))
            it.ends(issue, Reason.FAILED, signal=10)
            assert budgets(it, 2) == pays
        assert it.history(2)[1][1].endswith("as before at this very step")


def test_results_written_before_a_bad_end_count(tmp_path: Path) -> None:
    with world(tmp_path, UNTIMED, UNTIMED, slots=1) as it:
        issue = one_pack(it, 2)
        it.mailbox.written[issue.name] = [HELLO, it.start(2), it.done(2), it.start(3)]
        it.ends(issue, Reason.NODE_FAILED)
        assert it.run.store.get(2) is None
        assert budgets(it, 3) == RESCUED
        assert issue.node_ok is False, "whatever went well there before"


def test_a_worker_that_ends_between_two_steps_costs_the_next_one_a_rescue(tmp_path: Path) -> None:
    with world(tmp_path, UNTIMED, UNTIMED, UNTIMED, slots=1) as it:
        issue = one_pack(it, 3)
        it.writes(issue, HELLO, it.start(2), it.done(2))
        it.ends(issue, Reason.FAILED, exit_status=1)
        assert (budgets(it, 3), budgets(it, 4)) == (RESCUED, BACK)
        assert it.history(3) == [("lost", "its worker ended between two steps")]
        assert it.run.launches.failed_in_row == 1


def test_damaged_results_cost_a_rescue(tmp_path: Path) -> None:
    with world(tmp_path, UNTIMED, UNTIMED, slots=1) as it:
        issue = one_pack(it, 2)
        it.writes(issue, HELLO)
        it.mailbox.damaged = "results of j.0 are damaged at byte 7"
        it.ends(issue, Reason.FAILED, exit_status=1)
        assert (budgets(it, 2), budgets(it, 3)) == (RESCUED, BACK)
        assert it.run.launches.failed_in_row == 0


def test_a_step_that_failed_is_told_with_its_reason_and_speaks_against_its_node(
    tmp_path: Path,
) -> None:
    with world(tmp_path, NEEDS) as it:
        issue = one_pack(it, 1)
        job = it.job(2)
        failed = Failed(
            2, job.attempt, 0, Usage(1.0, 1.0, None), 1, None, "exit status 1", "", False, [],
            False, True,
        )  # fmt: skip
        it.writes(issue, HELLO, it.start(2), failed, End(1.0))
        assert budgets(it, 2) == RETRIED
        assert it.history(2) == [("failed", "exit status 1")]
        assert issue.node_ok is False


# -- launches --------------------------------------------------------------------------------------


def test_all_of_a_pack_that_no_worker_began_costs_a_rescue(tmp_path: Path) -> None:
    with world(tmp_path, UNTIMED, UNTIMED, slots=1) as it:
        issue = one_pack(it, 2)
        it.ends(issue, Reason.FAILED, exit_status=127, node="n1")
        assert [budgets(it, 2), budgets(it, 3)] == [RESCUED, RESCUED]
        assert "its worker ended before it began" in it.history(2)[0][1]
        assert (issue.launch_error, issue.node_ok) == ("", False)
        assert it.mailbox.fences == [], "no worker can be an orphan"


def test_a_pack_that_another_jobtree_submitted_and_none_began_costs_nothing(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        issue = one_pack(it, 1)
        it.mailbox.replaced = True
        it.ends(issue, Reason.FAILED, exit_status=127, node="n1")
        assert budgets(it, 2) == BACK
        assert (issue.node_ok, it.run.launches.failed_in_row) == (None, 0)


def test_launches_that_fail_again_and_again_are_tried_ever_more_seldom(tmp_path: Path) -> None:
    with world(tmp_path, *[NEEDS] * 9) as it:
        it.set(policy=it.run.policy)
        for number, issue in enumerate(it.turn()):
            it.ends(issue, Reason.LAUNCH_FAILED)
            if number < 2:
                assert not it.run.launches.held(it.clock.time)
        assert it.run.launches.failed_in_row == 3, "the rest is of the same wave"
        assert it.turn() == []
        it.clock.time = it.run.launches.hold_until
        (issue, *_) = it.turn()
        it.ends(issue, Reason.LAUNCH_FAILED)
        assert it.run.launches.hold_until == it.clock.time + 2.0
        assert it.run.launches.failed_in_row == 4


def test_a_worker_that_begins_a_step_ends_the_row_of_failed_launches(tmp_path: Path) -> None:
    with world(tmp_path, *[NEEDS] * 3) as it:
        first, second, third = it.turn()
        it.ends(first, Reason.LAUNCH_FAILED)
        it.ends(second, Reason.LAUNCH_FAILED)
        it.writes(third, HELLO)
        assert it.run.launches.failed_in_row == 2
        it.writes(third, it.start(4))
        assert it.run.launches.failed_in_row == 0


def test_a_kill_is_no_failed_launch(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        issue = one_pack(it, 1)
        kill(it.run, issue, "the user's kill")
        it.ends(issue, Reason.FAILED, exit_status=1)
        assert budgets(it, 2) == BACK
        assert it.run.launches.failed_in_row == 0


# -- kills -----------------------------------------------------------------------------------------


def test_what_is_killed_is_fenced_first_and_issued_again_only_once_it_has_ended(
    tmp_path: Path,
) -> None:
    with world(tmp_path, NEEDS) as it:
        issue = one_pack(it, 1)
        it.writes(issue, HELLO, it.start(2))
        kill(it.run, issue, "no heartbeat for 600 s")
        fence, killing = it.run.effects
        fence()
        assert (it.mailbox.fences, it.scheduler.killed) == ([(issue.name, FENCED)], [])
        killing()
        assert it.scheduler.killed == [issue.handle]
        it.run.effects.clear()
        assert it.job(2).colour == Colour.GREY
        assert it.run.store.issues()[0].killed_for == "no heartbeat for 600 s"
        kill(it.run, issue, "something else")
        it.ends(issue, Reason.CANCELLED)
        assert budgets(it, 2) == RESCUED
        assert it.history(2) == [("lost", "killed: no heartbeat for 600 s")], "the first reason"


@pytest.mark.parametrize("news", [News.OVERDUE, News.ABSENT])
def test_a_kill_costs_what_had_not_begun_nothing_also_where_no_end_is_confirmed(
    tmp_path: Path, news: News
) -> None:
    with world(tmp_path, NEEDS) as it:
        issue = one_pack(it, 1)
        kill(it.run, issue, "the user's kill")
        advance_issue(it.run, issue, news)
        it.act()
        assert budgets(it, 2) == BACK


def test_what_was_killed_and_is_not_found_after_a_restart_costs_nothing_and_is_fenced(
    tmp_path: Path,
) -> None:
    with world(tmp_path, NEEDS) as it:
        issue = one_pack(it, 1)
        kill(it.run, issue, "the user's kill")
        it.run.pop_effects()  # the master dies before it has told anybody
        scheduler: Any = it.scheduler
        scheduler.adopt, scheduler.strays = lambda records: [None] * len(records), list
        lease: Any = SimpleNamespace(keep=lambda: None)
        with closing(Master(it.run, lease)) as master:
            master._adopt("fake")
        it.act()
        assert budgets(it, 2) == BACK
        assert it.mailbox.fences == [(issue.name, FENCED)]


def test_what_vanished_is_fenced_before_its_jobs_are_given_out_again(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        issue = one_pack(it, 1)
        it.writes(issue, HELLO, it.start(2))
        advance_issue(it.run, issue, News.ABSENT)
        assert (issue.state, it.job(2).colour) == (State.VANISHED, Colour.GREY)
        issue.note_kill("missing from the batch system")
        advance_issue(it.run, issue, News.OVERDUE)
        it.act()
        assert it.mailbox.fences[0] == (issue.name, FENCED)
        assert it.scheduler.killed == [issue.handle], "it may only have been hidden"
        assert budgets(it, 2) == RESCUED


def test_nodes_on_which_nothing_begins_are_left_out(tmp_path: Path) -> None:
    with world(tmp_path, *[NEEDS] * 2) as it:
        for issue in it.turn():
            it.hears(issue, JobEnd(Reason.LAUNCH_FAILED, node="bad"))
        assert it.scheduler.excluded == ["bad"]
