"""The base of all command-line adapters: following jobs, ending them and taking them back."""

from __future__ import annotations

import logging
import tracemalloc

import pytest

from batchsystems.errors import Unobtainable
from batchsystems.interface import JobRecord, JobSpec, Reason
from batchsystems.transport.local import CommandResult
from tests.unit.commandline.inmemory import DOWN, EPOCH, Drive, JsonDialect, World

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


@pytest.mark.parametrize("mark", ["1", "job"])
def test_a_row_that_cannot_be_read_costs_its_job_and_no_other(
    world: World, drive: Drive, mark: str
):
    (hidden,) = drive.submit()
    (other,) = drive.submit(name="other")
    drive.pass_time(10)
    world.queue = {"1": mark}
    drive.pass_time(1000)
    assert drive.reason(other) is Reason.LOST
    assert drive.kinds(hidden) == ["Accepted"], "it may be there"
    assert drive.engine.issued(world.now) == {hidden}
    world.queue = {}
    drive.pass_time(200)
    assert drive.reason(hidden) is Reason.LOST


def test_a_record_that_cannot_be_read_is_waited_for_and_not_for_ever(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue, world.past = {}, {"1": "1"}
    drive.pass_time(500)
    assert drive.kinds(job) == ["Accepted"]
    drive.pass_time(300)
    assert drive.reason(job) is Reason.LOST


def test_a_submission_is_not_given_up_while_a_row_of_its_name_cannot_be_read(
    world: World, drive: Drive
):
    world.deaf = True
    (job,) = drive.submit()
    drive.pass_time(2)
    row = world.queue["1"]
    world.queue = {"1": "job"}
    drive.pass_time(600)
    assert drive.kinds(job) == ["Ambiguous"]
    world.queue = {"1": row}
    drive.pass_time(100)
    assert drive.natives(job) == ["1"]


def test_what_cannot_be_read_may_be_adopted_later(world: World, drive: Drive):
    world.queue = {"1": "1"}
    drive.engine.begin_adoption([JobRecord("job", 0, "1", EPOCH)], world.now)
    drive.pass_time(10)
    (handle,) = drive.engine.finish_adoption(world.now)
    assert handle is not None


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
    drive = Drive(world, dialect=JsonDialect(history=False))
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
    world.broken["kill"] = CommandResult(0)
    world.queue.clear()
    drive.pass_time(200)
    assert drive.reason(job) is Reason.LAUNCH_FAILED
    assert "its shell is missing" in str(drive.news[job][-1])


def test_a_submission_that_waits_is_asked_about_ever_more_rarely(world: World):
    drive = Drive(world, dialect=JsonDialect(wants_reasons=True))
    waiting, running = drive.submit(5, "waiting"), drive.submit(2, "running")
    drive.submit(3, "served")
    drive.pass_time(5)
    world.queue["2.0"][2] = "running"
    world.end("3.0")
    drive.pass_time(600)
    assert set(world.commands("why")) == {("why", "1")}, "the other submissions have begun"
    assert 3 <= len(world.commands("why")) <= 5
    explained = drive.engine.explain([*waiting, *running])
    assert {explained[job] for job in waiting} == {"inmemory says: resting"}
    assert "resting" not in explained[running[1]]


def test_a_scheduler_whose_queue_gives_the_reasons_is_asked_nothing(world: World, drive: Drive):
    drive.submit(5)
    drive.pass_time(600)
    assert not world.commands("why")


# ---- kills -----------------------------------------------------------------------------------

# ---- adoption --------------------------------------------------------------------------------


def adopt(drive: Drive, *records: JobRecord) -> list[int | None]:
    drive.engine.begin_adoption(records, drive.world.now)
    for _ in range(5):
        if not drive.engine.adoption_answered():
            drive.pass_time(0.5)
    return drive.engine.finish_adoption(drive.world.now)


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
    drive.engine.submission_queue.post(specs, "/")
    del specs
    drive.pass_time(10)
    world.queue.clear()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(f"{used / 20_000:.0f} bytes a job")
    assert used / 20_000 < 1000


# ---- what is told while it lasts ---------------------------------------------------------------

# ---- more rows than an answer may have ------------------------------------------------------
