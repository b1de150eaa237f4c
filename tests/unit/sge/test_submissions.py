"""What qsub and qdel answer is told apart: taken, refused for good or for now, unclear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsystems.commandline.answers import (
    Rejected,
    Rejection,
    Submitted,
)
from batchsystems.sge.dialect import SgeDialect
from batchsystems.sge.parse import read_queue, read_submission
from batchsystems.sge.tables import NEVER
from batchsystems.transport.local import CommandResult
from tests.unit.core.mutations import mutated
from tests.unit.sge.captured import ANSWERS, QSTAT, ran

REFUSED = {
    "accepted": None,
    "accepted array": None,
    "accepted with check": None,
    "check: found": Rejection.UNCHECKED,
    "check: memory": Rejection.UNFIT,
    "check: not judged": Rejection.UNFIT,
    "reasons: memory": Rejection.PERMANENT,
    "reasons: slots": Rejection.PERMANENT,
    "reasons: not judged": Rejection.UNCHECKED,
    "unknown queue": Rejection.PERMANENT,
    "unknown environment": Rejection.PERMANENT,
    "unknown resource": Rejection.PERMANENT,
    "bad time": Rejection.PERMANENT,
    "bad memory": Rejection.PERMANENT,
    "unknown project": Rejection.PERMANENT,
    "unknown host": Rejection.NODES,
    "bad option": Rejection.PERMANENT,
    "missing argument": Rejection.PERMANENT,
    "bad name": Rejection.PERMANENT,
    "bad name, digit": Rejection.PERMANENT,
    "no task": Rejection.PERMANENT,
    "array too large": Rejection.SIZE,
    "empty script": Rejection.PERMANENT,
    "unknown calendar": Rejection.PERMANENT,
    "no SGE_ROOT": Rejection.PERMANENT,
    "unknown cell": Rejection.OUTAGE,
    "no such root": Rejection.OUTAGE,
    "no cell set up": Rejection.OUTAGE,
    "wrong port": Rejection.OUTAGE,
    "not a submit host": Rejection.PERMANENT,
    "limit of jobs of a user": Rejection.CROWDED,
    "limit of jobs": Rejection.CROWDED,
    "master frozen": Rejection.UNKNOWN,
    "master stopped": Rejection.OUTAGE,
}


@pytest.mark.parametrize(("name", "kind"), REFUSED.items())
def test_what_qsub_said_is_told_apart(name: str, kind: Rejection | None):
    answer = read_submission(CommandResult(**ANSWERS[name]))
    if kind is None:
        assert isinstance(answer, Submitted)
    else:
        assert isinstance(answer, Rejected)
        assert answer.kind is kind
        assert len(answer.words) > 10


def test_every_captured_answer_of_qsub_is_looked_at():
    others = ("queue: ", "kill: ")
    assert {name for name in ANSWERS if not name.startswith(others)} == set(REFUSED)


def test_reasons_are_given_in_sge_s_words_with_the_remedy():
    told = read_submission(CommandResult(**ANSWERS["reasons: memory"]))
    assert isinstance(told, Rejected)
    assert told.words.startswith(NEVER)
    assert 'cannot run at host "node1" because it offers only hc:h_vmem=16.000G' in told.words
    assert "lower what it asks for" in told.words
    queue = read_submission(CommandResult(**ANSWERS["unknown queue"]))
    assert isinstance(queue, Rejected)
    assert "qconf -sql" in queue.words


@pytest.mark.parametrize(
    "answer",
    [
        CommandResult(None, "", "", timed_out=True),
        CommandResult(None, "12\n", "", timed_out=True),
        CommandResult(-9, "", "unknown queue"),
        CommandResult(1, "", "Unable to run job: got read error: the answer is lost"),
    ],
)
def test_whatever_is_not_clear_may_have_been_accepted(answer: CommandResult):
    told = read_submission(answer)
    assert isinstance(told, Rejected)
    assert told.kind is Rejection.UNKNOWN


@pytest.mark.parametrize(
    "answer",
    [
        CommandResult(1, "12\n", 'Unable to run job: unknown resource "gpu"'),
        CommandResult(0, "12", ""),
        CommandResult(0, "12\n13\n", ""),
        CommandResult(0, "", ""),
        CommandResult(0, "Your job 12 has been submitted\n", ""),
        CommandResult(1, "", "something never heard of"),
    ],
)
def test_an_answer_that_cannot_be_understood_is_told_from_none(answer: CommandResult):
    told = read_submission(answer)
    assert isinstance(told, Rejected)
    assert told.kind is Rejection.STRANGE


@pytest.mark.parametrize(
    ("words", "status", "kind"),
    [
        ("You must ask for memory", 1, Rejection.REFUSED),
        ("job was not accepted by the verifier", 1, Rejection.REFUSED),
        ('start of JSV "/etc/jsv.sh" failed', 1, Rejection.REFUSED),
        ("You must ask for memory", 25, Rejection.CROWDED),
        ('job rejected: project "p" is not allowed to submit jobs', 1, Rejection.PERMANENT),
        ("job 7 was rejected because it can't be written: No space", 1, Rejection.CROWDED),
    ],
)
def test_a_clear_no_is_a_refusal_in_whatever_words(words: str, status: int, kind: Rejection):
    told = read_submission(CommandResult(status, "", f"Unable to run job: {words}\nExiting.\n"))
    assert isinstance(told, Rejected)
    assert told.kind is kind
    assert words in told.words


def test_a_command_that_never_ran_accepted_nothing():
    told = read_submission(CommandResult(None, stderr="qsub: not found", started=False))
    assert isinstance(told, Rejected)
    assert told.kind is Rejection.OUTAGE


@pytest.mark.parametrize(
    ("name", "arrived"),
    [
        ("kill: running", True),
        ("kill: again", True),
        ("kill: missing", True),
        ("kill: one missing", True),
        ("kill: another user's", False),
        ("kill: name missing", True),
        ("kill: master frozen", False),
        ("kill: master stopped", False),
    ],
)
def test_a_kill_that_did_not_arrive_is_told_from_one_in_vain(name: str, arrived: bool):
    assert (SgeDialect().parse_kill(CommandResult(**ANSWERS[name])) is None) == arrived


@pytest.mark.parametrize(
    ("words", "refused", "natives"),
    [
        (ANSWERS["kill: another user's"]["stdout"], True, {"173"}),
        (
            'user has deleted job 5\nno - you do not have the privileges to delete the job "7"',
            True,
            {"7"},
        ),
        ('ERROR! invalid option argument "-frobnicate"', True, set()),
        ("error: commlib error: got select error (Connection refused)", False, set()),
    ],
)
def test_a_kill_that_is_refused_is_told_from_one_that_did_not_arrive(words, refused, natives):
    told = SgeDialect().parse_kill(CommandResult(1, words + "\n", ""))
    assert told is not None
    assert (told.refused, set(told.natives)) == (refused, natives)


def test_what_is_said_at_every_call_spoils_no_answer():
    words = "error: something of a wrapper's\n/bin/bash: error importing function definition\n"
    assert read_queue(ran(QSTAT, words)) == read_queue(ran(QSTAT))


@given(st.data(), st.sampled_from(sorted(REFUSED)))
def test_a_mutated_answer_to_a_submission_is_never_taken_for_an_acceptance(data, name: str):
    answer = dict(ANSWERS[name])
    answer["stderr"] = data.draw(mutated(answer["stderr"]))
    told = read_submission(CommandResult(**answer))
    assert isinstance(told, Submitted) == (REFUSED[name] is None)
