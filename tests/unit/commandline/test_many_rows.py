"""Answers longer than is read at once are asked for by name, or in pieces."""

from __future__ import annotations

from batchsystems.interface import JobRecord, Reason
from tests.unit.commandline.inmemory import EPOCH, Drive, World


def others(count: int) -> dict[str, list[object]]:
    ids = map(str, range(10**6, 10**6 + count))
    return {native: [native, "theirs", "waiting", "", EPOCH, None] for native in ids}


def test_among_very_many_jobs_of_others_it_asks_for_its_own(world: World, drive: Drive):
    """As where another tree of the same user has 200,000 jobs in the queue."""
    jobs = drive.submit(10)
    world.queue |= others(25_000)
    drive.pass_time(60)
    looks = world.commands("q")
    assert looks[0] == ("q",)
    assert set(looks[1:]) == {("q", "job")}, "one command a look"
    for task in range(10):
        world.end(f"1.{task}")
    drive.pass_time(60)
    assert all(drive.kinds(job) == ["Accepted", "JobEnd"] for job in jobs)


def test_an_answer_that_is_too_long_is_asked_for_in_pieces(world: World, drive: Drive):
    world.cap = 12
    jobs = [job for number in range(4) for job in drive.submit(5, f"wave{number}")]
    drive.pass_time(60)
    assert drive.engine.troubles(world.now) == []
    pieces = set(world.commands("q")) - {("q",)}
    assert ("q", "wave0", "wave1") in pieces
    for native in list(world.queue)[:7]:
        world.end(native)
    del world.queue["3.1"]
    world.past["3.1"] = ["3.1", "wave2", "ended", "", EPOCH, 3]
    drive.pass_time(200)
    ended = [job for job in jobs if drive.kinds(job)[-1] == "JobEnd"]
    assert len(ended) == 8
    assert drive.engine.issued(world.now) == frozenset(jobs) - set(ended)


def test_a_history_that_is_too_long_is_asked_for_in_pieces(world: World, drive: Drive):
    jobs = [job for number in range(4) for job in drive.submit(5, f"wave{number}")]
    drive.pass_time(5)
    world.past = {native: [*row[:2], "ended", "", EPOCH, 0] for native, row in world.queue.items()}
    world.queue, world.cap = {}, 12
    drive.pass_time(200)
    assert all(drive.reason(job) is Reason.OK for job in jobs)
    assert {argv[1].count(",") for argv in world.commands("hist")} == {3, 1}


def test_a_search_and_an_heir_are_found_by_name_among_very_many(world: World, drive: Drive):
    world.queue |= others(25_000)
    drive.submit(1, "first")
    drive.pass_time(60)
    world.deaf = True
    (job,) = drive.submit(1, "deaf")
    drive.pass_time(60)
    assert drive.natives(job) == ["2"]
    world.queue["77"] = ["77", "left", "running", "", EPOCH, None]
    drive.engine.begin_adoption([JobRecord("left", 0, "77", EPOCH)], world.now)
    drive.pass_time(30)
    (heir,) = drive.engine.finish_adoption(world.now)
    assert heir is not None
    assert ("q", "deaf", "first", "left") in world.commands("q")
    drive.pass_time(300)
    assert {job, heir} <= drive.engine.issued(world.now)
