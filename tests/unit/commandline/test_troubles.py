"""What is told while it lasts: no answer, submissions that wait, kills that do not arrive."""

from __future__ import annotations

from batchsystems.transport.local import CommandResult
from tests.unit.commandline.inmemory import DOWN, EPOCH, Drive, World


def test_since_when_there_was_no_complete_answer_is_told(world: World, drive: Drive):
    drive.submit()
    drive.pass_time(30)
    assert drive.engine.troubles(world.now) == []
    last = max(at for at, argv in world.ran if argv == ("q",))
    world.broken["q"] = DOWN
    drive.pass_time(3600)
    (told,) = drive.engine.troubles(world.now)
    assert told.since == EPOCH + last
    assert "no complete answer" in told.what
    assert "the scheduler is away" in told.what
    world.broken.clear()
    drive.pass_time(400)
    assert drive.engine.troubles(world.now) == []


def test_submissions_that_wait_are_told_with_the_number_of_tries(world: World, drive: Drive):
    world.broken["sub"] = CommandResult(1, stderr="full")
    drive.submit()
    drive.pass_time(600)
    (told,) = drive.engine.troubles(world.now)
    assert told.since == EPOCH
    assert f"tried {len(world.commands('sub'))} times" in told.what
    world.broken.clear()
    drive.pass_time(400)
    assert drive.engine.troubles(world.now) == []


def test_jobs_that_wait_in_vain_or_are_not_ended_are_told(world: World, drive: Drive):
    drive.submit()
    (other,) = drive.submit(name="other")
    drive.pass_time(5)
    world.queue["1"][3] = "never"
    world.broken["kill"] = CommandResult(1, "2", "never")
    drive.kill(other)
    drive.pass_time(600)
    told = {each.what for each in drive.engine.troubles(world.now)}
    assert told == {
        "1 job(s) that will not start by themselves: never",
        "1 job(s) that it refuses to end: never",
    }
    world.queue["1"][2] = "running"
    world.end("2")
    drive.pass_time(60)
    assert drive.engine.troubles(world.now) == []


def test_a_submission_that_is_looked_for_and_a_job_that_does_not_end_are_told(
    world: World, drive: Drive
):
    (job,) = drive.submit()
    drive.pass_time(5)
    world.broken["kill"] = CommandResult(0)
    drive.kill(job)
    drive.pass_time(600)
    (told,) = drive.engine.troubles(world.now)
    assert "1 job(s) that do not end" in told.what
    world.broken["sub"] = CommandResult(1, stderr="unknown")
    drive.submit(name="deaf")
    drive.pass_time(60)
    (first, _) = drive.engine.troubles(world.now)
    assert "no submission was taken (tried once): unknown" in first.what.replace("inmemory: ", "")


def test_kills_that_do_not_arrive_are_told(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(5)
    world.broken["kill"] = DOWN
    drive.kill(job)
    drive.pass_time(600)
    (told,) = drive.engine.troubles(world.now)
    assert told.since == EPOCH + 5
    assert "the scheduler is away" in told.what
