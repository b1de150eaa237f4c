"""The base of all command-line adapters where clocks and zones disagree: ids and names decide."""

from __future__ import annotations

import re
from typing import Any

import pytest

from batchsystems.commandline.answers import Observation
from batchsystems.interface import JobRecord, Reason
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.transport.local import CommandResult
from tests.unit.commandline.inmemory import EPOCH, Drive, JsonDialect, World
from tests.unit.commandline.test_reconcile import adopt

HOUR = 3600.0
APART = pytest.mark.parametrize("ahead", [-26 * HOUR, -5 * HOUR, -302.0, 302.0, 14 * HOUR])


def run(world: World, native: str) -> None:
    world.queue[native][2] = "running"


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if "clock is" in record.message]


# ---- what the queue shows ------------------------------------------------------------------


@APART
def test_a_job_that_is_shown_is_there_whatever_the_clocks_say(
    world: World, drive: Drive, caplog, ahead: float
):
    world.ahead = ahead
    jobs = drive.submit(3)
    drive.pass_time(10)
    run(world, "1.0")
    drive.pass_time(4000)
    assert [drive.kinds(job) for job in jobs] == [["Accepted"]] * 3
    assert drive.engine.issued(world.now) == set(jobs)
    assert not world.commands("hist"), "nothing was absent"
    (said,) = warned(caplog)
    (trouble,) = drive.engine.troubles(world.now)
    assert trouble.what in said, "status says it for as long as it is so"
    found = re.search(r"is about (\d+) s (ahead of|behind) this machine's", said)
    assert found is not None, said
    assert int(found[1]) == pytest.approx(abs(ahead), abs=5)
    assert found[2] == ("ahead of" if ahead > 0 else "behind")


def test_clocks_that_agree_are_not_told(world: World, drive: Drive, caplog):
    world.ahead = -200.0
    drive.submit()
    drive.pass_time(60)
    assert warned(caplog) == []
    assert drive.engine.troubles(world.now) == []


def test_a_clock_that_is_put_right_is_no_trouble_any_more(world: World, drive: Drive):
    world.ahead = 2 * HOUR
    drive.submit(1, "before")
    drive.pass_time(60)
    assert len(drive.engine.troubles(world.now)) == 1
    world.ahead = 0.0
    drive.submit(1, "after")
    drive.pass_time(60)
    assert drive.engine.troubles(world.now) == []


def test_a_zone_that_is_lost_in_the_middle_harms_nothing(world: World, drive: Drive, caplog):
    jobs = drive.submit(2, "before")
    drive.pass_time(30)
    world.ahead = -5 * HOUR
    for row in world.queue.values():
        row[4] -= 5 * HOUR
    jobs += drive.submit(2, "after")
    drive.pass_time(600)
    assert [drive.kinds(job) for job in jobs] == [["Accepted"]] * 4
    assert len(warned(caplog)) == 1


def test_our_own_clock_may_be_set_back(world: World, drive: Drive):
    world.ours = HOUR  # it is an hour ahead, and is put right
    (before,) = drive.submit(1, "before")
    drive.pass_time(30)
    world.ours = 0.0
    (after,) = drive.submit(1, "after")
    drive.pass_time(600)
    assert drive.kinds(before) == drive.kinds(after) == ["Accepted"]
    world.end("1", 3)
    world.end("2", 4)
    drive.pass_time(60)
    assert drive.reason(before) is drive.reason(after) is Reason.FAILED


def test_an_id_that_is_anothers_now_is_told_by_the_name(world: World, drive: Drive):
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue["1"][1] = "theirs"
    drive.pass_time(200)
    assert drive.reason(job) is Reason.LOST
    assert not world.commands("kill"), "it is another's"


def test_where_no_name_is_told_the_learnt_clock_decides(world: World, drive: Drive):
    world.ahead = -5 * HOUR
    drive.submit(1, "first")
    drive.pass_time(30)
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue["2"][1] = ""
    drive.pass_time(200)
    assert drive.kinds(job) == ["Accepted"]
    world.queue["2"][4] -= 2 * HOUR
    drive.pass_time(300)
    assert drive.reason(job) is Reason.LOST


