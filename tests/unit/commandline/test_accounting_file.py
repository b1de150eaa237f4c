"""A history in a file: read onward, in bounded passes, and never taken for more than it says."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsystems.commandline import accounting_file
from batchsystems.commandline.accounting_file import SIGN_BYTES, AccountingFile, Wanted
from batchsystems.interface import Reason
from tests.unit.commandline.inmemory import EPOCH, Drive, JsonDialect, JsonRecords, World

PATH = "/accounting"
ABSENCE_S = 60.0

NUMBERS = itertools.count()
"""No two records of a real file are the same."""


def reader() -> AccountingFile:
    return AccountingFile(JsonRecords(PATH), ABSENCE_S)


def wanted(*submissions: str, names: tuple[str, ...] = (), since: float = EPOCH) -> Wanted:
    return Wanted(set(submissions), set(names), since)


def ended(world: World, native: str, name: str = "job", at: float = 0.0, status: int = 0) -> None:
    world.record(PATH, native, name, "ended", "", EPOCH + at, status)


def natives(result: object) -> list[str]:
    return [observation.native for observation in result.observations]  # type: ignore[attr-defined]


def fill(world: World, count: int, at: float = 0.0) -> None:
    rows = [f'["9", "other", "ended", "", {EPOCH + at}, {next(NUMBERS)}]\n' for _ in range(count)]
    world.files[PATH] = world.files.get(PATH, b"") + "".join(rows).encode()


def test_records_of_the_jobs_wanted_are_kept_and_others_are_not(world: World):
    for native in ("1", "2.0", "2.1", "3"):
        ended(world, native)
    ended(world, "4", "sought")
    result = reader().read(world, wanted("1", "2", names=("sought",)), 0)
    assert result.complete
    assert natives(result) == ["1", "2.0", "2.1", "4"]


def test_what_was_read_is_not_read_again(world: World):
    read = reader()
    ended(world, "1")
    read.read(world, wanted("1", "2"), 0)
    size = len(world.files[PATH])
    world.looks.clear()
    ended(world, "2")
    assert natives(read.read(world, wanted("1", "2"), 0)) == ["1", "2"], "earlier ones stay known"
    assert [offset for _, offset, limit in world.looks if limit > SIGN_BYTES] == [size]
    world.looks.clear()
    assert natives(read.read(world, wanted("2"), 0)) == ["2"], "until nobody wants them"
    assert not [limit for _, _, limit in world.looks if limit > SIGN_BYTES]


def test_only_the_end_that_can_matter_is_read_of_a_long_file(world: World):
    fill(world, 200_000, at=-5000)
    fill(world, 10)
    ended(world, "1")
    assert natives(reader().read(world, wanted("1", since=EPOCH - 300), 0)) == ["1"]
    first = min(offset for _, offset, _ in world.looks)
    assert first > 0.9 * len(world.files[PATH])


def test_a_record_written_long_after_the_time_in_it_is_found(world: World):
    fill(world, 3000, at=-5000)
    ended(world, "1")
    fill(world, 1, at=-400)
    assert natives(reader().read(world, wanted("1", since=EPOCH - 300), 0)) == ["1"]


def test_an_earlier_time_asked_for_is_gone_back_to(world: World):
    fill(world, 3000, at=-9000)
    ended(world, "1", at=-5000)
    fill(world, 3000, at=-4000)
    read = reader()
    assert natives(read.read(world, wanted("1", since=EPOCH), 0)) == []
    assert natives(read.read(world, wanted("1", since=EPOCH - 6000), 0)) == ["1"]


def test_a_line_that_is_being_written_is_read_once_it_is_whole(world: World):
    ended(world, "1")
    ended(world, "2")
    whole = world.files[PATH]
    read = reader()
    for size in range(len(whole) + 1):
        world.files[PATH] = whole[:size]
        result = read.read(world, wanted("1", "2"), 0)
        assert result.complete
        assert natives(result) == ["1", "2"][: whole[:size].count(b"\n")]


def test_comments_and_damaged_lines_are_passed_over(world: World):
    world.files[PATH] = b"# Version: inmemory\n\n\xff\xfe\n[1, 2\n"
    ended(world, "1")
    assert natives(reader().read(world, wanted("1"), 0)) == ["1"]


def test_a_pass_is_bounded_and_the_next_goes_on(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(accounting_file, "MOST_BYTES", 1 << 16)
    monkeypatch.setattr(accounting_file, "BLOCK_BYTES", 1 << 14)
    fill(world, 5000)
    ended(world, "1")
    read, passes = reader(), 1
    while not (result := read.read(world, wanted("1"), 0)).complete:
        assert "still being read" in result.why
        passes += 1
    assert natives(result) == ["1"]
    assert passes == pytest.approx(len(world.files[PATH]) / (1 << 16), abs=2)


def test_a_file_begun_anew_is_read_from_its_beginning(world: World):
    fill(world, 100)
    ended(world, "1")
    read = reader()
    read.read(world, wanted("1", "2"), 0)
    world.files[PATH] = b""
    ended(world, "2")
    assert natives(read.read(world, wanted("1", "2"), 0)) == ["1", "2"]


@pytest.mark.parametrize("begun", [0, 100])
@pytest.mark.parametrize("regrown", [0, 1, 99, 500])
@pytest.mark.parametrize("copied", [False, True])
def test_a_file_moved_away_and_begun_anew_is_read_to_its_end_first(
    world: World, begun: int, regrown: int, copied: bool
):
    """By renaming, or by copying and emptying; the new one may be longer than the old was."""
    fill(world, begun)
    world.files.setdefault(PATH, b"")
    read = reader()
    assert read.read(world, wanted("1", "2", "3"), 0).complete
    ended(world, "1")
    if copied and begun:
        world.files[f"{PATH}.1"] = world.files.pop(PATH)
    else:
        world.rotate(PATH, f"{PATH}.1")
    fill(world, regrown)
    ended(world, "2")
    assert natives(read.read(world, wanted("1", "2", "3"), 0)) == ["1", "2"]
    ended(world, "3")
    assert natives(read.read(world, wanted("1", "2", "3"), 0)) == ["1", "2", "3"]


def test_several_files_moved_away_between_two_looks_are_all_read(world: World):
    fill(world, 10)
    read = reader()
    read.read(world, wanted("1", "2", "3"), 0)
    ended(world, "1")
    world.now = 10.0
    world.rotate(PATH, f"{PATH}-20260101")
    ended(world, "2")
    world.now = 20.0
    world.rotate(PATH, f"{PATH}-20260102")
    fill(world, 50)
    ended(world, "3")
    assert natives(read.read(world, wanted("1", "2", "3"), 0)) == ["1", "2", "3"]


def test_what_begins_after_the_file_was_moved_away_looks_into_the_old_one(world: World):
    fill(world, 5000, at=-9000)
    ended(world, "1", at=-10)
    world.rotate(PATH, f"{PATH}.0")
    fill(world, 5000, at=-9000)
    world.rotate(PATH, f"{PATH}.1")
    world.changed[f"{PATH}.1"] = -8000
    fill(world, 1)
    world.files[f"{PATH}.2.gz"] = b"\x1f\x8b"
    assert natives(reader().read(world, wanted("1", since=EPOCH - 300), 0)) == ["1"]
    looked = {path for path, _, _ in world.looks}
    assert looked == {PATH, f"{PATH}.0"}, "and into none that is too old, or compressed"


def test_a_file_begun_anew_whose_rest_is_gone_is_told(
    world: World, caplog: pytest.LogCaptureFixture
):
    fill(world, 100)
    read = reader()
    read.read(world, wanted("1", "2"), 0)
    ended(world, "1")
    world.rotate(PATH, "/elsewhere")
    fill(world, 200)
    ended(world, "2")
    assert natives(read.read(world, wanted("1", "2"), 0)) == ["2"]
    assert "begun anew" in caplog.text
    caplog.clear()
    assert read.read(world, wanted("1", "2"), 0).complete
    assert not caplog.text


@given(st.lists(st.sampled_from(["end", "rotate", "copy", "look"]), max_size=30))
def test_whenever_files_are_moved_away_every_record_is_read_once(moves: list[str]):
    world, read, last, seen = World(), reader(), 0, False
    world.files[PATH] = b""
    everyone = wanted(*map(str, range(100)))
    read.read(world, everyone, 0)
    for number, move in enumerate([*moves, "look"]):
        world.now = float(number)
        if move == "end":
            last += 1
            ended(world, str(last))
        elif move == "look":
            assert natives(read.read(world, everyone, 0)) == [str(n) for n in range(1, last + 1)]
            seen = world.files[PATH] != b""
        elif move == "copy" and seen:
            world.files[f"{PATH}.{number}"] = world.files[PATH]
            world.changed[f"{PATH}.{number}"] = world.now
            world.files[PATH], seen = b"", False
        else:
            world.rotate(PATH, f"{PATH}.{number}")
            world.files[PATH], seen = b"", False


def test_a_file_that_never_was_there_is_soon_not_waited_for(world: World):
    read = reader()
    for now, off in ((100.0, False), (150.0, False), (160.0, True)):
        result = read.read(world, wanted("1"), now)
        assert (result.complete, result.off) == (False, off)
        assert "No such file" in result.why


def test_a_file_that_is_gone_may_come_back(world: World):
    ended(world, "1")
    read = reader()
    read.read(world, wanted("1"), 0)
    hidden = world.files.pop(PATH)
    result = read.read(world, wanted("1"), 1000)
    assert (result.complete, result.off) == (False, False)
    world.files[PATH] = hidden
    assert natives(read.read(world, wanted("1"), 2000)) == ["1"]


# ---- behind an engine ------------------------------------------------------------------------


def test_an_engine_learns_from_the_file_how_jobs_ended(world: World):
    drive = Drive(world, dialect=JsonDialect(records=PATH))
    fill(world, 10)
    jobs = drive.submit(3)
    drive.pass_time(10)
    ended(world, "1.0", status=3)
    drive.pass_time(60)
    assert drive.kinds(jobs[0]) == ["Accepted"], "a record ends no job that is in the queue"
    world.queue.clear()
    ended(world, "1.1")
    drive.pass_time(40)
    assert [drive.reason(job) for job in jobs[:2]] == [Reason.FAILED, Reason.OK]
    assert drive.kinds(jobs[2]) == ["Accepted"]
    drive.pass_time(120)
    assert drive.reason(jobs[2]) is Reason.LOST
    assert not world.commands("hist")


def test_polls_keep_pace_with_jobs_that_leave_the_queue_for_the_file(world: World):
    drive = Drive(world, dialect=JsonDialect(records=PATH))
    fill(world, 1)
    jobs = drive.submit(1000)
    drive.pass_time(0)
    for _ in range(25):
        drive.pass_time(1)
        for native in list(world.queue)[:47]:
            ended(world, native, at=world.now)
            del world.queue[native]
    drive.pass_time(5)
    assert {drive.reason(job) for job in jobs} == {Reason.OK}
    assert len(world.ran) <= 5, world.ran


def test_a_job_whose_record_is_another_s_is_not_taken_for_it(world: World):
    drive = Drive(world, dialect=JsonDialect(records=PATH))
    ended(world, "1", "theirs")
    ended(world, "1", "job-of-before", at=-5000)
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue.clear()
    drive.pass_time(200)
    assert drive.reason(job) is Reason.LOST


def test_a_submission_accepted_in_silence_is_found_in_the_file(world: World):
    drive = Drive(world, dialect=JsonDialect(records=PATH))
    world.deaf = True
    (job,) = drive.submit()
    drive.pass_time(0)
    world.queue.clear()
    ended(world, "1")
    drive.pass_time(60)
    assert drive.kinds(job) == ["Ambiguous", "Accepted", "JobEnd"]


def test_without_the_file_what_is_gone_has_ended_somehow(world: World):
    drive = Drive(world, dialect=JsonDialect(records=PATH))
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue.clear()
    drive.pass_time(60)
    assert drive.kinds(job) == ["Accepted"]
    drive.pass_time(180)
    assert drive.reason(job) is Reason.ENDED
