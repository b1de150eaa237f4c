"""Who starts next: first come first served, backfill that never starves, bounded work."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from batchsystems.interface import Resources
from batchsystems.singlemachine.scheduler import BACKFILL_WINDOW, Packing


def start_all(packing: Packing, now: float = 0.0) -> list[int]:
    started = []
    while (job := packing.choose(now)) is not None:
        packing.begin(job, packing.waiting[job], now)
        started.append(job)
    return started


def packing_of(cpus: int, *asked: Resources) -> Packing:
    packing = Packing((cpus, 100, 2))
    for job, resources in enumerate(asked, 1):
        packing.enqueue(job, resources)
    return packing


def test_first_come_first_served():
    packing = packing_of(2, *[Resources()] * 5)
    assert start_all(packing) == [1, 2]
    packing.end(1)
    assert start_all(packing) == [3]


def test_memory_and_gpus_count_like_cpus():
    packing = packing_of(9, Resources(memory_bytes=60), Resources(memory_bytes=60), Resources())
    assert start_all(packing) == [1, 3]
    packing = packing_of(9, Resources(gpus=1), Resources(gpus=2), Resources(gpus=1))
    assert start_all(packing) == [1]


def test_a_younger_job_may_use_what_the_head_will_never_need():
    packing = packing_of(4, Resources(3), Resources(3), Resources(1), Resources(1))
    assert start_all(packing) == [1, 3]  # 4 would leave the head short when 1 ends


def test_a_younger_job_may_run_if_its_limit_ends_it_in_time():
    long, head = Resources(3, time_s=1000), Resources(4)
    packing = packing_of(4, long, head, Resources(1, time_s=2000), Resources(1, time_s=900))
    assert start_all(packing) == [1, 4]
    packing = packing_of(4, Resources(3), head, Resources(1, time_s=900))
    assert start_all(packing) == [1], "nobody knows when 1 ends"


def test_a_stream_of_small_jobs_does_not_starve_a_big_one():
    packing = packing_of(4, *[Resources(1)] * 4, Resources(4))
    assert start_all(packing) == [1, 2, 3, 4]
    for small in range(6, 200):
        packing.enqueue(small, Resources(1, time_s=0.01))
    for old in (1, 2, 3):
        packing.end(old)
        assert start_all(packing) == []
    packing.end(4)
    assert start_all(packing)[0] == 5


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_head_starts_once_all_that_ran_before_has_ended(data: st.DataObject):
    """Whatever arrives later, and however long that runs."""
    sizes = st.builds(
        Resources, st.integers(1, 4), st.none() | st.integers(1, 100), st.integers(0, 2)
    )
    packing = packing_of(4, *data.draw(st.lists(sizes, min_size=1, max_size=12)))
    last = 12
    start_all(packing)
    while packing.waiting:
        head = next(iter(packing.waiting))
        for job in sorted(packing.running):
            if last < 60 and data.draw(st.booleans()):
                last += 1
                packing.enqueue(last, data.draw(sizes))
            packing.end(job)
            start_all(packing)
            assert min(packing.free) >= 0
        assert head in packing.running


def test_withdrawn_jobs_are_forgotten():
    packing = packing_of(1, *[Resources()] * 3)
    assert packing.withdraw(2)
    assert not packing.withdraw(2)
    assert start_all(packing) == [1]
    packing.end(1)
    assert start_all(packing) == [3]


def test_the_cost_of_an_event_does_not_grow_with_the_queue():
    def cost(queued: int) -> float:
        packing = packing_of(4, Resources(2), Resources(3), *[Resources(2)] * queued)
        start_all(packing)  # one overtakes at most; every event now looks through the window
        began = time.process_time()
        for _ in range(300):
            assert packing.choose(0.0) is None
        return time.process_time() - began

    cost(1000)  # warm up
    assert cost(100_000) < 10 * cost(1000) + 0.05
    assert BACKFILL_WINDOW <= 128
