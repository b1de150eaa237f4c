"""Who starts next: first come first served, backfill that never starves, bounded work."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from batchsystems.interface import Resources
from batchsystems.singlemachine.scheduler import BACKFILL_WINDOW, JobQueue


def start_all(queue: JobQueue, now: float = 0.0) -> list[int]:
    started = []
    while (job := queue.choose(now)) is not None:
        queue.begin(job, queue.waiting[job], now)
        started.append(job)
    return started


def queue_of(cpus: int, *asked: Resources) -> JobQueue:
    queue = JobQueue((cpus, 100, 2))
    for job, resources in enumerate(asked, 1):
        queue.enqueue(job, resources)
    return queue


def test_first_come_first_served():
    queue = queue_of(2, *[Resources()] * 5)
    assert start_all(queue) == [1, 2]
    queue.end(1)
    assert start_all(queue) == [3]


def test_memory_and_gpus_count_like_cpus():
    queue = queue_of(9, Resources(memory_bytes=60), Resources(memory_bytes=60), Resources())
    assert start_all(queue) == [1, 3]
    queue = queue_of(9, Resources(gpus=1), Resources(gpus=2), Resources(gpus=1))
    assert start_all(queue) == [1]


def test_a_younger_job_may_use_what_the_head_will_never_need():
    queue = queue_of(4, Resources(3), Resources(3), Resources(1), Resources(1))
    assert start_all(queue) == [1, 3]  # 4 would leave the head short when 1 ends


def test_a_younger_job_may_run_if_its_limit_ends_it_in_time():
    long, head = Resources(3, time_s=1000), Resources(4)
    queue = queue_of(4, long, head, Resources(1, time_s=2000), Resources(1, time_s=900))
    assert start_all(queue) == [1, 4]
    queue = queue_of(4, Resources(3), head, Resources(1, time_s=900))
    assert start_all(queue) == [1], "nobody knows when 1 ends"


def test_a_stream_of_small_jobs_does_not_starve_a_big_one():
    queue = queue_of(4, *[Resources(1)] * 4, Resources(4))
    assert start_all(queue) == [1, 2, 3, 4]
    for small in range(6, 200):
        queue.enqueue(small, Resources(1, time_s=0.01))
    for old in (1, 2, 3):
        queue.end(old)
        assert start_all(queue) == []
    queue.end(4)
    assert start_all(queue)[0] == 5


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_head_starts_once_all_that_ran_before_has_ended(data: st.DataObject):
    """Whatever arrives later, and however long that runs."""
    sizes = st.builds(
        Resources, st.integers(1, 4), st.none() | st.integers(1, 100), st.integers(0, 2)
    )
    queue = queue_of(4, *data.draw(st.lists(sizes, min_size=1, max_size=12)))
    last = 12
    start_all(queue)
    while queue.waiting:
        head = next(iter(queue.waiting))
        for job in sorted(queue.running):
            if last < 60 and data.draw(st.booleans()):
                last += 1
                queue.enqueue(last, data.draw(sizes))
            queue.end(job)
            start_all(queue)
            assert min(queue.free) >= 0
        assert head in queue.running


def test_withdrawn_jobs_are_forgotten():
    queue = queue_of(1, *[Resources()] * 3)
    assert queue.withdraw(2)
    assert not queue.withdraw(2)
    assert start_all(queue) == [1]
    queue.end(1)
    assert start_all(queue) == [3]


def test_the_cost_of_an_event_does_not_grow_with_the_queue():
    def cost(queued: int) -> float:
        queue = queue_of(4, Resources(2), Resources(3), *[Resources(2)] * queued)
        start_all(queue)  # one overtakes at most; every event now looks through the window
        began = time.process_time()
        for _ in range(300):
            assert queue.choose(0.0) is None
        return time.process_time() - began

    cost(1000)  # warm up
    assert cost(100_000) < 10 * cost(1000) + 0.05
    assert BACKFILL_WINDOW <= 128
