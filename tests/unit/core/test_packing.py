"""Packing: sizes grow from a probe wave, and parallelism comes first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobtree.core.job import Requirements
from jobtree.core.packing import Known, Measured, Pack, ReadyJob, plan, slots_of
from jobtree.core.sibling_estimates import SiblingEstimates

NEEDS = Requirements(2**30, 1, 0, 3600.0)


def ready(count: int, label: str = "Count", needs: Requirements = NEEDS) -> list[ReadyJob]:
    return [ReadyJob(number, label, needs, False) for number in range(count)]


def sizes(packs: list[Pack]) -> list[int]:
    return [len(pack.jobs) for pack in packs]


def test_jobs_that_fit_the_free_slots_are_never_packed() -> None:
    seen = {"Count": Measured(1.0, 1000)}
    assert sizes(plan(ready(4), 4, 4, Known(seen, 30.0), 4)) == [1, 1, 1, 1]


def test_jobs_over_before_a_second_worker_would_have_started_share_one() -> None:
    seen = {"Count": Measured(0.001, 1000)}
    assert sizes(plan(ready(4), 4, 4, Known(seen, 30.0), 4)) == [4]
    assert sizes(plan(ready(4), 4, 4, Known(seen, 30.0, {"Count"}), 4)) == [1, 1, 1, 1]


def test_an_unmeasured_class_goes_out_one_by_one() -> None:
    assert sizes(plan(ready(100), 4, 4, Known({}, 30.0), 100)) == [1, 1, 1, 1]


def test_packs_grow_with_what_was_measured() -> None:
    assert sizes(plan(ready(100), 2, 2, Known({"Count": Measured(0.1, 2)}, 30.0), 100)) == [32, 32]


def test_one_short_step_is_enough_to_fill_the_time_a_start_takes() -> None:
    assert sizes(plan(ready(999), 2, 2, Known({"Count": Measured(0.001, 1)}, 30.0), 999)) == [
        250,
        250,
    ]


def test_a_measured_class_is_shared_out_over_the_slots() -> None:
    seen = {"Count": Measured(0.1, 1000)}
    assert sizes(plan(ready(100), 4, 4, Known(seen, 30.0), 100)) == [25, 25, 25, 25]


def test_a_pack_lasts_no_longer_than_the_job_time() -> None:
    seen = {"Count": Measured(10.0, 1000)}
    assert sizes(plan(ready(100), 1, 1, Known(seen, 30.0), 100)) == [3]


def test_a_job_longer_than_the_job_time_runs_alone() -> None:
    seen = {"Count": Measured(100.0, 1000)}
    assert sizes(plan(ready(10), 1, 1, Known(seen, 30.0), 10)) == [1]


def test_the_users_estimate_counts_until_there_is_a_measurement() -> None:
    jobs = [ReadyJob(number, "New", NEEDS._replace(time_s=1.0), True) for number in range(100)]
    assert sizes(plan(jobs, 1, 1, Known({}, 30.0), 100)) == [30]


def test_different_needs_never_share_a_pack() -> None:
    seen = {"Count": Measured(0.001, 1000), "Big": Measured(0.001, 1000)}
    big = NEEDS._replace(memory_bytes=2**33)
    jobs = ready(10) + [ReadyJob(100 + n, "Big", big, False) for n in range(10)]
    packs = plan(jobs, 2, 2, Known(seen, 30.0), 20)
    assert [pack.needs.memory_bytes for pack in packs] == [2**30, 2**33]


def test_a_job_of_several_cpus_takes_as_many_slots() -> None:
    wide = NEEDS._replace(cpus=2)
    assert len(plan(ready(10, needs=wide), 4, 4, Known({}, 30.0), 10)) == 2
    assert slots_of(wide) == 2


def test_a_pack_asks_for_the_time_of_all_its_jobs() -> None:
    jobs = [ReadyJob(number, "New", NEEDS._replace(time_s=1.0), True) for number in range(100)]
    (pack,) = plan(jobs, 1, 1, Known({}, 30.0), 100)
    assert pack.needs.time_s == 30.0


def test_steps_shorter_than_a_batch_job_costs_are_packed_while_slots_are_free() -> None:
    seen = {"Count": Measured(0.5, 1000)}
    assert sizes(plan(ready(8), 8, 8, Known(seen, 30.0, start_s=2.0), 8)) == [4, 4]
    assert sizes(plan(ready(8), 8, 8, Known(seen, 1.0, start_s=2.0), 8)) == [2] * 4
    assert sizes(plan(ready(8), 8, 8, Known(seen, 30.0, {"Count"}, start_s=2.0), 8)) == [1] * 8


def test_what_is_started_one_after_the_other_is_packed_for_as_long_as_that_takes() -> None:
    seen = {"Count": Measured(0.5, 1000)}
    many = plan(ready(1000), 1000, 1000, Known(seen, 30.0, start_s=0.3, gap_s=0.04), 1000)
    # 112 starts take 4.5 s, and so long do the packs last; 1,000 starts would take 40 s
    assert sizes(many)[:2] == [8, 8]
    few = plan(ready(8), 1000, 1000, Known(seen, 30.0, start_s=0.3, gap_s=0.04), 8)
    assert sizes(few) == [1] * 8


def test_what_is_left_is_packed_for_as_long_as_starting_is_worth_it_if_none_gets_less() -> None:
    seen = {"Count": Measured(1.0, 1000)}
    known = Known(seen, 600.0, start_s=1.5)
    assert sizes(plan(ready(6), 1, 32, known, 6)) == [6], "a fifth of 7.5 s goes into the start"
    assert sizes(plan(ready(6), 3, 32, known, 6)) == [2, 2, 2]
    assert sizes(plan(ready(6), 6, 32, known, 6)) == [1] * 6


def test_packs_that_are_long_enough_may_wait_in_the_queue_and_no_others() -> None:
    seen = {"Count": Measured(10.0, 1000)}
    assert sizes(plan(ready(100), 0, 2, Known(seen, 30.0), 100, ahead=20)) == [3] * 20
    assert sizes(plan(ready(8), 0, 2, Known(seen, 30.0), 8, ahead=20)) == [3, 3]
    assert plan(ready(100), 0, 32, Known(seen, 600.0), 100, ahead=20) == [], "a share is shorter"
    assert plan(ready(100), 0, 2, Known({}, 30.0), 100, ahead=20) == [], "nothing is known of it"


def test_jobs_longer_than_a_batch_job_should_be_all_wait_in_the_queue() -> None:
    seen = {"Count": Measured(3600.0, 1)}
    assert sizes(plan(ready(100), 2, 2, Known(seen, 600.0), 100, ahead=1000)) == [1] * 100
    assert sizes(plan(ready(100), 2, 2, Known({}, 0.0), 100, ahead=1000)) == [1] * 100


def test_the_users_estimate_is_trusted_to_be_brief() -> None:
    jobs = [ReadyJob(number, "New", NEEDS._replace(time_s=0.01), True) for number in range(10)]
    assert sizes(plan(jobs, 32, 32, Known({}, 30.0), 10)) == [10]


def test_a_class_never_seen_goes_by_its_kin() -> None:
    siblings = SiblingEstimates()
    jobs = [ReadyJob(number, f"./job_{number}.sh", NEEDS, False, "kin") for number in range(400)]
    known = Known({}, 30.0, siblings=siblings.get)
    assert sizes(plan(jobs, 2, 2, known, 400)) == [1, 1], "nothing is known of any of them"
    siblings.note("kin", 0.01)
    siblings.note("kin", 0.01)
    assert sizes(plan(jobs, 2, 2, known, 400)) == [8, 8], "more is dared with what was seen"
    for _ in range(14):
        siblings.note("kin", 0.01)
    assert sizes(plan(jobs, 2, 2, known, 400)) == [64, 64]


def test_kin_that_differ_much_are_expected_to_take_long() -> None:
    siblings = SiblingEstimates()
    for wall_s in [1.0] * 90 + [100.0] * 10:
        siblings.note("kin", wall_s)
    found = siblings.get("kin")
    assert found is not None
    assert 60 < found.mean_s < 100, "the mean of 11 s would have packs of a hundred seconds"
    assert siblings.get("others") is None


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3)), max_size=200),
    st.integers(0, 20),
    st.dictionaries(
        st.sampled_from("abc"),
        st.builds(Measured, st.floats(0, 100), st.integers(1, 1000)),
    ),
)
def test_every_job_is_planned_at_most_once_and_slots_are_kept(
    jobs: list[tuple[str, int]], free: int, seen: dict[str, Measured]
) -> None:
    waiting = [
        ReadyJob(number, label, NEEDS._replace(cpus=cpus), False)
        for number, (label, cpus) in enumerate(jobs)
    ]
    packs = plan(waiting, free, 20, Known(seen, 30.0), len(waiting))
    out = [number for pack in packs for number in pack.jobs]
    assert len(out) == len(set(out))
    assert sum(slots_of(pack.needs) for pack in packs[:-1]) < max(1, free)
    if waiting and free:
        assert out
    for pack in packs:
        known = [seen[jobs[number][0]].mean_s for number in pack.jobs if jobs[number][0] in seen]
        assert len(pack.jobs) == 1 or sum(known) <= 30.0 + 1e-6


def test_a_job_that_ran_out_of_time_keeps_the_time_it_was_raised_to() -> None:
    """What others of its class took says nothing of it: in a pack it would run out again."""
    seen = {"Count": Measured(2.0, 1000)}
    raised = ReadyJob(99, "Count", NEEDS._replace(time_s=400.0), False, raised=True)
    others = ready(3, needs=NEEDS._replace(time_s=10.0))
    *_, alone = plan([*others, raised], 3, 1, Known(seen, 30.0), 4)
    assert (alone.jobs, alone.needs.time_s) == ((99,), 400.0)
    (pack,) = plan([*others, raised], 1, 1, Known(seen, 600.0), 4)
    assert pack.jobs == (0, 1, 2, 99)
    assert (pack.needs.time_s or 0) >= 400.0
