"""The base of all command-line adapters: submissions, in virtual time, to a scheduler in memory."""

from __future__ import annotations

import logging
import time

import pytest

from batchsystems.commandline.pacing import Pace, Timeouts
from batchsystems.interface import JobSpec, Reason, Refused
from batchsystems.transport.local import CommandResult
from tests.unit.commandline.inmemory import DOWN, EPOCH, Drive, JsonDialect, World

# ---- submissions -------------------------------------------------------------------------


def test_jobs_alike_become_one_array_however_they_are_given(world: World, drive: Drive):
    jobs = [
        drive.engine.submission_queue.post([JobSpec("job", ("true",), index=i)], "/")[0]
        for i in range(5)
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
    drive = Drive(world, dialect=JsonDialect(arrays=False))
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


def test_ends_that_are_expected_are_looked_for_soon(world: World):
    drive = Drive(world)
    (job,) = drive.submit(1)
    drive.pass_time(300)
    (native,) = world.queue
    world.end(native)
    before = len(world.commands("q"))
    drive.engine.expect_ends(world.now)
    drive.pass_time(4)
    assert len(world.commands("q")) == before + 1
    assert drive.kinds(job) == ["Accepted", "JobEnd"]
    drive.engine.expect_ends(world.now)
    drive.pass_time(60)
    assert len(world.commands("q")) == before + 1, "nothing is left to be looked for"


def test_a_limit_is_waited_for_and_smaller_arrays_are_tried(world: World, drive: Drive):
    world.limit = 10
    jobs = drive.submit(100)
    drive.pass_time(600)
    assert all(drive.kinds(job) == ["Accepted"] for job in jobs)
    gaps = [b - a for (a, _), (b, _) in zip(world.ran, world.ran[1:], strict=False)]
    assert max(gaps[:4]) >= 5, "a refusal is not answered by haste"


def test_an_outage_holds_submissions_ever_longer_and_loses_none(world: World, drive: Drive, caplog):
    caplog.set_level(logging.WARNING)
    world.broken["sub"] = CommandResult(1, stderr="outage")
    jobs = drive.submit(3)
    drive.pass_time(3600)
    assert 10 <= len(world.commands("sub")) <= 20
    assert len([r for r in caplog.records if "submissions wait" in r.message]) == 1
    assert "outage" in drive.engine.explain(jobs)[jobs[0]]
    world.broken.clear()
    drive.pass_time(301)
    assert all(drive.kinds(job) == ["Accepted"] for job in jobs)


def test_a_refusal_in_unknown_words_is_tried_a_few_times_and_told(world: World, drive: Drive):
    """As when a site's own plugin refuses it: its words are in no table."""
    world.broken["sub"] = CommandResult(1, stderr="refused")
    jobs = drive.submit(3)
    drive.pass_time(3600)
    assert len(world.commands("sub")) == Timeouts().tries
    for job in jobs:
        assert drive.kinds(job) == ["Refused"]
        (told,) = drive.news[job]
        assert isinstance(told, Refused)
        assert not told.transient
        assert "refused" in told.why
        assert "5 times" in told.why
    world.broken.clear()
    (other,) = drive.submit(1, "other")
    drive.pass_time(301)
    assert drive.kinds(other) == ["Accepted"], "and others are not harmed"


def test_a_refusal_that_passes_after_two_tries_harms_nobody(world: World, drive: Drive):
    world.broken["sub"] = CommandResult(1, stderr="refused")
    jobs = drive.submit(3)
    drive.pass_time(8)
    world.broken.clear()
    drive.pass_time(60)
    assert all(drive.kinds(job) == ["Accepted"] for job in jobs)


def test_a_limit_nobody_names_is_waited_for_while_jobs_are_out(world: World, drive: Drive):
    """Old versions do not say which limit: it may be one on the number of jobs, or not."""
    (first,) = drive.submit(1, "first")
    drive.pass_time(5)
    world.broken["sub"] = CommandResult(1, stderr="limit")
    (job,) = drive.submit()
    drive.pass_time(3600)
    assert drive.kinds(job) == []
    world.end("1")
    drive.pass_time(1800)
    assert drive.kinds(first) == ["Accepted", "JobEnd"]
    assert drive.kinds(job) == ["Refused"]


def test_answers_nobody_understands_are_looked_for_and_tried_a_few_times(
    world: World, drive: Drive
):
    world.broken["sub"] = CommandResult(1, stderr="strange")
    refusals = []
    for number in range(20):
        (job,) = drive.submit(1, f"try{number}")
        drive.pass_time(900)
        told = drive.news[job]
        assert drive.kinds(job) == ["Ambiguous", "Refused"]
        assert isinstance(told[-1], Refused)
        refusals.append(told[-1])
    tries = Timeouts().tries
    assert [each.transient for each in refusals] == [True] * (tries - 1) + [False] * (21 - tries)
    assert "strange" in refusals[-1].why


def test_time_outs_are_never_the_end_of_a_job_but_ever_rarer(world: World, drive: Drive):
    world.broken["sub"] = CommandResult(1, stderr="unknown")
    for number in range(200):
        drive.submit(1, f"job{number}")
    drive.pass_time(3600)
    assert len(world.commands("sub")) <= 20, "200 that time out are not tried one after the other"
    told = [each for news in drive.news.values() for each in news if isinstance(each, Refused)]
    assert told
    assert all(each.transient for each in told)


def test_nodes_to_avoid_are_named_and_given_up_if_they_are_the_trouble(world: World, drive: Drive):
    drive.engine.avoid = ("bad1", "bad2")
    drive.submit()
    drive.pass_time(1)
    assert world.commands("sub") == [("sub", "job", "0", "bad1", "bad2")]


def test_a_limit_on_the_number_of_submissions_makes_none_smaller(world: World, drive: Drive):
    world.broken["sub"] = CommandResult(1, stderr="crowded")
    jobs = drive.submit(100)
    drive.pass_time(60)
    assert {argv[2] for argv in world.commands("sub")} == {"100"}
    world.broken.clear()
    drive.pass_time(301)
    assert all(drive.kinds(job) == ["Accepted"] for job in jobs)


def test_what_a_check_turns_down_is_tried_for_the_reasons_and_refused(world: World, drive: Drive):
    world.broken["sub"] = CommandResult(1, stderr="unfit")
    world.broken["try"] = CommandResult(1, stderr="permanent")
    (job,) = drive.submit()
    drive.pass_time(5)
    assert [argv[0] for _, argv in world.ran] == ["sub", "try"]
    assert drive.kinds(job) == ["Refused"]


def test_what_a_check_cannot_judge_is_submitted_without_it(world: World, drive: Drive):
    world.broken["sub"] = CommandResult(1, stderr="unfit")
    world.broken["try"] = CommandResult(1, stderr="unchecked")
    (job,) = drive.submit()
    drive.pass_time(1)
    assert [argv[0] for _, argv in world.ran] == ["sub", "try", "force"]
    assert drive.kinds(job) == ["Accepted"]


@pytest.mark.parametrize("said", ["unfit", "unchecked"])
def test_a_scheduler_that_goes_on_turning_it_down_is_believed(
    world: World, drive: Drive, said: str
):
    for verb in ("sub", "try", "force"):
        world.broken[verb] = CommandResult(1, stderr=said)
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
    world.broken["sub"] = CommandResult(1)
    (job,) = drive.submit()
    world.past["9"] = ["9", "job", "ended", "", EPOCH, 0]
    drive.pass_time(200)
    assert drive.kinds(job) == ["Ambiguous", "Accepted", "JobEnd"]


def test_two_complete_answers_and_two_minutes_are_needed_to_give_it_up(world: World, drive: Drive):
    world.broken["sub"] = CommandResult(1)
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
    world.broken |= {"sub": CommandResult(1), silent: DOWN}
    (job,) = drive.submit()
    drive.pass_time(500)
    assert drive.kinds(job) == ["Ambiguous"]
    world.broken.pop(silent)
    drive.pass_time(400)
    assert drive.kinds(job) == ["Ambiguous", "Refused"]


def test_an_older_end_under_the_same_name_is_not_its(world: World, drive: Drive):
    world.broken["sub"] = CommandResult(1)
    world.queue["5"] = ["5", "job", "ended", "", EPOCH - 86400, 0]
    (job,) = drive.submit()
    drive.pass_time(300)
    assert drive.kinds(job) == ["Ambiguous", "Refused"]


def test_one_that_appears_after_it_was_given_up_is_killed(world: World, drive: Drive):
    world.broken["sub"] = CommandResult(1)
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


def test_what_may_appear_late_is_ended_by_name_for_as_long_as_it_is_looked_for(
    world: World, drive: Drive
):
    world.broken["sub"] = CommandResult(1)
    (job,) = drive.submit()
    drive.pass_time(1)
    drive.kill(job)
    drive.pass_time(3600)
    assert 2 <= len(world.commands("kill")) <= 5
    assert drive.kinds(job)[-1] == "Refused"


def test_a_kill_meanwhile_reaches_it_by_name_and_again_when_it_is_found(world: World, drive: Drive):
    world.broken["sub"] = CommandResult(1)
    (job,) = drive.submit()
    drive.pass_time(1)
    drive.kill(job)
    drive.pass_time(1)
    assert world.commands("kill") == [("kill", "name=job")]
    world.queue["7"] = ["7", "job", "waiting", "", EPOCH + 1, None]
    drive.pass_time(100)
    assert drive.kinds(job) == ["Ambiguous", "Accepted", "JobEnd"]
    assert drive.reason(job) is Reason.CANCELLED


# ---- withdrawing ---------------------------------------------------------------------------


def withdrawing_s(count: int) -> float:
    """Return how long it takes to withdraw so many jobs that wait, one after the other."""
    drive = Drive(World(), Pace(submits_per_s=0.001))
    jobs = drive.submit(count // 2) + [
        job for number in range(count // 2) for job in drive.submit(1, f"single{number}")
    ]
    began = time.process_time()
    for job in jobs:
        drive.kill(job)
        drive.engine.idle_s(0.0)
    lasted = time.process_time() - began
    assert drive.engine.issued(0.0) == frozenset()
    assert not drive.engine.submission_queue.waiting
    return lasted


def test_withdrawing_grows_with_what_is_withdrawn_and_not_with_what_waits():
    few, many = (min(withdrawing_s(count) for _ in range(3)) for count in (500, 8000))
    assert many < 16 * few * 5, (few, many)


def test_what_is_left_of_a_batch_is_submitted_with_its_own_indices(world: World, drive: Drive):
    jobs = drive.submit(6)
    drive.kill(jobs[0], jobs[3])
    drive.pass_time(5)
    assert world.commands("sub") == [("sub", "job.1", "2"), ("sub", "job.4", "2")]
    assert [drive.kinds(job) for job in jobs] == [
        ["JobEnd"] if at in (0, 3) else ["Accepted"] for at in range(6)
    ]


def test_what_is_withdrawn_while_a_batch_is_held_back_is_not_submitted(world: World, drive: Drive):
    world.broken["sub"] = CommandResult(1, stderr="outage")
    jobs = drive.submit(3)
    drive.pass_time(60)
    drive.kill(jobs[1])
    world.broken.clear()
    drive.pass_time(400)
    assert [drive.kinds(job) for job in jobs] == [["Accepted"], ["JobEnd"], ["Accepted"]]
    assert drive.engine.submission_queue.due() == float("inf")
