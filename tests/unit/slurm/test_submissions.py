"""What sbatch and scancel answer is told apart: taken, refused for good or for now, unclear."""

from __future__ import annotations

import os
import re

import pytest

from batchsystems.commandline.answers import Rejected, Rejection, Submitted
from batchsystems.commandline.dialect import Request
from batchsystems.commandline.limits import Limits
from batchsystems.interface import Resources
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.slurm.parse import read_submission
from batchsystems.transport.local import CommandResult
from tests.unit.slurm.captured import (
    DATA,
    SBATCH,
)

REFUSED = {
    "accepted": None,
    "accepted in a cluster": None,
    "unknown partition": Rejection.PERMANENT,
    "too much memory": Rejection.PERMANENT,
    "unknown feature": Rejection.PERMANENT,
    "too many gpus": Rejection.PERMANENT,
    "unknown node": Rejection.NODES,
    "all nodes excluded": Rejection.PERMANENT,
    "unknown option": Rejection.PERMANENT,
    "bad value": Rejection.PERMANENT,
    "bad time": Rejection.PERMANENT,
    "not a script": Rejection.PERMANENT,
    "empty script": Rejection.PERMANENT,
    "array too large": Rejection.SIZE,
    "unknown account": Rejection.PERMANENT,
    "unknown qos": Rejection.PERMANENT,
    "unknown reservation": Rejection.PERMANENT,
    "missing argument": Rejection.PERMANENT,
    "bad gres": Rejection.PERMANENT,
    "association submit limit": Rejection.FULL,
    "qos wall limit": Rejection.PERMANENT,
    "qos cpu limit": Rejection.PERMANENT,
    "qos submit limit": Rejection.FULL,
    "controller stopped": Rejection.OUTAGE,
    "controller frozen": Rejection.UNKNOWN,
    "munge stopped": Rejection.OUTAGE,
    "wrong munge key": Rejection.UNKNOWN,
}


@pytest.mark.parametrize(("name", "kind"), REFUSED.items())
def test_what_sbatch_said_is_told_apart(name: str, kind: Rejection | None):
    answer = read_submission(CommandResult(**SBATCH[name]))
    if kind is None:
        assert isinstance(answer, Submitted)
    else:
        assert isinstance(answer, Rejected)
        assert answer.kind is kind
        assert len(answer.words) > 10


def test_every_captured_answer_of_sbatch_is_looked_at():
    assert {name for name in SBATCH if not name.startswith("sacct")} == set(REFUSED)


@pytest.mark.parametrize(
    "answer",
    [
        CommandResult(None, "", "", timed_out=True),
        CommandResult(None, "12\n", "", timed_out=True),
        CommandResult(-9, "", "Invalid partition"),
    ],
)
def test_whatever_is_not_clear_may_have_been_accepted(answer: CommandResult):
    told = read_submission(answer)
    assert isinstance(told, Rejected)
    assert told.kind is Rejection.UNKNOWN


@pytest.mark.parametrize(
    "answer",
    [
        CommandResult(1, "", "something never heard of"),
        CommandResult(1, "", ""),
        CommandResult(127, "", "sbatch: symbol lookup error: undefined symbol"),
        CommandResult(1, "12\n", "sbatch: error: Invalid partition name specified"),
        CommandResult(0, "12", ""),
        CommandResult(0, "12\n13\n", ""),
        CommandResult(0, "", ""),
    ],
)
def test_an_answer_that_cannot_be_understood_is_told_from_none(answer: CommandResult):
    told = read_submission(answer)
    assert isinstance(told, Rejected)
    assert told.kind is Rejection.STRANGE


FAILED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize("line", (DATA / "errors.txt").read_text().splitlines())
def test_every_answer_the_controller_can_give_is_told_apart(line: str):
    kind, _, text = line.partition(" ")
    told = read_submission(CommandResult(1, "", f"{FAILED}{text}\n"))
    assert isinstance(told, Rejected)
    assert told.kind.value == kind
    assert text in told.words


@pytest.mark.parametrize("line", (DATA / "reasons.txt").read_text().splitlines())
def test_every_limit_is_known_for_what_waiting_can_do(line: str):
    reason, passes, kind = line.split()
    dialect = SlurmDialect()
    assert dialect.is_hopeless(reason) == (passes == "never")
    assert dialect.is_hopeless(f"{reason}, more") == (passes == "never")
    assert dialect.remedy(reason) or reason == "AccountingPolicy"
    if kind != "-":
        policy = "Job violates accounting/QOS policy (job submit limit, user's size ...)"
        told = read_submission(CommandResult(1, "", f"sbatch: error: {reason}\n{FAILED}{policy}\n"))
        assert isinstance(told, Rejected)
        assert told.kind.value == kind


