"""What batch jobs cost, and how many really run: learnt from what is seen, and from little."""

from __future__ import annotations

from jobtree.core.scheduler_estimates import (
    FEWEST,
    MOST_S,
    PATIENCE_S,
    REMEMBERED_S,
    START_S,
    JobOverhead,
    SlotEstimate,
)


def test_nothing_costs_less_than_the_start_of_a_worker() -> None:
    overhead = JobOverhead()
    assert (overhead.start_s, overhead.gap_s) == (START_S, 0.0)
    overhead.started("a", 0.01, 1.0)
    assert overhead.start_s == START_S


def test_the_first_task_of_a_submission_tells_what_a_start_costs() -> None:
    overhead = JobOverhead()
    for number in range(40):
        overhead.started("a", 2.0 + number, 10.0 + number)
    assert overhead.start_s == 2.0, "the others waited for slots"
    overhead.started("b", 500.0, 600.0)
    assert overhead.start_s == 2.0, "so did the first of this one"


def test_a_queue_that_is_always_full_makes_no_batch_job_dear() -> None:
    overhead = JobOverhead()
    for number in range(20):
        overhead.started(f"s{number}", 3600.0, 0.0)
    assert overhead.start_s == MOST_S


def test_what_jobs_outlast_their_steps_by_is_added() -> None:
    overhead = JobOverhead()
    overhead.started("a", 1.0, 0.0)
    for beside_s in (0.0, 1.0, 1.0, 2.0, -1.0):
        overhead.ended(beside_s)
    assert overhead.start_s == 2.0


def test_the_first_tasks_of_a_submission_tell_how_fast_jobs_are_started() -> None:
    overhead = JobOverhead()
    for number in range(15):
        overhead.started("a", 1.0, number * 0.04)
    assert overhead.gap_s == 0.0, "too few"
    overhead.started("a", 1.0, 15 * 0.04)
    assert round(overhead.gap_s, 6) == 0.04
    for number in range(16):
        overhead.started("b", 1.0, 10.0 * number)
    assert round(overhead.gap_s, 6) == 0.04, "those waited for slots"


def test_jobs_that_wait_for_long_show_that_there_is_no_room() -> None:
    slot_estimate = SlotEstimate()
    slot_estimate.observe(500, 40, 0.0)
    slot_estimate.observe(500, 60, PATIENCE_S - 1)
    assert slot_estimate.most is None, "they may be about to start"
    slot_estimate.observe(440, 60, PATIENCE_S)
    assert slot_estimate.most == 120, "twice what has run at once"


def test_few_jobs_that_wait_show_nothing() -> None:
    slot_estimate = SlotEstimate()
    for second in range(1000):
        slot_estimate.observe(FEWEST - 1, 0, second)
    assert slot_estimate.most is None


def test_jobs_that_wait_for_a_moment_show_nothing() -> None:
    slot_estimate = SlotEstimate()
    for second in range(1000):
        slot_estimate.observe(500 if second % 20 else 0, 500, second)
    assert slot_estimate.most is None


def test_what_has_room_is_asked_for_again_twice_as_much_each_time() -> None:
    slot_estimate = SlotEstimate()
    slot_estimate.observe(500, 50, 0.0)
    slot_estimate.observe(450, 50, PATIENCE_S)
    assert slot_estimate.most == 100
    slot_estimate.observe(0, 100, PATIENCE_S + 1)
    assert slot_estimate.most == 200
    slot_estimate.observe(0, 10, PATIENCE_S + 2)
    assert slot_estimate.most == 200, "there was no more work"


def test_what_ran_at_once_long_ago_is_forgotten() -> None:
    slot_estimate = SlotEstimate()
    slot_estimate.observe(0, 1000, 0.0)
    now = 0.0
    while now < 3 * REMEMBERED_S:
        now += 10.0
        slot_estimate.observe(100, 20, now)
    assert slot_estimate.most == 40


def test_when_nothing_runs_for_long_little_is_taken_to_have_room() -> None:
    slot_estimate = SlotEstimate()
    slot_estimate.observe(100, 0, 0.0)
    slot_estimate.observe(100, 0, PATIENCE_S)
    assert slot_estimate.most == 2 * FEWEST
