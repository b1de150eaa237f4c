"""From ready jobs to submissions: what is issued, when, and what is asked for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchsystems.interface import Resources
from jobtree.core.issue_states import State
from jobtree.core.job import ATTEMPTS_PER_EPOCH, Colour
from jobtree.core.packing import Measured
from jobtree.master.dispatch import FIRST_SLOTS, UNTOLD_S, issue_ready
from jobtree.store.rows import StoredIssue
from tests.unit.master.world import NEEDS, UNTIMED, World, world

GIB = 2**30


def ids(world: World) -> list[list[int]]:
    """Return the packs of all orders."""
    return [[given.job for given in pack] for _, packs in world.mailbox.orders for pack in packs]


def test_the_intent_is_on_disk_before_anything_is_submitted(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        issue_ready(it.run)
        it.commit()
        assert (it.scheduler.submitted, it.mailbox.orders) == ([], [])
        attempt = 3 * ATTEMPTS_PER_EPOCH + 1
        assert (it.job(2).colour, it.job(2).attempt) == (Colour.GREY, attempt)
        (stored,) = it.run.store.issues()
        assert isinstance(stored, StoredIssue)
        assert (stored.pack, stored.state) == (((2, attempt, 0),), State.SUBMITTING)
        it.act()
        ((spec,),) = it.scheduler.submitted
        assert spec.name == stored.submission == it.mailbox.orders[0][0].submission
        assert it.run.issue_of("fake", 1) is it.run.issues[f"{stored.submission}.0"]


def test_like_jobs_are_tasks_of_one_submission_and_others_of_another(tmp_path: Path) -> None:
    large = NEEDS._replace(memory_bytes=2 * GIB)
    with world(tmp_path, NEEDS, large, NEEDS) as it:
        it.turn()
        assert [len(specs) for specs in it.scheduler.submitted] == [2, 1]
        assert [[spec.index for spec in specs] for specs in it.scheduler.submitted] == [[0, 1], [0]]
        assert ids(it) == [[2], [4], [3]]
        names = {specs[0].name for specs in it.scheduler.submitted}
        assert len(names) == 2


def test_no_more_issues_are_out_than_max_jobs_and_the_oldest_come_first(tmp_path: Path) -> None:
    with world(tmp_path, *[UNTIMED] * 5, max_jobs=2) as it:
        first, _ = it.turn()
        assert ids(it) == [[2], [3]]
        assert it.turn() == [], "two are out"
        it.run.change_state(first, State.ENDED)
        it.turn()
        assert ids(it) == [[2], [3], [4]], "what was not issued was put back in front"


def test_no_more_cpus_are_out_than_max_cpus_or_than_there_are(tmp_path: Path) -> None:
    double = NEEDS._replace(cpus=2)
    with world(tmp_path, *[double] * 5, slots=100, max_cpus=4) as it:
        assert len(it.turn()) == 2
    (tmp_path / "b").mkdir()
    with world(tmp_path / "b", *[double] * 5, slots=6, max_cpus=100) as it:
        assert len(it.turn()) == 3


def test_what_is_ready_beyond_the_free_slots_shares_packs(tmp_path: Path) -> None:
    with world(tmp_path, *[NEEDS] * 12, slots=3) as it:
        it.run.measured["Sort"] = Measured(10.0, 100)
        it.turn()
        assert [len(pack) for pack in ids(it)] == [4, 4, 4]


def test_a_batch_system_that_is_still_to_answer_is_waited_for_but_not_for_long(
    tmp_path: Path,
) -> None:
    with world(tmp_path, NEEDS) as it:
        it.scheduler.told = False
        assert it.turn() == []
        it.clock.time += UNTOLD_S
        assert len(it.turn()) == 1


def test_where_the_capacity_is_unknown_so_many_go_out_at_first(tmp_path: Path) -> None:
    with world(tmp_path, *[UNTIMED] * (FIRST_SLOTS + 1), slots=None) as it:
        assert len(it.turn()) == FIRST_SLOTS


@pytest.mark.parametrize("stopping", [True, False])
def test_nothing_is_submitted_while_the_run_stops_or_launches_fail(
    tmp_path: Path, stopping: bool
) -> None:
    with world(tmp_path, NEEDS) as it:
        it.run.stopping = stopping
        if not stopping:
            it.run.launches.hold(it.clock.time + 5.0)
        assert it.turn() == []
        it.clock.time += 5.0
        assert len(it.turn()) == (0 if stopping else 1)


def test_a_job_that_asks_for_more_than_it_may_get_fails_at_once_and_others_go_on(
    tmp_path: Path,
) -> None:
    wide, large = NEEDS._replace(cpus=9), NEEDS._replace(memory_bytes=9 * GIB)
    with world(tmp_path, wide, NEEDS, large, max_cpus=8, max_memory_bytes=8 * GIB) as it:
        it.turn()
        assert it.colours() == {2: Colour.RED, 3: Colour.GREY, 4: Colour.RED}
        assert it.history(2)[-1][1].startswith("asks for 9 cpus, but --maxCpus is 8")
        assert it.history(4)[-1][1].startswith("asks for 9 GiB, but --maxMemory is 8")


def test_no_more_memory_is_out_than_max_memory(tmp_path: Path) -> None:
    with world(tmp_path, *[NEEDS] * 5, max_memory_bytes=3 * GIB) as it:
        first, *_ = it.turn()
        assert len(ids(it)) == 3
        it.run.change_state(first, State.ENDED)
        it.turn()
        assert len(ids(it)) == 4


def test_time_is_asked_for_with_a_margin_and_memory_with_what_a_worker_needs(
    tmp_path: Path,
) -> None:
    brief, long = NEEDS._replace(time_s=1.0), NEEDS._replace(time_s=1000.0)
    with world(
        tmp_path, brief, long, time_margin=3.0, least_time_s=600.0, worker_memory_bytes=7
    ) as it:
        it.turn()
        asked = {specs[0].resources.time_s for specs in it.scheduler.submitted}
        assert asked == {600.0, 3000.0}
        for (terms, _), (spec, *_) in zip(it.mailbox.orders, it.scheduler.submitted, strict=True):
            assert terms.granted.memory_bytes == GIB, "what its steps may use"
            assert spec.resources.memory_bytes == GIB + 7


@pytest.mark.parametrize(("most_s", "asked_s"), [(2000.0, 2000.0), (500.0, 1000.0)])
def test_the_margin_is_given_up_where_no_queue_has_that_much_time_but_not_the_need(
    tmp_path: Path, most_s: float, asked_s: float
) -> None:
    with world(tmp_path, NEEDS._replace(time_s=1000.0), time_margin=3.0) as it:
        it.scheduler.largest = Resources(cpus=2**31, time_s=most_s)
        (issue,) = it.turn()
        assert issue.granted.time_s == asked_s


def test_a_job_that_ran_out_of_memory_is_issued_with_what_it_was_raised_to(tmp_path: Path) -> None:
    with world(tmp_path, NEEDS) as it:
        job = it.job(2)
        it.run.store.put(job, job._replace(memory_bytes=4 * GIB))
        (issue,) = it.turn()
        assert issue.granted.memory_bytes == 4 * GIB


def test_a_job_that_ran_out_of_time_is_not_packed_as_its_class_would_be(tmp_path: Path) -> None:
    with world(tmp_path, UNTIMED, UNTIMED, slots=1) as it:
        it.run.measured["Sort"] = Measured(0.001, 1000)
        job = it.job(2)
        it.run.store.put(job, job._replace(time_s=1000.0))
        it.turn()
        assert ids(it)[0] == [2]


def test_full_packs_wait_in_the_schedulers_own_queue_when_no_slot_is_free(tmp_path: Path) -> None:
    with world(tmp_path, *[NEEDS] * 40, slots=2, job_time_s=30.0, max_cpus=4) as it:
        it.run.measured["Sort"] = Measured(10.0, 100)
        it.turn()
        assert [len(pack) for pack in ids(it)] == [3, 3, 3, 3], "two run, two wait"
        it.scheduler.here = True
        assert it.turn() == []
