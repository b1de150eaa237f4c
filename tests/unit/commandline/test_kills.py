"""Kills: asked for in portions, repeated while they have no effect, and told when in vain."""

from __future__ import annotations

from batchsystems.commandline.pacing import Timeouts
from batchsystems.interface import Reason
from batchsystems.transport.local import CommandResult
from tests.unit.commandline.inmemory import DOWN, EPOCH, Drive, World


def test_a_job_killed_while_it_waited_needs_no_record(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(5)
    world.broken["kill"] = CommandResult(0)
    drive.kill(job)
    drive.pass_time(1)
    world.queue.clear()
    drive.pass_time(15)
    assert drive.reason(job) is Reason.CANCELLED


def test_a_job_killed_while_it_ran_is_given_time_for_its_record(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(5)
    world.queue["1"][2] = "running"
    drive.pass_time(10)
    world.broken["kill"] = CommandResult(0)
    drive.kill(job)
    drive.pass_time(1)
    world.queue.clear()
    drive.pass_time(40)
    assert drive.kinds(job) == ["Accepted"]
    drive.pass_time(100)
    assert drive.reason(job) is Reason.CANCELLED


def test_what_was_not_submitted_yet_is_withdrawn(world: World, drive: Drive):
    jobs = drive.submit(10)
    drive.kill(*jobs[2:5])
    drive.pass_time(5)
    assert [argv[1:] for argv in world.commands("sub")] == [("job", "2"), ("job.5", "5")]
    assert [drive.reason(job) for job in jobs[2:5]] == [Reason.CANCELLED] * 3
    assert drive.natives(jobs[5]) == ["2.0"]


def test_kills_go_in_portions_and_name_whole_arrays(world: World):
    drive = Drive(world, timeouts=Timeouts(kill_chunk=3))
    first, second = drive.submit(10, "first"), drive.submit(10, "second")
    drive.pass_time(5)
    drive.kill(*first, *second[:5])
    drive.pass_time(5)
    assert world.commands("kill") == [
        ("kill", "1", "2.0", "2.1"),
        ("kill", "2.2", "2.3", "2.4"),
    ]
    drive.pass_time(60)
    assert {drive.reason(job) for job in (*first, *second[:5])} == {Reason.CANCELLED}


def test_a_kill_without_effect_is_repeated(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(5)
    world.broken["kill"] = CommandResult(0)
    drive.kill(job)
    drive.pass_time(300)
    assert 3 <= len(world.commands("kill")) <= 6
    world.broken.clear()
    drive.pass_time(300)
    assert drive.reason(job) is Reason.CANCELLED


def test_a_kill_without_effect_is_not_repeated_for_ever_and_told(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(5)
    world.broken["kill"] = CommandResult(0)
    drive.kill(job)
    drive.pass_time(86400)
    assert len(world.commands("kill")) == 8
    assert "asked for 8 times" in drive.engine.explain([job])[job]


def test_a_kill_that_is_refused_is_tried_a_few_times_and_told(world: World, drive: Drive):
    """As for a job that a wrapper has submitted for somebody else, or an unknown option."""
    (mine,) = drive.submit()
    (other,) = drive.submit(name="other")
    drive.pass_time(5)
    world.broken["kill"] = CommandResult(1, "1", "never")
    drive.kill(mine, other)
    drive.pass_time(3600)
    kills = world.commands("kill")
    assert len([argv for argv in kills if "1" in argv]) == Timeouts().tries
    assert len([argv for argv in kills if "2" in argv]) <= 8, "the other was not refused"
    assert "refused 5 times to end it: never" in drive.engine.explain([mine])[mine]
    drive.kill(mine)
    drive.pass_time(3600)
    assert len([argv for argv in world.commands("kill") if "1" in argv]) == Timeouts().tries
    world.end("1")
    drive.pass_time(100)
    assert drive.reason(mine) is Reason.OK


def test_a_kill_that_does_not_arrive_is_made_until_it_does(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(5)
    world.broken["kill"] = DOWN
    drive.kill(job)
    drive.pass_time(7200)
    assert 100 <= len(world.commands("kill")) <= 130, "once a minute in the end"
    world.broken.clear()
    drive.pass_time(100)
    assert drive.reason(job) is Reason.CANCELLED


def test_a_kill_of_a_twin_that_does_not_arrive_is_made_until_it_does(world: World, drive: Drive):
    world.deaf = True
    drive.submit()
    world.queue["70"] = ["70", "job", "running", "", EPOCH + 1, None]
    world.broken["kill"] = DOWN
    drive.pass_time(600)
    assert len(world.commands("kill")) > 5
    world.broken.clear()
    drive.pass_time(100)
    assert world.queue["1"][2] == "ended", "the twin, which does not run"
    assert world.queue["70"][2] == "running"


def test_a_kill_of_a_twin_that_is_refused_is_tried_a_few_times(world: World, drive: Drive):
    world.deaf = True
    drive.submit()
    world.queue["70"] = ["70", "job", "running", "", EPOCH + 1, None]
    world.broken["kill"] = CommandResult(1, stderr="never")
    drive.pass_time(3600)
    assert len(world.commands("kill")) == Timeouts().tries
