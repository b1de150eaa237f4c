"""The base of all command-line adapters, in virtual time over a scheduler in memory."""

from __future__ import annotations

import logging
import tracemalloc

import pytest

from batchsystems.commandline.pacing import Pace, Patience
from batchsystems.errors import Unobtainable
from batchsystems.interface import JobRecord, JobSpec, Reason, Refused
from batchsystems.transport import Ran
from tests.unit.toyscheduler import EPOCH, Drive, Toy, World

DOWN = Ran(1, stderr="the scheduler is away")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def drive(world: World) -> Drive:
    return Drive(world)


# ---- submissions -------------------------------------------------------------------------


def test_jobs_alike_become_one_array_however_they_are_given(world: World, drive: Drive):
    jobs = [
        drive.engine.outbox.post([JobSpec("job", ("true",), index=i)], "/")[0] for i in range(5)
    ]
    drive.pass_time(1)
    assert world.commands("sub") == [("sub", "job", "5")]
    assert [drive.natives(job) for job in jobs] == [["1.0"], ["1.1"], ["1.2"], ["1.3"], ["1.4"]]


def test_large_arrays_are_cut_and_told_apart_by_name(world: World, drive: Drive):
    drive.submit(2500)
    drive.pass_time(5)
    assert world.commands("sub") == [
        ("sub", "job", "1000"),
        ("sub", "job.1000", "1000"),
        ("sub", "job.2000", "500"),
    ]


def test_without_arrays_each_job_is_a_submission(world: World):
    drive = Drive(world, dialect=Toy(arrays=False))
    jobs = drive.submit(3)
    drive.pass_time(5)
    assert [argv[1] for argv in world.commands("sub")] == ["job", "job.1", "job.2"]
    assert [drive.kinds(job) for job in jobs] == [["Accepted"]] * 3


def test_submissions_keep_to_the_pace(world: World):
    drive = Drive(world, Pace(submits_per_s=2, queries_per_minute=1))
    for number in range(20):
        drive.submit(1, f"job{number}")
    drive.pass_time(5)
    assert len(world.commands("sub")) == 12, "a burst of 2, then 2 a second"


def test_a_site_of_four_commands_a_minute_is_served(world: World):
    drive = Drive(world, Pace(commands_per_minute=4))
    jobs = [job for number in range(10) for job in drive.submit(100, f"wave{number}")]
    for _ in range(60):
        drive.pass_time(15)
        for native, row in world.queue.items():
            if row[2] == "waiting":
                world.end(native)
    assert all(drive.kinds(job) == ["Accepted", "JobEnd"] for job in jobs)
    times = [at for at, _ in world.ran]
    busiest = max(sum(at <= other < at + 60 for other in times) for at in times)
    assert busiest <= 5, "4 a minute, and one saved up"


def test_polls_grow_rare_while_nothing_happens_and_come_when_something_should(world: World):
    drive = Drive(world)
    drive.submit(1000)
    drive.pass_time(0)
    for _ in range(25):
        drive.pass_time(1)
        waiting = [native for native, row in world.queue.items() if row[2] == "waiting"]
        for native in waiting[:47]:
            world.end(native)
    drive.pass_time(5)
    assert drive.engine.issued(world.now) == frozenset()
    assert len(world.ran) <= 5, world.ran
    drive.submit(1, "long")
    drive.pass_time(600)
    assert len(world.commands("q")) <= 4 + 600 / 30 + 4


def test_a_limit_is_waited_for_and_smaller_arrays_are_tried(world: World, drive: Drive):
    world.limit = 10
    jobs = drive.submit(100)
    drive.pass_time(600)
    assert all(drive.kinds(job) == ["Accepted"] for job in jobs)
    gaps = [b - a for (a, _), (b, _) in zip(world.ran, world.ran[1:], strict=False)]
    assert max(gaps[:4]) >= 5, "a refusal is not answered by haste"


def test_an_outage_holds_submissions_ever_longer_and_loses_none(world: World, drive: Drive, caplog):
    caplog.set_level(logging.WARNING)
    world.broken["sub"] = Ran(1, stderr="outage")
    jobs = drive.submit(3)
    drive.pass_time(3600)
    assert 10 <= len(world.commands("sub")) <= 20
    assert len([r for r in caplog.records if "submissions wait" in r.message]) == 1
    assert "outage" in drive.engine.explain(jobs)[jobs[0]]
    world.broken.clear()
    drive.pass_time(301)
    assert all(drive.kinds(job) == ["Accepted"] for job in jobs)


