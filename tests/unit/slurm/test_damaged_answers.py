"""Answers cut, mutated, and among rows of others of any shape: nothing of ours is misread."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batchsystems.commandline.limits import Limits
from batchsystems.interface import Reason
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.slurm.parse import QUEUE_FIELDS, read_history, read_queue, read_submission
from batchsystems.transport.local import Command, CommandResult
from tests.unit.core.mutations import mutated
from tests.unit.slurm.captured import (
    READERS,
    SACCT,
    SQUEUE,
    WIDTHS,
    foreign,
    ran,
    with_rows,
)


@pytest.mark.parametrize("which", ["squeue", "sacct"])
def test_an_answer_cut_at_any_byte_is_incomplete_or_loses_whole_lines_only(which: str):
    text = {"squeue": SQUEUE, "sacct": SACCT}[which]
    whole = READERS[which](ran(text)).observations
    for at in range(len(text)):
        result = READERS[which](ran(text[:at]))
        if result.complete:
            assert text[:at].endswith("\n"), at
            assert list(result.observations) == list(whole[: len(result.observations)]), at


@pytest.mark.parametrize("which", ["squeue", "sacct"])
@pytest.mark.parametrize(
    "bad",
    [
        ran("", "", 0),
        ran("x\n", "", 0),
        CommandResult(None, timed_out=True),
        CommandResult(0, "", cut=True),
    ],
)
def test_an_empty_or_foreign_answer_is_incomplete(which: str, bad: CommandResult):
    assert not READERS[which](bad).complete


def test_an_answer_with_an_error_beside_it_is_incomplete():
    for words in (
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        "slurm_load_jobs error: Socket timed out on send/recv operation",
        "squeue: error: Munge encode failed: Failed to access socket",
    ):
        assert not read_queue(ran(SQUEUE, words)).complete
        assert not read_history(ran(SACCT, words), frozenset()).complete
    assert not read_queue(ran(SQUEUE, "", 1)).complete


def assert_not_blind(which: str, rows: list[str]) -> None:
    result, ours = (
        READERS[which](ran(with_rows(which, rows))),
        READERS[which](ran(with_rows(which, []))),
    )
    assert result.complete, result.why
    seen = [each for each in result.observations if each in ours.observations]
    assert seen == list(ours.observations)
    for each in ours.observations:
        assert not result.hides(each.native, each.name, each.native.partition("_")[0]), each


@pytest.mark.parametrize("which", ["squeue", "sacct"])
@pytest.mark.parametrize(
    "row",
    [
        foreign(native="18+0"),
        foreign(native="18+1", word="CANCELLED by 0"),
        foreign(native="18.batch"),
        foreign(name="two\nlines"),
        foreign(name="\n"),
        foreign(name="a\n\nb\n1|2|3"),
        foreign(name="größer"),
        foreign(name="a|b||c"),
        foreign(word="DANCING?"),
        foreign(native=""),
        {"squeue": "\n", "sacct": "\n"},
        {"squeue": "module: loaded\n", "sacct": "module: loaded\n"},
    ],
)
def test_rows_that_cannot_be_ours_are_skipped(which: str, row: dict[str, str]):
    assert_not_blind(which, [row[which]])
    assert_not_blind(which, [row[which], row[which]])


@pytest.mark.parametrize("which", ["squeue", "sacct"])
@pytest.mark.parametrize(
    "words",
    [
        "squeue: error: _parse_next_key: Parsing error at unrecognized key: SlurmctldParam",
        'squeue: error: Parse error in file /etc/slurm/slurm.conf line 7: "NewOption=1"',
        "bash: error importing function definition for `BASH_FUNC_module'",
        "squeue: error: slurm.conf: unknown parameter; ignored",
    ],
)
def test_what_is_said_at_every_call_spoils_no_answer(which: str, words: str):
    text = {"squeue": SQUEUE, "sacct": SACCT}[which]
    assert READERS[which](ran(text, f"{words}\n")) == READERS[which](ran(text))


def test_a_queue_of_a_version_without_suffixes_is_read():
    """As Slurm 19.05 and before prints it: the bars asked for are not there."""
    lines = []
    for line in SQUEUE.splitlines():
        cells, at = [], 0
        for width in WIDTHS:
            cells.append(line[at : at + width])
            at += width + 1
        lines.append("".join(cells) if line.isascii() else line)
    assert "|" not in lines[0]
    old, new = read_queue(ran("\n".join([*lines, ""]))), read_queue(ran(SQUEUE))
    assert old.complete
    assert old.observations == new.observations


@given(st.data())
@pytest.mark.parametrize("which", ["squeue", "sacct"])
def test_rows_of_others_of_any_shape_never_blind_it(which: str, data):
    anything = st.text(max_size=90)
    ids = st.sampled_from(["18+0", "99", "99_3", "99_[1-3]", "", "x", "99.batch", "0"])
    rows = [
        foreign(native=data.draw(ids), name=data.draw(anything), word=data.draw(anything))[which]
        for _ in range(data.draw(st.integers(1, 4)))
    ]
    ours = {
        each.native.partition("_")[0]
        for each in READERS[which](ran(with_rows(which, []))).observations
    }
    begun = (re.match(r"\d+", line) for row in rows for line in row.split("\n"))
    assume(not any(found and found[0] in ours for found in begun))
    assert_not_blind(which, rows)


@pytest.mark.parametrize("which", ["squeue", "sacct"])
def test_a_broken_row_of_a_job_of_ours_hides_that_job_alone(which: str):
    text = {"squeue": SQUEUE, "sacct": SACCT}[which]
    whole = READERS[which](ran(text)).observations
    victim = next(each for each in whole if each.name == "j-exit0.1-1")
    (line,) = [each for each in text.splitlines(True) if "j-exit0.1-1" in each]
    for broken in (line.replace("COMPLETED", "COMPL?TED"), line[:30] + "\n" + line[31:]):
        result = READERS[which](ran(text.replace(line, broken)))
        assert result.complete
        assert victim not in result.observations
        assert result.hides(victim.native)
        others = [each for each in whole if each is not victim]
        assert list(result.observations) == others
        assert not any(result.hides(each.native, each.name) for each in others)


@given(st.data())
@pytest.mark.parametrize("which", ["squeue", "sacct"])
def test_a_mutated_answer_never_raises_and_never_makes_a_success(which: str, data):
    text = {"squeue": SQUEUE, "sacct": SACCT}[which]
    result = READERS[which](ran(data.draw(mutated(text))))
    if not result.complete:
        assert result.why
        return
    known = {
        observation.native: observation for observation in READERS[which](ran(text)).observations
    }
    for observation in result.observations:
        told = known.get(observation.native)
        if told is None or told.name != observation.name or observation.end is None:
            continue  # another job's id or name: never taken for ours
        if observation.end.reason is Reason.OK:
            assert told.end is not None
            assert told.end.reason is Reason.OK, observation


@given(st.text(max_size=200), st.text(max_size=200), st.integers(-20, 255) | st.none())
def test_noise_never_raises(stdout: str, stderr: str, status: int | None):
    answer = CommandResult(status, stdout, stderr)
    read_submission(answer)
    assert not read_queue(answer).complete
    assert not read_history(answer, frozenset()).complete
    dialect = SlurmDialect()
    dialect.parse_kill(answer)
    for program in ("sinfo", "scontrol"):
        dialect.cluster.parse(Command("discover", (program,)), answer, Limits())


WITH_BARS = st.text(st.sampled_from("|ab1-. "), min_size=1, max_size=12).filter(
    lambda text: text == text.strip()
)


@given(partition=WITH_BARS, name=WITH_BARS)
def test_a_separator_in_accounting_hides_no_job_of_ours(partition: str, name: str):
    heading, first, *rest = SACCT.splitlines(True)
    foreign = f"99|COMPLETED|0:0|2026-11-22T11:56:07|0|{partition}|node1|{name}\n"
    ours = first.replace("|short|", f"|{partition}|")
    result = read_history(ran(heading + foreign + ours + "".join(rest)), frozenset({partition}))
    usual = read_history(ran(SACCT), frozenset())
    assert result.complete
    assert [s for s in result.observations if s.native != "99"] == list(usual.observations)


@given(node=WITH_BARS, name=WITH_BARS, why=WITH_BARS)
def test_a_separator_in_the_queue_moves_no_field(node: str, name: str, why: str):
    heading, *rest = SQUEUE.splitlines(True)
    cells = ("99", "PENDING", "0:0", "2026-11-22T11:56:07", "0:00", node, name, why)
    widths = [width for _, width in QUEUE_FIELDS]
    row = "".join(cell.ljust(width) + "|" for cell, width in zip(cells, widths, strict=True))
    result = read_queue(ran(f"{heading}{row}\n{''.join(rest)}"))
    assert result.complete
    (found,) = (each for each in result.observations if each.native == "99")
    assert (found.name, found.why) == (name, why)
    assert [s for s in result.observations if s != found] == list(
        read_queue(ran(SQUEUE)).observations
    )
