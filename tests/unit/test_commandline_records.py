"""A history in a file: read onward, in bounded passes, and never taken for more than it says."""

from __future__ import annotations

import pytest

from batchsystems.commandline import records
from batchsystems.commandline.records import Records, Wanted
from batchsystems.interface import Reason
from tests.unit.toyscheduler import EPOCH, Drive, Toy, World

PATH = "/accounting"
ABSENCE_S = 60.0


@pytest.fixture
def world() -> World:
    return World()


def reader() -> Records:
    return Records(Toy(records=PATH), ABSENCE_S)


def wanted(*submissions: str, names: tuple[str, ...] = (), since: float = EPOCH) -> Wanted:
    return Wanted(set(submissions), set(names), since)


def ended(world: World, native: str, name: str = "job", at: float = 0.0, status: int = 0) -> None:
    world.record(PATH, native, name, "ended", "", EPOCH + at, status)


def natives(listing: object) -> list[str]:
    return [sighting.native for sighting in listing.sightings]  # type: ignore[attr-defined]


def fill(world: World, count: int, at: float = 0.0) -> None:
    row = f'["9", "other", "ended", "", {EPOCH + at}, 0]\n'.encode()
    world.files[PATH] = world.files.get(PATH, b"") + row * count


def test_records_of_the_jobs_wanted_are_kept_and_others_are_not(world: World):
    for native in ("1", "2.0", "2.1", "3"):
        ended(world, native)
    ended(world, "4", "sought")
    listing = reader().read(world, wanted("1", "2", names=("sought",)), 0)
    assert listing.complete
    assert natives(listing) == ["1", "2.0", "2.1", "4"]


def test_what_was_read_is_not_read_again(world: World):
    read = reader()
    ended(world, "1")
    read.read(world, wanted("1", "2"), 0)
    size = len(world.files[PATH])
    world.looks.clear()
    ended(world, "2")
    assert natives(read.read(world, wanted("1", "2"), 0)) == ["1", "2"], "earlier ones stay known"
    assert [offset for _, offset, _ in world.looks] == [size]
    world.looks.clear()
    assert natives(read.read(world, wanted("2"), 0)) == ["2"], "until nobody wants them"
    assert world.looks == []


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
        listing = read.read(world, wanted("1", "2"), 0)
        assert listing.complete
        assert natives(listing) == ["1", "2"][: whole[:size].count(b"\n")]


def test_comments_and_damaged_lines_are_passed_over(world: World):
    world.files[PATH] = b"# Version: toy\n\n\xff\xfe\n[1, 2\n"
    ended(world, "1")
    assert natives(reader().read(world, wanted("1"), 0)) == ["1"]


def test_a_pass_is_bounded_and_the_next_goes_on(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(records, "MOST_BYTES", 1 << 16)
    monkeypatch.setattr(records, "BLOCK_BYTES", 1 << 14)
    fill(world, 5000)
    ended(world, "1")
    read, passes = reader(), 1
    while not (listing := read.read(world, wanted("1"), 0)).complete:
        assert "still being read" in listing.why
        passes += 1
    assert natives(listing) == ["1"]
    assert passes == pytest.approx(len(world.files[PATH]) / (1 << 16), abs=2)


def test_a_file_begun_anew_is_read_from_its_beginning(world: World):
    fill(world, 100)
    ended(world, "1")
    read = reader()
    read.read(world, wanted("1", "2"), 0)
    world.files[PATH] = b""
    ended(world, "2")
    assert natives(read.read(world, wanted("1", "2"), 0)) == ["1", "2"]


def test_a_file_that_never_was_there_is_soon_not_waited_for(world: World):
    read = reader()
    for now, off in ((100.0, False), (150.0, False), (160.0, True)):
        listing = read.read(world, wanted("1"), now)
        assert (listing.complete, listing.off) == (False, off)
        assert "No such file" in listing.why


def test_a_file_that_is_gone_may_come_back(world: World):
    ended(world, "1")
    read = reader()
    read.read(world, wanted("1"), 0)
    hidden = world.files.pop(PATH)
    listing = read.read(world, wanted("1"), 1000)
    assert (listing.complete, listing.off) == (False, False)
    world.files[PATH] = hidden
    assert natives(read.read(world, wanted("1"), 2000)) == ["1"]


# ---- behind an engine ------------------------------------------------------------------------


def test_an_engine_learns_from_the_file_how_jobs_ended(world: World):
    drive = Drive(world, dialect=Toy(records=PATH))
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


def test_a_job_whose_record_is_another_s_is_not_taken_for_it(world: World):
    drive = Drive(world, dialect=Toy(records=PATH))
    ended(world, "1", "theirs")
    ended(world, "1", "job", at=-5000)
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue.clear()
    drive.pass_time(200)
    assert drive.reason(job) is Reason.LOST


def test_a_submission_accepted_in_silence_is_found_in_the_file(world: World):
    drive = Drive(world, dialect=Toy(records=PATH))
    world.deaf = True
    (job,) = drive.submit()
    drive.pass_time(0)
    world.queue.clear()
    ended(world, "1")
    drive.pass_time(60)
    assert drive.kinds(job) == ["Ambiguous", "Accepted", "JobEnd"]


def test_without_the_file_what_is_gone_has_ended_somehow(world: World):
    drive = Drive(world, dialect=Toy(records=PATH))
    (job,) = drive.submit()
    drive.pass_time(10)
    world.queue.clear()
    drive.pass_time(60)
    assert drive.kinds(job) == ["Accepted"]
    drive.pass_time(180)
    assert drive.reason(job) is Reason.ENDED