# ---- how long it has run -------------------------------------------------------------------


class Telling(JsonDialect):
    """It says when a job began to run, by the scheduler's clock."""

    def __init__(self, world: World, tells_submission: bool) -> None:
        super().__init__()
        self._world, self._tells = world, tells_submission

    def observation(self, row: list[Any]) -> Observation:
        seen = super().observation(row[:6])
        started = row[6] if len(row) > 6 else None
        submitted = seen.submitted if self._tells else None
        return Observation(
            seen.native, seen.name, seen.phase, seen.word, submitted=submitted, started=started
        )


@APART
@pytest.mark.parametrize("tells", [True, False])
def test_how_long_a_job_runs_is_told_by_the_schedulers_own_clock(
    world: World, ahead: float, tells: bool
):
    world.ahead = ahead
    drive = Drive(world, dialect=Telling(world, tells))
    (job,) = drive.submit()
    drive.pass_time(20)
    run(world, "1")
    world.queue["1"].append(world.clock())
    drive.pass_time(100)
    assert drive.engine.running(world.now)[job] == pytest.approx(100, abs=25)
    world.ours = -7 * HOUR  # our own clock is set, and nothing has changed
    drive.pass_time(100)
    assert drive.engine.running(world.now)[job] == pytest.approx(200, abs=25)


def test_no_job_has_run_for_longer_than_it_is_there(world: World):
    drive = Drive(world, dialect=Telling(world, True))
    (job,) = drive.submit()
    drive.pass_time(20)
    run(world, "1")
    world.queue["1"].append(world.clock() - 5 * HOUR)  # its clock was set
    drive.pass_time(100)
    assert drive.engine.running(world.now)[job] <= 120


# ---- submissions without a clear answer ------------------------------------------------------


@APART
def test_a_submission_accepted_in_silence_is_found_though_its_time_is_odd(
    world: World, drive: Drive, ahead: float
):
    world.ahead, world.deaf = ahead, True
    jobs = drive.submit(3)
    drive.pass_time(60)
    assert [drive.kinds(job) for job in jobs] == [["Ambiguous", "Accepted"]] * 3
    assert len(world.commands("sub")) == 1


def test_what_has_ended_meanwhile_is_found_once_the_clock_is_learnt(world: World, drive: Drive):
    world.ahead = -5 * HOUR
    drive.submit(1, "first")
    drive.pass_time(30)
    world.deaf = True
    (job,) = drive.submit()
    drive.pass_time(0.5)
    world.end("2", 0)
    drive.pass_time(60)
    assert drive.kinds(job) == ["Ambiguous", "Accepted", "JobEnd"]


# ---- the history ----------------------------------------------------------------------------


@APART
def test_the_record_of_a_job_is_found_in_a_long_file(world: World, ahead: float):
    world.ahead = ahead
    drive = Drive(world, dialect=JsonDialect(records="/accounting"))
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue.clear()
    world.record("/accounting", "1", "job", "ended", "", world.clock() - 5, 3)
    for number in range(3000):
        world.record("/accounting", f"{900 + number}", "theirs", "ended", "", world.clock(), 0)
    drive.pass_time(60)
    assert drive.reason(job) is Reason.FAILED


def test_slurm_is_asked_for_a_window_that_no_zone_leaves() -> None:
    command = SlurmDialect().history(["1"], [], EPOCH)
    assert command is not None
    (start,) = [word for word in command.argv if word.startswith("--starttime=")]
    assert start <= "--starttime=2027-01-14T06:00:00", "26 hours before 2027-01-15T08:00:00"


# ---- what was given up ------------------------------------------------------------------------


def test_what_was_given_up_as_gone_is_killed_when_it_shows_again(world: World, drive: Drive):
    jobs = drive.submit(3)
    drive.pass_time(10)
    run(world, "1.1")
    row = world.queue.pop("1.1")
    drive.pass_time(200)
    assert drive.reason(jobs[1]) is Reason.LOST
    world.queue["1.1"] = row
    drive.pass_time(90)
    assert world.commands("kill") == [("kill", "1.1")], "it alone, by its id"
    assert row[2] == "ended"
    assert [drive.kinds(job) for job in (jobs[0], jobs[2])] == [["Accepted"]] * 2


