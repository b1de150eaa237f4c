"""The colour machine: every rule of the tree, by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtree.core import job_states
from jobtree.core.job import (
    ATTEMPTS_PER_EPOCH,
    Colour,
    Command,
    CommandKind,
    Job,
    Requirements,
    attempt_count,
)

BUDGETS = job_states.Budgets(retries=2, rescues=3)


def command(label: str) -> Command:
    return Command(CommandKind.SHELL, label, label, Requirements())


FIRST, FOLLOW, CHILD = command("first"), command("follow"), command("child")

EXAMPLES = [
    job_states.Issued(1),
    job_states.StepDone(),
    job_states.StepDone(follow_on=FOLLOW),
    job_states.StepDone(child_count=1, child=CHILD, goes_on=True),
    job_states.StepDone(child_count=3, follow_on=FOLLOW),
    job_states.StepDone(moves=True),
    job_states.Moved(job_states.StepDone(child_count=2)),
    job_states.StepFailed(),
    job_states.StepFailed(crashed=True),
    job_states.Faulted(),
    job_states.Exhausted(5, 5.0),
    job_states.Unstarted(),
    job_states.ChildFinished(),
]


def job(**changes: object) -> Job:
    return job_states.first_job(7, 1, FIRST, BUDGETS)._replace(**changes)  # type: ignore[arg-type]


def grey(**changes: object) -> Job:
    return job(colour=Colour.GREY, attempt=ATTEMPTS_PER_EPOCH + 1, **changes)


def after(start: Job, *events: job_states.Event) -> Job:
    for event in events:
        start = job_states.step(start, event, BUDGETS).job
    return start


def test_issuing_a_white_job_makes_it_grey_with_a_new_attempt() -> None:
    issued = after(job(), job_states.Issued(epoch=3))
    assert issued.colour == Colour.GREY
    assert issued.attempt == 3 * ATTEMPTS_PER_EPOCH + 1


def test_attempts_only_grow_across_epochs_and_count_on() -> None:
    first = after(job(), job_states.Issued(1))
    second = after(first, job_states.Unstarted(), job_states.Issued(1))
    third = after(second, job_states.Faulted(), job_states.Issued(2))
    assert first.attempt < second.attempt < third.attempt
    assert attempt_count(third.attempt) == 3


def test_a_step_without_children_or_follow_on_finishes_the_job() -> None:
    assert after(grey(), job_states.StepDone()).colour == Colour.DEAD


def test_a_follow_on_makes_the_job_white_again() -> None:
    done = after(grey(), job_states.StepDone(follow_on=FOLLOW))
    assert done.colour == Colour.WHITE
    assert done.stack == (FOLLOW,)


def test_two_or_more_children_are_born_and_the_job_turns_blue() -> None:
    outcome = job_states.step(grey(), job_states.StepDone(child_count=2, follow_on=FOLLOW), BUDGETS)
    assert outcome.births == 2
    assert outcome.job.colour == Colour.BLUE
    assert outcome.job.child_count == 2
    assert outcome.job.stack == (FOLLOW,)


def test_a_single_child_runs_next_on_the_same_stack_before_the_follow_on() -> None:
    done = after(
        grey(), job_states.StepDone(child_count=1, child=CHILD, follow_on=FOLLOW, goes_on=True)
    )
    assert done.stack == (FOLLOW, CHILD)
    assert done.colour == Colour.GREY
    assert done.child_count == 0


def test_a_single_child_handed_back_is_pushed_too() -> None:
    done = after(grey(), job_states.StepDone(child_count=1, child=CHILD))
    assert done.stack == (CHILD,)
    assert done.colour == Colour.WHITE


def test_the_follow_on_waits_for_all_children() -> None:
    blue = after(grey(), job_states.StepDone(child_count=2, follow_on=FOLLOW))
    one = after(blue, job_states.ChildFinished())
    assert one.colour == Colour.BLUE
    assert after(one, job_states.ChildFinished()).colour == Colour.WHITE


def test_a_blue_job_without_a_follow_on_dies_with_its_last_child() -> None:
    blue = after(grey(), job_states.StepDone(child_count=2))
    assert after(blue, job_states.ChildFinished(), job_states.ChildFinished()).colour == Colour.DEAD


def test_child_counts_are_cumulative_over_steps() -> None:
    blue = after(grey(), job_states.StepDone(child_count=2, follow_on=FOLLOW))
    white = after(blue, job_states.ChildFinished(), job_states.ChildFinished())
    again = after(white, job_states.Issued(1), job_states.StepDone(child_count=3))
    assert (again.child_count, again.black_child_count) == (5, 2)


def test_a_failed_step_with_retries_left_is_tried_again_with_one_fewer() -> None:
    failed = after(grey(), job_states.StepFailed())
    assert (failed.colour, failed.retries) == (Colour.WHITE, 1)


def test_a_failed_step_without_retries_is_red_for_good() -> None:
    assert after(grey(retries=0), job_states.StepFailed()).colour == Colour.RED


def test_the_children_and_follow_on_of_a_failed_step_are_discarded() -> None:
    assert after(grey(), job_states.StepFailed()).stack == (FIRST,)


def test_a_crashed_step_gets_a_process_of_its_own() -> None:
    assert after(grey(), job_states.StepFailed(crashed=True)).isolate
    assert not after(grey(), job_states.StepFailed()).isolate


def test_a_success_refills_retries_and_ends_isolation_and_escalation() -> None:
    done = after(
        grey(retries=0, rescues=0, isolate=True, memory_bytes=9, time_s=9.0),
        job_states.StepDone(follow_on=FOLLOW),
    )
    assert (done.retries, done.rescues) == BUDGETS
    assert (done.isolate, done.memory_bytes, done.time_s) == (False, 0, 0.0)


def test_a_fault_never_takes_a_retry() -> None:
    lost = after(grey(), job_states.Faulted())
    assert (lost.colour, lost.retries, lost.rescues) == (Colour.WHITE, 2, 2)


def test_faults_without_end_make_the_job_red() -> None:
    assert after(grey(rescues=0), job_states.Faulted()).colour == Colour.RED


def test_out_of_memory_asks_for_more_and_never_for_less() -> None:
    raised = after(grey(memory_bytes=10), job_states.Exhausted(20, 0.0))
    assert (raised.memory_bytes, raised.retries, raised.rescues) == (20, 2, 2)
    assert raised.isolate
    assert after(grey(memory_bytes=30), job_states.Exhausted(20, 0.0)).memory_bytes == 30


def test_a_job_handed_back_unstarted_is_charged_nothing() -> None:
    back = after(grey(), job_states.Unstarted())
    assert (back.colour, back.retries, back.rescues) == (Colour.WHITE, 2, 3)


def test_outputs_are_moved_before_the_tree_goes_on() -> None:
    done = job_states.StepDone(child_count=2, moves=True)
    black = job_states.step(grey(), done, BUDGETS)
    assert (black.job.colour, black.births, black.job.step) == (Colour.BLACK, 0, 0)
    moved = job_states.step(black.job, job_states.Moved(done._replace(moves=False)), BUDGETS)
    assert (moved.job.colour, moved.births, moved.job.step) == (Colour.BLUE, 2, 1)


def test_a_move_that_fails_fails_the_step() -> None:
    black = after(grey(), job_states.StepDone(moves=True))
    assert after(black, job_states.StepFailed()).colour == Colour.WHITE


def test_a_job_without_a_follow_on_needs_no_stub() -> None:
    blue = after(grey(), job_states.StepDone(child_count=2))
    assert blue.stack == ()


def test_every_colour_has_its_rules_and_every_event_a_colour() -> None:
    assert set(job_states.TABLE) == set(Colour)
    assert {event for rules in job_states.TABLE.values() for event in rules} == set(
        job_states.EVENTS
    )


@pytest.mark.parametrize("colour", list(Colour))
@pytest.mark.parametrize("event", EXAMPLES)
def test_what_is_not_listed_is_impossible_and_raises_with_the_jobs_story(
    colour: Colour, event: job_states.Event
) -> None:
    if type(event) not in job_states.TABLE[colour]:
        with pytest.raises(job_states.ImpossibleEvent, match=f"job 7 is {colour.name.lower()}"):
            job_states.step(job(colour=colour), event, BUDGETS)


@given(st.lists(st.sampled_from(EXAMPLES), max_size=60))
def test_whatever_happens_counts_and_attempts_stay_sound(events: list[job_states.Event]) -> None:
    now = job()
    for event in events:
        if type(event) not in job_states.TABLE[now.colour]:
            continue
        before, now = now, job_states.step(now, event, BUDGETS).job
        assert now.attempt >= before.attempt
        assert now.step in (before.step, before.step + 1)
        assert 0 <= now.black_child_count <= now.child_count
        assert 0 <= now.retries <= BUDGETS.retries
        assert 0 <= now.rescues <= BUDGETS.rescues
        assert (now.colour == Colour.BLUE) == (
            now.black_child_count < now.child_count and now.colour != Colour.DEAD
        ) or now.colour in (Colour.GREY, Colour.BLACK, Colour.WHITE, Colour.RED)
        if now.colour == Colour.WHITE:
            assert now.stack
