"""What Grid Engine's accounting file tells of how jobs ended, whole and mutated."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsystems.commandline.answers import Observation, Phase
from batchsystems.interface import JobEnd, Reason
from batchsystems.sge.accounting import SgeRecords
from batchsystems.sge.accounting_lines import cut
from batchsystems.sge.settings import SgeSettings
from batchsystems.sge.tables import FAILURES, RERUN
from tests.unit.core.mutations import mutated

ACCOUNTING = (Path(__file__).parents[2] / "data" / "sge" / "accounting").read_text()


RECORDS = SgeRecords(SgeSettings())
RESIDENT = SgeRecords(SgeSettings(memory=("mem_free",)))


def records(text: str = ACCOUNTING, virtual: bool = True) -> dict[str, list[Observation]]:
    found: dict[str, list[Observation]] = {}
    for observation in (RECORDS if virtual else RESIDENT).parse(text.split("\n")):
        found.setdefault(observation.name, []).append(observation)
    return found


def end_of(name: str, text: str = ACCOUNTING) -> JobEnd:
    (observation,) = records(text)[name]
    assert observation.end is not None
    return observation.end


@pytest.mark.parametrize(
    ("name", "reason", "status", "signal"),
    [
        ("j-exit0", Reason.OK, 0, None),
        ("j-exit1", Reason.FAILED, 1, None),
        ("j-exit75", Reason.FAILED, 75, None),
        ("j-exit99", Reason.FAILED, 99, None),
        ("j-exit100", Reason.FAILED, 100, None),
        ("j-exit127", Reason.FAILED, 127, None),
        ("j-exit137", Reason.FAILED, 137, None),
        ("j-exit255", Reason.FAILED, 255, None),
        ("kill9c", Reason.FAILED, 140, None),
        ("j-sigTERM", Reason.FAILED, None, 15),
        ("j-sigKILL", Reason.FAILED, None, 9),
        ("j-sigSEGV", Reason.FAILED, None, 11),
        ("j-sigUSR2", Reason.FAILED, None, 12),
        ("j-hrt", Reason.TIME_LIMIT, None, 9),
        ("j-hvmem", Reason.OUT_OF_MEMORY, None, 9),
        ("j-hvmem-pe", Reason.OUT_OF_MEMORY, None, 9),
        ("j-noout", Reason.LAUNCH_FAILED, None, None),
        ("j-nocwd", Reason.LAUNCH_FAILED, None, None),
        ("shep", Reason.NODE_FAILED, None, None),
        ("reboot", Reason.NODE_FAILED, None, None),
        ("force", Reason.ENDED, None, None),
        ("j-cancel", Reason.FAILED, None, 9),
        ("prol", Reason.FAILED, 5, None),
    ],
)
def test_accounting_tells_how_jobs_ended(name, reason, status, signal):
    end = end_of(name)
    assert (end.reason, end.exit_status, end.signal) == (reason, status, signal)
    assert "accounting says failed" in end.evidence[0]
    assert end.node.startswith("node")


def test_each_task_of_an_array_has_its_own_record():
    tasks = records()["j-arr"]
    assert [task.native.partition(".")[2] for task in tasks] == ["1", "2", "3", "4", "5"]
    assert [task.end.exit_status for task in tasks if task.end] == [0, 1, 2, 3, 4]


def test_what_was_used_is_told_where_it_is_known():
    end = end_of("j-hvmem")
    assert (end.memory_bytes, end.cpu_s, end.wall_s) == (333225984, 0.24, 2.0)
    assert "its time was not up" in end.evidence[1]
    assert "it ran 3 s of 2 s" in end_of("j-hrt").evidence[1]
    brief = end_of("j-exit1")
    assert brief.memory_bytes is None, "too short to be sampled"
    never_ran = end_of("j-noout")
    assert (never_ran.memory_bytes, never_ran.cpu_s, never_ran.wall_s) == (None, None, None)
    (counted,) = records(virtual=False)["j-hvmem"]
    assert counted.end is not None
    assert counted.end.memory_bytes is None, "address space says nothing of what is resident"


def test_the_run_before_a_mere_rerun_counts():
    assert "not run again" in end_of("j-exit99").evidence[1]
    lines = [line for line in ACCOUNTING.split("\n") if ":j-exit99:" in line]
    (alone,) = records(lines[1])["j-exit99"]
    assert alone.end is not None
    assert alone.end.reason is Reason.FAILED, "and no success, should that record be gone"


def test_of_several_tries_to_launch_the_last_counts():
    assert len([line for line in ACCOUNTING.split("\n") if ":prol:" in line]) == 2
    (observation,) = records()["prol"]
    assert observation.submitted == 1795624480.0


def test_an_id_used_again_under_another_name_is_another_job():
    line = next(line for line in ACCOUNTING.split("\n") if ":j-exit1:" in line)
    both = RECORDS.parse([line, line.replace(":j-exit1:", ":theirs:")])
    assert [each.name for each in both] == ["j-exit1", "theirs"]


def test_records_of_parts_of_parallel_jobs_are_left_out():
    line = next(line for line in ACCOUNTING.split("\n") if ":j-hvmem-pe:" in line)
    cells = line.split(":")
    cells[41] = "1.node2"
    assert RECORDS.parse([":".join(cells)]) == []


def test_times_in_milliseconds_are_read_too():
    line = next(line for line in ACCOUNTING.split("\n") if ":j-exit1:" in line)
    key = RECORDS.key(line.replace("1795627071", "1795627071123"))
    assert key is not None
    assert (key.submission, key.name) == ("131", "j-exit1")
    assert key.newest == pytest.approx(1795627071.123)


@pytest.mark.parametrize("failed", [*FAILURES, 99, 2])
def test_no_failure_is_ever_a_success(failed: int):
    line = next(line for line in ACCOUNTING.split("\n") if ":j-exit0:" in line)
    cells = line.split(":")
    cells[11] = str(failed)
    (observation,) = RECORDS.parse([":".join(cells)])
    assert observation.end is not None
    assert observation.end.reason is not Reason.OK
    assert observation.phase is Phase.ENDED
    assert f"failed {failed} (" in observation.end.evidence[0]


def test_whatever_may_be_run_again_is_a_failure():
    assert FAILURES.keys() >= RERUN


CATEGORIES = ["-l os=centos:7,h_rt=60", "-l h_rt=1:0:0", ":", "-q a:b::", "-l a=1:2:0.5:0.0:1:"]


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("more", ["", ":host:qsub -l os=a:b x.sh:0:"])
def test_a_separator_in_a_category_does_not_hide_how_a_job_ended(category: str, more: str):
    line = next(line for line in ACCOUNTING.split("\n") if ":j-hvmem:" in line)
    cells = line.split(":")
    cells[39] = f"{cells[39]},{category}"
    (whole,) = RECORDS.parse([line])
    (found,) = RECORDS.parse([":".join(cells) + more])
    assert found == whole, "out of memory, as much as ever"


@pytest.mark.parametrize("at", [6, 39])
@given(text=st.text(st.sampled_from(":ab1 .-|"), max_size=12))
def test_a_separator_in_a_field_of_text_moves_no_other_field(at: int, text: str):
    """Names of queues, hosts, users, jobs and projects have none: Grid Engine refuses them."""
    line = next(line for line in ACCOUNTING.split("\n") if ":j-exit1:" in line)
    cells = line.split(":")
    cells[at] = f"a{text}a"
    (found,) = RECORDS.parse([":".join(cells)])
    assert found == RECORDS.parse([line])[0]
    key = RECORDS.key(":".join(cells))
    assert key is not None
    assert (key.submission, key.name) == ("131", "j-exit1")


@given(st.data())
def test_what_was_cut_is_what_was_written(data: st.DataObject):
    line = data.draw(st.sampled_from([each for each in ACCOUNTING.split("\n") if ":j-" in each]))
    cells = line.split(":")
    assert cut(line) == cells[:43]
    cells[39] = data.draw(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60))
    assert cut(":".join(cells)) == cells[:43]


@given(st.data())
def test_mutated_accounting_never_raises_and_never_makes_a_success(data):
    text = data.draw(mutated(ACCOUNTING))
    known = {each.native: each for each in RECORDS.parse(ACCOUNTING.split("\n"))}
    for observation in RECORDS.parse(text.split("\n")):
        told = known.get(observation.native)
        assert observation.end is not None
        if told is None or told.name != observation.name:
            continue  # another job's id or name: never taken for ours
        if observation.end.reason is Reason.OK:
            assert told.end is not None
            assert told.end.reason is Reason.OK, observation