def test_it_is_looked_for_though_nothing_else_is_out(world: World, drive: Drive):
    drive.submit()
    drive.pass_time(10)
    row = world.queue.pop("1")
    drive.pass_time(300)
    world.queue["1"] = row
    drive.pass_time(120)
    assert row[2] == "ended"
    drive.pass_time(2000)
    looks = len(world.commands("q"))
    drive.pass_time(4000)
    assert len(world.commands("q")) == looks, "but not for ever"


def test_its_kill_is_repeated_at_times_until_it_is_gone(world: World, drive: Drive):
    drive.submit()
    drive.pass_time(10)
    row = world.queue.pop("1")
    drive.pass_time(200)
    world.queue["1"], world.broken["kill"] = row, CommandResult(0)
    drive.submit(1, "other")
    drive.pass_time(300)
    assert 3 <= len(world.commands("kill")) <= 6


def test_an_id_used_again_for_another_name_is_spared(world: World, drive: Drive):
    drive.submit()
    drive.pass_time(10)
    world.queue.clear()
    drive.pass_time(200)
    world.queue["1"] = ["1", "theirs", "running", "", world.clock(), None]
    drive.pass_time(300)
    assert not world.commands("kill")


def test_a_name_that_is_wanted_again_is_not_killed(world: World, drive: Drive):
    world.broken["sub"] = CommandResult(1)
    (refused,) = drive.submit()
    drive.pass_time(300)
    assert drive.kinds(refused) == ["Ambiguous", "Refused"]
    world.broken.clear()
    world.deaf = True
    (again,) = drive.submit()
    drive.pass_time(60)
    assert drive.kinds(again) == ["Ambiguous", "Accepted"]
    assert not world.commands("kill")


# ---- taking back ------------------------------------------------------------------------------


@APART
def test_jobs_are_taken_back_by_id_and_name_whatever_the_clocks_say(
    world: World, drive: Drive, ahead: float
):
    world.queue |= {
        "1": ["1", "a", "running", "", EPOCH + ahead, None],
        "2": ["2", "b", "waiting", "", EPOCH + ahead, None],
        "3": ["3", "c", "ended", "", EPOCH + ahead, 4],
    }
    told = adopt(
        drive,
        JobRecord("a", 0, "1", EPOCH),
        JobRecord("b", 0, "", EPOCH),
        JobRecord("c", 0, "3", EPOCH),
    )
    assert None not in told
    drive.pass_time(600)
    running, nameless, ended = (job for job in told if job is not None)
    assert drive.engine.issued(world.now) == {running, nameless}
    assert drive.natives(nameless) == ["2"]
    assert drive.reason(ended) is Reason.FAILED


def test_records_of_a_clock_that_was_set_back_are_no_reason_to_give_up(world: World, drive: Drive):
    (late,) = adopt(drive, JobRecord("late", 0, "", EPOCH + HOUR))
    assert late is not None, "it may have been submitted this very moment"
    world.queue["7"] = ["7", "late", "waiting", "", EPOCH + 1, None]
    drive.pass_time(60)
    assert drive.natives(late) == ["7"]


def test_what_is_not_taken_back_is_killed_should_it_show(world: World, drive: Drive):
    assert adopt(drive, JobRecord("a", 1, "1.1", EPOCH), JobRecord("b", 0, "", EPOCH - 1000)) == [
        None,
        None,
    ]
    world.queue |= {
        "1.0": ["1.0", "a", "running", "", EPOCH, None],
        "1.1": ["1.1", "a", "running", "", EPOCH, None],
        "5": ["5", "b", "running", "", EPOCH, None],
    }
    drive.pass_time(60)
    assert {native: row[2] for native, row in world.queue.items()} == {
        "1.0": "running",
        "1.1": "ended",
        "5": "ended",
    }