def test_nodes_to_avoid_are_named_and_given_up_if_they_are_the_trouble(world: World, drive: Drive):
    drive.engine.avoid = ("bad1", "bad2")
    drive.submit()
    drive.pass_time(1)
    assert world.commands("sub") == [("sub", "job", "0", "bad1", "bad2")]


def test_a_limit_on_the_number_of_submissions_makes_none_smaller(world: World, drive: Drive):
    world.broken["sub"] = Ran(1, stderr="crowded")
    jobs = drive.submit(100)
    drive.pass_time(60)
    assert {argv[2] for argv in world.commands("sub")} == {"100"}
    world.broken.clear()
    drive.pass_time(301)
    assert all(drive.kinds(job) == ["Accepted"] for job in jobs)


def test_what_a_check_turns_down_is_tried_for_the_reasons_and_refused(world: World, drive: Drive):
    world.broken["sub"] = Ran(1, stderr="unfit")
    world.broken["try"] = Ran(1, stderr="permanent")
    (job,) = drive.submit()
    drive.pass_time(5)
    assert [argv[0] for _, argv in world.ran] == ["sub", "try"]
    assert drive.kinds(job) == ["Refused"]


def test_what_a_check_cannot_judge_is_submitted_without_it(world: World, drive: Drive):
    world.broken["sub"] = Ran(1, stderr="unfit")
    world.broken["try"] = Ran(1, stderr="unchecked")
    (job,) = drive.submit()
    drive.pass_time(1)
    assert [argv[0] for _, argv in world.ran] == ["sub", "try", "force"]
    assert drive.kinds(job) == ["Accepted"]


@pytest.mark.parametrize("said", ["unfit", "unchecked"])
def test_a_scheduler_that_goes_on_turning_it_down_is_believed(
    world: World, drive: Drive, said: str
):
    for verb in ("sub", "try", "force"):
        world.broken[verb] = Ran(1, stderr=said)
    (job,) = drive.submit()
    drive.pass_time(60)
    assert len(world.ran) == 2
    assert drive.kinds(job) == ["Refused"]


# ---- submissions without a clear answer ----------------------------------------------------


def test_a_submission_accepted_in_silence_is_found_by_its_name(world: World, drive: Drive):
    world.deaf = True
    jobs = drive.submit(3)
    drive.pass_time(10)
    assert [drive.kinds(job) for job in jobs] == [["Ambiguous", "Accepted"]] * 3
    assert [drive.natives(job) for job in jobs] == [["1.0"], ["1.1"], ["1.2"]]
    assert len(world.commands("sub")) == 1


def test_it_is_found_in_the_history_too(world: World, drive: Drive):
    world.broken["sub"] = Ran(1)
    (job,) = drive.submit()
    world.past["9"] = ["9", "job", "ended", "", EPOCH, 0]
    drive.pass_time(200)
    assert drive.kinds(job) == ["Ambiguous", "Accepted", "JobEnd"]


def test_two_complete_answers_and_two_minutes_are_needed_to_give_it_up(world: World, drive: Drive):
    world.broken["sub"] = Ran(1)
    (job,) = drive.submit()
    drive.pass_time(119)
    assert drive.kinds(job) == ["Ambiguous"]
    drive.pass_time(60)
    assert drive.kinds(job) == ["Ambiguous", "Refused"]
    refused = drive.news[job][1]
    assert isinstance(refused, Refused)
    assert refused.transient


@pytest.mark.parametrize("silent", ["q", "hist"])
def test_without_answers_it_is_neither_found_nor_given_up(world: World, drive: Drive, silent: str):
    world.broken |= {"sub": Ran(1), silent: DOWN}
    (job,) = drive.submit()
    drive.pass_time(500)
    assert drive.kinds(job) == ["Ambiguous"]
    world.broken.pop(silent)
    drive.pass_time(400)
    assert drive.kinds(job) == ["Ambiguous", "Refused"]


def test_an_older_job_of_the_same_name_is_not_it(world: World, drive: Drive):
    world.broken["sub"] = Ran(1)
    world.queue["5"] = ["5", "job", "waiting", "", EPOCH - 86400, None]
    (job,) = drive.submit()
    drive.pass_time(300)
    assert drive.kinds(job) == ["Ambiguous", "Refused"]


def test_one_that_appears_after_it_was_given_up_is_killed(world: World, drive: Drive):
    world.broken["sub"] = Ran(1)
    drive.submit()
    drive.pass_time(300)
    world.queue["7"] = ["7", "job", "running", "", EPOCH + 1, None]
    world.broken.clear()
    (other,) = drive.submit(1, "other")
    drive.pass_time(60)
    assert world.queue["7"][2] == "ended"
    assert drive.kinds(other) == ["Accepted"]