def test_no_limit_on_what_one_job_may_have_is_waited_for():
    """By the names alone, whatever the tables say: those of every trackable resource."""
    names = [line.split()[0] for line in (DATA / "reasons.txt").read_text().splitlines()]
    limits = [name for name in names if re.search(r"Per(Job|Node)|QOSMin|WallDuration", name)]
    assert len(limits) > 40
    assert all(SlurmDialect().is_hopeless(name) for name in limits if "Submit" not in name)
    assert {"QOSMaxMemoryPerJob", "QOSMinCpuNotSatisfied", "QOSMinGRES"} <= set(limits)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (
            "sbatch: error: You must ask for memory.\n" + FAILED + "Unspecified error",
            Rejection.REFUSED,
        ),
        ("sbatch: error: project timed out\n" + FAILED + "Unspecified error", Rejection.REFUSED),
        (FAILED + "An error of a later version", Rejection.REFUSED),
        ("sbatch: error: cli_filter plugin terminated with error", Rejection.PERMANENT),
        ("sbatch: fatal: something of the client's", Rejection.REFUSED),
        (
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n"
            + FAILED
            + "Resource temporarily unavailable",
            Rejection.CROWDED,
        ),
        (
            "bash: error importing function definition for `module'\n"
            + FAILED
            + "Invalid qos specification",
            Rejection.PERMANENT,
        ),
        (FAILED + "Job violates accounting/QOS policy (job submit limit, ...)", Rejection.LIMIT),
    ],
)
def test_a_clear_no_is_a_refusal_in_whatever_words(said: str, kind: Rejection):
    told = read_submission(CommandResult(1, "", f"{said}\n"))
    assert isinstance(told, Rejected)
    assert told.kind is kind


def test_a_command_that_never_ran_accepted_nothing():
    told = read_submission(CommandResult(None, stderr="sbatch: not found", started=False))
    assert isinstance(told, Rejected)
    assert told.kind is Rejection.OUTAGE


KILL = "scancel: error: Kill job error on job id {}: {}\n"


@pytest.mark.parametrize(
    ("stderr", "status", "expected"),
    [
        ("", 0, None),
        (KILL.format(7, "Invalid job id specified"), 1, None),
        (KILL.format(7, "Job/step already completing or completed"), 0, None),
        ("bash: error importing function definition for `module'\n", 0, None),
        (KILL.format(7, "Access/permission denied"), 0, (True, {"7"})),
        (
            KILL.format(7, "Access/permission denied") + KILL.format(8, "Invalid job id specified"),
            0,
            (True, {"7"}),
        ),
        (KILL.format("7_3", "An error of a later version"), 1, (True, {"7_3"})),
        ("scancel: unrecognized option '--me'\nTry \"scancel --help\"\n", 1, (True, set())),
        ("ssh: you may not\n", 255, (True, set())),
        (KILL.format(7, "Unable to contact slurm controller (connect failure)"), 8, (False, set())),
        (KILL.format(7, "Socket timed out on send/recv operation"), 140, (False, set())),
        ("scancel: error: Munge encode failed: Failed to access\n", 239, (False, set())),
    ],
)
def test_what_came_of_a_kill_is_told_for_each_job(stderr: str, status: int, expected):
    told = SlurmDialect().parse_kill(CommandResult(status, "", stderr))
    if expected is None:
        assert told is None
    else:
        assert told is not None
        assert (told.refused, set(told.natives)) == expected
        assert told.words


def test_no_option_is_used_that_old_versions_lack():
    """See the table in docs/slurm.md."""
    dialect = SlurmDialect()
    asked = Request("n", ("true",), Resources(), 2, 0, "/", {})
    commands = [
        dialect.submit(asked, Limits()),
        dialect.queue(),
        dialect.kill(["7"]),
        dialect.kill_named("n"),
        dialect.history(["7"], [], 0.0),
        *dialect.cluster.discover(Limits(), 5000),
    ]
    words = [word.partition("=")[0] for each in commands if each for word in each.argv]
    assert not {"--me", "--chdir", "--json", "--only-job-state", "--array-unique"} & set(words)
    assert f"--user={os.getuid()}" in dialect.queue().argv