def test_of_twins_one_is_kept(world: World, drive: Drive):
    world.deaf = True
    (job,) = drive.submit()
    world.queue["70"] = ["70", "job", "running", "", EPOCH + 1, None]
    drive.pass_time(60)
    assert drive.natives(job) == ["70"], "the one that runs"
    assert world.queue["1"][2] == "ended"
    assert world.queue["70"][2] == "running"


def test_a_kill_meanwhile_reaches_it_by_name_and_again_when_it_is_found(world: World, drive: Drive):
    world.broken["sub"] = Ran(1)
    (job,) = drive.submit()
    drive.pass_time(1)
    drive.kill(job)
    drive.pass_time(1)
    assert world.commands("kill") == [("kill", "name=job")]
    world.queue["7"] = ["7", "job", "waiting", "", EPOCH + 1, None]
    drive.pass_time(100)
    assert drive.kinds(job) == ["Ambiguous", "Accepted", "JobEnd"]
    assert drive.reason(job) is Reason.CANCELLED


# ---- following -----------------------------------------------------------------------------


def test_absence_is_believed_after_two_answers_and_a_minute(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue.clear()
    drive.pass_time(55)
    assert drive.kinds(job) == ["Accepted"]
    assert drive.engine.issued(world.now) == {job}
    drive.pass_time(120)
    assert drive.reason(job) is Reason.LOST


def test_the_history_s_word_on_an_absent_job_counts(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue.clear()
    world.past["1"] = ["1", "job", "ended", "", EPOCH, 3]
    drive.pass_time(40)
    assert drive.reason(job) is Reason.FAILED


def test_an_absent_job_that_comes_back_was_never_gone(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(10)
    row = world.queue.pop("1")
    drive.pass_time(35)
    world.queue["1"] = row
    drive.pass_time(300)
    assert drive.kinds(job) == ["Accepted"]


def test_what_the_history_says_runs_is_given_up_only_late(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue.clear()
    world.past["1"] = ["1", "job", "running", "", EPOCH, None]
    drive.pass_time(500)
    assert drive.kinds(job) == ["Accepted"]
    drive.pass_time(300)
    assert drive.reason(job) is Reason.LOST


def test_without_a_history_what_is_gone_has_ended_somehow(world: World):
    drive = Drive(world, dialect=Toy(history=False))
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue.clear()
    drive.pass_time(120)
    assert drive.reason(job) is Reason.ENDED


def test_a_silent_history_is_waited_for(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue.clear()
    world.broken["hist"] = DOWN
    drive.pass_time(500)
    assert drive.kinds(job) == ["Accepted"]
    drive.pass_time(300)
    assert drive.reason(job) is Reason.ENDED


def test_an_outage_is_told_once_and_backed_off_from(world: World, drive: Drive, caplog):
    caplog.set_level(logging.INFO)
    (job,) = drive.submit()
    drive.pass_time(10)
    world.broken["q"] = DOWN
    before = len(world.commands("q"))
    drive.pass_time(3600)
    assert len(world.commands("q")) - before <= 3600 / 300 + 8
    with pytest.raises(Unobtainable, match="the scheduler is away"):
        drive.engine.issued(world.now)
    assert len([r for r in caplog.records if "no complete answer" in r.message]) == 1
    world.broken.clear()
    drive.pass_time(300)
    assert drive.engine.issued(world.now) == {job}
    assert drive.kinds(job) == ["Accepted"]


def test_an_unknown_state_is_said_once_and_harms_nobody(world: World, drive: Drive, caplog):
    jobs = drive.submit(2)
    drive.pass_time(10)
    for row in world.queue.values():
        row[2] = "dancing"
    drive.pass_time(600)
    assert drive.engine.issued(world.now) == set(jobs)
    assert len([r for r in caplog.records if "'dancing'" in r.message]) == 1


def test_a_job_that_is_stuck_is_ended_as_not_launched(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue["1"][2:4] = ["stuck", "launch failed requeued held"]
    drive.pass_time(100)
    assert drive.kinds(job) == ["Accepted"]
    drive.pass_time(150)
    assert drive.reason(job) is Reason.LAUNCH_FAILED


def test_a_job_that_waits_in_vain_is_warned_of_once(world: World, drive: Drive, caplog):
    jobs = drive.submit(5)
    drive.pass_time(1)
    for row in world.queue.values():
        row[3] = "never"
    drive.pass_time(600)
    assert len([r for r in caplog.records if "will not start by itself" in r.message]) == 1
    assert "never" in drive.engine.explain(jobs)[jobs[0]]


def test_a_job_given_up_that_leaves_without_a_trace_ends_as_it_was_judged(
    world: World, drive: Drive
):
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue["1"][2:4] = ["stuck", "its shell is missing"]
    drive.pass_time(200)
    world.broken["kill"] = Ran(0)
    world.queue.clear()
    drive.pass_time(200)
    assert drive.reason(job) is Reason.LAUNCH_FAILED
    assert "its shell is missing" in str(drive.news[job][-1])


def test_a_submission_that_waits_is_asked_about_ever_more_rarely(world: World):
    drive = Drive(world, dialect=Toy(curious=True))
    waiting, running = drive.submit(5, "waiting"), drive.submit(2, "running")
    drive.pass_time(5)
    world.queue["2.0"][2] = "running"
    drive.pass_time(600)
    assert set(world.commands("why")) == {("why", "1")}, "the other submission has begun"
    assert 3 <= len(world.commands("why")) <= 5
    explained = drive.engine.explain([*waiting, *running])
    assert {explained[job] for job in waiting} == {"toy says: resting"}
    assert "resting" not in explained[running[1]]


def test_a_scheduler_whose_queue_gives_the_reasons_is_asked_nothing(world: World, drive: Drive):
    drive.submit(5)
    drive.pass_time(600)
    assert not world.commands("why")


# ---- kills -----------------------------------------------------------------------------------


def test_a_job_killed_while_it_waited_needs_no_record(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(5)
    world.broken["kill"] = Ran(0)
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
    world.broken["kill"] = Ran(0)
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
    drive = Drive(world, patience=Patience(kill_chunk=3))
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
    world.broken["kill"] = Ran(0)
    drive.kill(job)
    drive.pass_time(300)
    assert 3 <= len(world.commands("kill")) <= 6
    world.broken.clear()
    drive.pass_time(100)
    assert drive.reason(job) is Reason.CANCELLED


# ---- adoption --------------------------------------------------------------------------------


def adopt(drive: Drive, *records: JobRecord) -> list[int | None]:
    drive.engine.inherit(records, drive.world.now)
    for _ in range(5):
        if not drive.engine.inherited():
            drive.pass_time(0.5)
    return drive.engine.settle_inheritance(drive.world.now)


def test_each_record_gets_what_is_known_of_it(world: World, drive: Drive):
    world.queue |= {
        "1.0": ["1.0", "a", "running", "", EPOCH, None],
        "1.1": ["1.1", "a", "ended", "", EPOCH, 4],
        "3.2": ["3.2", "b.1000", "waiting", "", EPOCH, None],
    }
    world.past["2"] = ["2", "c", "ended", "", EPOCH, 0]
    told = adopt(
        drive,
        JobRecord("a", 0, "1.0", EPOCH),
        JobRecord("a", 1, "1.1", EPOCH),
        JobRecord("b", 1002, "", EPOCH),
        JobRecord("c", 0, "2", EPOCH),
        JobRecord("a", 5, "1.5", EPOCH),
        JobRecord("foreign", 0, "not of this scheduler", EPOCH),
        JobRecord("d", 0, "", EPOCH - 1000),
        JobRecord("e", 0, "", EPOCH - 10),
    )
    running, ended, nameless, past, gone, foreign, never, fresh = told
    assert (gone, foreign, never) == (None, None, None)
    drive.pass_time(1)
    assert drive.engine.issued(world.now) == {running, nameless, fresh}
    assert nameless is not None
    assert ended is not None
    assert past is not None
    assert drive.kinds(nameless) == ["Accepted"]
    assert drive.natives(nameless) == ["3.2"]
    assert drive.reason(ended) is Reason.FAILED
    assert drive.reason(past) is Reason.OK
    drive.pass_time(400)
    assert fresh is not None
    assert drive.kinds(fresh) == ["Refused"], "a submission that never came about"


def test_adopted_jobs_are_followed_to_their_end(world: World, drive: Drive):
    world.queue["1"] = ["1", "a", "running", "", EPOCH, None]
    (job,) = adopt(drive, JobRecord("a", 0, "1", EPOCH))
    assert job is not None
    world.end("1", 6)
    drive.pass_time(60)
    assert drive.kinds(job) == ["JobEnd"]


# ---- size --------------------------------------------------------------------------------------


def test_a_live_job_takes_less_than_a_kilobyte(world: World, drive: Drive):
    drive.submit(10)
    drive.pass_time(1)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    specs = [JobSpec("many", ("true",), index=index) for index in range(20_000)]
    drive.engine.outbox.post(specs, "/")
    del specs
    drive.pass_time(10)
    world.queue.clear()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(f"{used / 20_000:.0f} bytes a job")
    assert used / 20_000 < 1000
