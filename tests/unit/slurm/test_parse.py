"""What Slurm prints is read rightly, and never wrongly: captured outputs, cut and mutated."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batchsystems.commandline.answers import Phase, QueryResult, Rejected, Rejection, Submitted
from batchsystems.commandline.dialect import Request
from batchsystems.commandline.limits import Limits, Queue
from batchsystems.interface import Reason, Resources
from batchsystems.slurm.cluster import read_partitions
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.slurm.parse import QUEUE_FIELDS, read_history, read_queue, read_submission
from batchsystems.slurm.settings import SlurmSettings
from batchsystems.slurm.tables import ENDS, STATES
from batchsystems.transport.local import Command, CommandResult
from tests.unit.core.mutations import mutated

DATA = Path(__file__).parents[2] / "data" / "slurm"
SQUEUE = (DATA / "squeue.txt").read_text()
SACCT = (DATA / "sacct.txt").read_text()
SBATCH = json.loads((DATA / "sbatch.json").read_text())
READERS = {"squeue": read_queue, "sacct": lambda ran: read_history(ran, frozenset())}


def ran(stdout: str, stderr: str = "", status: int | None = 0) -> CommandResult:
    return CommandResult(status, stdout, stderr)


def names(result: QueryResult) -> dict[str, list]:
    found: dict[str, list] = {}
    for observation in result.observations:
        found.setdefault(observation.name, []).append(observation)
    return found


# ---- as captured -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason", "status", "signal"),
    [
        ("j-exit0.1-1", Reason.OK, 0, None),
        ("j-exit1.1-1", Reason.FAILED, 1, None),
        ("j-exit75.1-1", Reason.FAILED, 75, None),
        ("j-exit127.1-1", Reason.FAILED, 127, None),
        ("j-exit128.1-1", Reason.FAILED, 128, None),
        ("j-exit137.1-1", Reason.FAILED, 137, None),
        ("j-exit255.1-1", Reason.FAILED, 255, None),
        ("j-sigTERM.1-2", Reason.FAILED, None, 15),
        ("j-sigKILL.1-2", Reason.FAILED, None, 9),
        ("j-sigSEGV.1-2", Reason.FAILED, None, 11),
        ("j-cancel.1-8", Reason.CANCELLED, None, None),
        ("j-oom.1-9", Reason.OUT_OF_MEMORY, None, None),
        ("j-noout.1-10", Reason.LAUNCH_FAILED, None, None),
        ("j-node.1-12", Reason.NODE_FAILED, None, None),
        ("j-victim.1-13", Reason.PREEMPTED, None, None),
    ],
)
def test_the_queue_tells_how_jobs_ended(name, reason, status, signal):
    (observation,) = names(read_queue(ran(SQUEUE)))[name]
    assert observation.phase is Phase.ENDED
    end = observation.end
    assert (end.reason, end.exit_status, end.signal) == (reason, status, signal)
    assert end.evidence


@pytest.mark.parametrize(
    ("name", "phase", "why"),
    [
        ("j-forever.1-4", Phase.WAITING, "PartitionTimeLimit"),
        ("j-config.1-5", Phase.WAITING, "PartitionConfig"),
        ("j-requeued.1-14", Phase.WAITING, "BeginTime"),
        ("j-run.1-7", Phase.RUNNING, "None"),
        ("j-susp.1-11", Phase.SUSPENDED, "None"),
    ],
)
def test_the_queue_tells_where_jobs_are(name, phase, why):
    (observation,) = names(read_queue(ran(SQUEUE)))[name]
    assert (observation.phase, observation.why, observation.end) == (phase, why, None)


def test_the_queue_tells_each_task_of_an_array_by_itself():
    result = read_queue(ran(SQUEUE))
    assert result.complete
    tasks = names(result)["j-arr.1-3"]
    assert [task.native.partition("_")[2] for task in tasks] == ["0", "1", "2", "3", "4"]
    assert [task.end.exit_status for task in tasks] == [0, 1, 2, 3, 4]
    assert len(names(result)["j-held.1-6"]) == 3, "waiting tasks too"
    (running,) = names(result)["j-run.1-7"]
    assert (running.running_s, running.node) == (9.0, "node1")
    assert running.submitted == 1795348567.0


def test_a_named_cluster_s_heading_is_skipped():
    assert read_queue(ran((DATA / "squeue-cluster.txt").read_text())).complete


@pytest.mark.parametrize(
    ("name", "reason", "status", "signal"),
    [
        ("j-exit0.1-1", Reason.OK, 0, None),
        ("j-exit3.1-1", Reason.FAILED, 3, None),
        ("j-exit128.1-1", Reason.FAILED, None, None),
        ("j-exit137.1-1", Reason.FAILED, 9, None),
        ("j-sigKILL.1-2", Reason.FAILED, None, 9),
        ("j-cancel.1-8", Reason.CANCELLED, None, None),
        ("j-oom.1-9", Reason.OUT_OF_MEMORY, None, None),
        ("j-noout.1-10", Reason.LAUNCH_FAILED, None, None),
        ("j-victim.1-13", Reason.PREEMPTED, None, None),
    ],
)
def test_the_history_tells_how_jobs_ended(name, reason, status, signal):
    result = read_history(ran(SACCT), frozenset())
    assert result.complete
    (observation,) = names(result)[name]
    end = observation.end
    assert (end.reason, end.exit_status, end.signal) == (reason, status, signal)


def test_exit_statuses_the_history_shows_less_128_say_so():
    (observation,) = names(read_history(ran(SACCT), frozenset()))["j-exit137.1-1"]
    assert "may stand for 137" in observation.end.evidence[0]


def test_both_runs_of_a_requeued_job_are_told_the_newest_last():
    first, second = names(read_history(ran(SACCT), frozenset()))["j-requeued.1-14"]
    assert (first.word, second.word) == ("REQUEUED", "PENDING")
    assert first.end is None
    assert second.submitted > first.submitted


def test_a_cancel_by_root_in_a_preemptible_partition_is_a_preemption():
    row = "7|CANCELLED by 0|0:0|2026-11-22T11:56:07|0|low|node1|j-x.1-1"
    text = f"{SACCT.splitlines()[0]}\n{row}\n"
    for preemptible, reason in ({"low"}, Reason.PREEMPTED), ({"high"}, Reason.CANCELLED):
        end = read_history(ran(text), preemptible).observations[0].end
        assert end is not None
        assert end.reason is reason


def test_waiting_tasks_of_an_array_are_told_apart_in_the_history():
    row = "54_[0-2,7%2]|PENDING|0:0|2026-11-22T11:56:07|0|short|None assigned|j-x.1-1"
    result = read_history(ran(f"{SACCT.splitlines()[0]}\n{row}\n"), frozenset())
    assert [s.native for s in result.observations] == ["54_0", "54_1", "54_2", "54_7"]


def test_accounting_that_is_off_is_no_outage():
    answer = SBATCH["sacct: no accounting"]
    assert read_history(CommandResult(**answer), frozenset()).off
    down = "sacct: error: Problem talking to the database: Connection refused"
    assert not read_history(ran("", down, 1), frozenset()).off


def test_states_are_none_of_them_two_things():
    assert not STATES.keys() & ENDS.keys()


def test_an_unknown_state_is_unknown_and_no_end():
    text = SQUEUE.replace("RUNNING         |", "DANCING         |")
    (observation,) = names(read_queue(ran(text)))["j-run.1-7"]
    assert (observation.phase, observation.end) == (Phase.UNKNOWN, None)


def test_a_launch_that_failed_and_is_held_is_stuck():
    why = "launch failed requeued held"
    text = SQUEUE.replace("BeginTime".ljust(len(why)), why)
    (observation,) = names(read_queue(ran(text)))["j-requeued.1-14"]
    assert observation.phase is Phase.STUCK


# ---- submissions -------------------------------------------------------------------------

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


# ---- cut and mutated -----------------------------------------------------------------------


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


WIDTHS = [width for _, width in QUEUE_FIELDS]


def squeue_row(*cells: str) -> str:
    """Return a row as squeue prints it: padded and cut, whatever is in it."""
    return "".join(f"{c[:w]:<{w}}|" for c, w in zip(cells, WIDTHS, strict=True)) + "\n"


def with_rows(which: str, rows: list[str]) -> str:
    """Return the captured answer with these rows in it."""
    head, *lines = {"squeue": SQUEUE, "sacct": SACCT}[which].splitlines(True)
    return "".join([head, *lines[:5], *rows, *lines[5:]])


def foreign(*, native: str = "99", name: str = "theirs", word: str = "RUNNING") -> dict[str, str]:
    """Return a row of a job that is none of jobTree's, as squeue and as sacct print it."""
    at = "2026-11-22T11:56:07"
    return {
        "squeue": squeue_row(native, word, "0:0", at, "1:00", "node1", name, "None"),
        "sacct": f"{native}|{word}|0:0|{at}|60|short|node1|{name}\n",
    }


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


# ---- limits --------------------------------------------------------------------------------


def test_partitions_and_array_sizes_are_read():
    dialect = SlurmDialect()
    sinfo, config = dialect.cluster.discover(Limits(), 5000)
    limits = dialect.cluster.parse(sinfo, ran((DATA / "sinfo.txt").read_text()), Limits())
    assert [queue.name for queue in limits.queues] == ["short", "long", "low", "lowkill", "high"]
    assert limits.queues[0] == Queue("short", 4, 4 * 2**30, 2, 300.0, preferred=True, tier=5)
    assert [queue.name for queue in limits.queues if queue.preemptible] == ["low", "lowkill"]
    limits = dialect.cluster.parse(config, ran((DATA / "scontrol.txt").read_text()), limits)
    assert limits.tasks == 100001
    assert dialect.cluster.discover(Limits(), 1000) == (sinfo,), (
        "a small array needs not be asked for"
    )


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (Resources(time_s=60), "short"),
        (Resources(time_s=600), "long"),
        (Resources(gpus=2, time_s=86400), "long"),
        (Resources(cpus=5), None),
        (Resources(memory_bytes=5 * 2**30), None),
        (Resources(time_s=1e6), None),
    ],
)
def test_a_partition_is_chosen_that_holds_the_job(asked: Resources, chosen: str | None):
    dialect = SlurmDialect()
    (sinfo,) = dialect.cluster.discover(Limits(), 1)
    limits = dialect.cluster.parse(sinfo, ran((DATA / "sinfo.txt").read_text()), Limits())
    queue = limits.choose(asked)
    assert (queue and queue.name) == chosen
    assert bool(limits.impossible(asked)) == (chosen is None)


def test_only_partitions_the_settings_allow_are_chosen():
    dialect = SlurmDialect(SlurmSettings(partition="low,high"))
    (sinfo,) = dialect.cluster.discover(Limits(), 1)
    limits = dialect.cluster.parse(sinfo, ran((DATA / "sinfo.txt").read_text()), Limits())
    assert [queue.name for queue in limits.queues] == ["low", "high"]
    queue = limits.choose(Resources())
    assert queue is not None
    assert queue.name == "high"


# ---- choosing a partition ----------------------------------------------------------------------

USUAL = """\
gpu|1-00:00:00|64|512000|gpu:a100:4|OFF|gpu|5|up|no|UNLIMITED
scavenge|7-00:00:00|32|128000|(null)|REQUEUE|scavenge|1|up|no|UNLIMITED
short|1:00:00|32|128000|(null)|OFF|short*|5|up|no|UNLIMITED
week|7-00:00:00|32|128000|(null)|OFF|week|5|up|no|UNLIMITED
day|1-00:00:00|32|128000|(null)|OFF|day|5|up|no|UNLIMITED
big|1-00:00:00|96|1500000|(null)|OFF|big|5|up|no|8
urgent|2-00:00:00|32|128000|(null)|OFF|urgent|10|up|no|UNLIMITED
admin|7-00:00:00|96|1500000|(null)|OFF|admin|20|up|yes|UNLIMITED
broken|7-00:00:00|96|9500000|(null)|OFF|broken|5|drain|no|UNLIMITED
"""
"""A cluster's partitions in sinfo's order: the gpus stand first."""

HOUR, DAY = 3600.0, 86400.0


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (Resources(time_s=HOUR), "short"),
        (Resources(), "short"),
        (Resources(time_s=2 * HOUR), "day"),
        (Resources(time_s=2 * DAY), "week"),
        (Resources(time_s=3 * DAY), "week"),
        (Resources(time_s=HOUR, gpus=1), "gpu"),
        (Resources(time_s=2 * HOUR, cpus=48), "gpu"),
        (Resources(time_s=2 * HOUR, memory_bytes=10**12), "big"),
        (Resources(time_s=2 * HOUR, memory_bytes=10**12, cpus=9), "broken"),
        (Resources(time_s=2 * HOUR, memory_bytes=8 * 10**12), "broken"),
    ],
)
def test_a_partition_is_chosen_as_a_person_would(asked: Resources, chosen: str):
    limits = Limits(queues=read_partitions(USUAL, "gpu"))
    queue = limits.choose(asked)
    assert queue is not None
    assert queue.name == chosen, [q.drawbacks(asked) for q in limits.queues]


def test_where_nobody_is_preempted_a_higher_tier_is_just_served_first():
    text = "a|1:00|8|8000|(null)|OFF|a*|1|up|no|UNLIMITED\n"
    text += "b|2:00|8|8000|(null)|OFF|b|1|up|no|UNLIMITED\n"
    text += "c|3:00|8|8000|(null)|OFF|c|9|up|no|UNLIMITED\n"
    queue = Limits(queues=read_partitions(text, "gpu")).choose(Resources(time_s=100))
    assert queue is not None
    assert queue.name == "c"


@given(
    st.text(
        st.characters(exclude_characters="\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"),
        min_size=1,
        max_size=12,
    )
)
def test_a_partition_s_name_may_have_the_separator_in_it(name: str):
    text = f"{name}|1:00|8|8000|gpu:2|OFF|{name}|7|up|no|4\n"
    (queue,) = read_partitions(text, "gpu")
    assert (queue.name, queue.cpus, queue.gpus, queue.tier) == (name, 4, 2, 7)


PARTITIONS = """\
PartitionName=day AllowGroups=ALL AllowAccounts=physics,lab AllowQos=ALL MinNodes=0 State=UP
PartitionName=week AllowGroups=ALL AllowAccounts=ALL AllowQos=long MinNodes=0 State=UP
PartitionName=urgent AllowGroups=ALL DenyAccounts=lab AllowQos=ALL MinNodes=4 State=UP
PartitionName=short AllowGroups=ALL AllowAccounts=physics AllowQos=ALL MinNodes=0 State=UP
PartitionName=big AllowAccounts=ALL AllowQos=ALL MinNodes=0 MaxMemPerNode=1000 State=UP
"""


@pytest.mark.parametrize(
    ("settings", "closed"),
    [
        (SlurmSettings(), {"day", "week", "urgent"}),
        (SlurmSettings(account="lab"), {"short", "week", "urgent"}),
        (SlurmSettings(account="physics", qos="long"), {"urgent"}),
    ],
)
def test_a_partition_for_others_is_known_before_a_job_is_refused(
    settings: SlurmSettings, closed: set[str]
):
    dialect = SlurmDialect(settings)
    (sinfo,) = dialect.cluster.discover(Limits(), 1)
    limits = dialect.cluster.parse(sinfo, ran(USUAL), Limits())
    assert dialect.cluster.discover(limits, 1) == (sinfo,), (
        "jobs go to the default: there is no choice"
    )
    _, show = dialect.cluster.discover(limits, 1, Resources(time_s=2 * HOUR))
    assert show.argv[-2:] == ("show", "partition")
    limits = dialect.cluster.parse(show, ran(PARTITIONS), limits)
    assert {q.name for q in limits.queues if q.closed} == closed | {"admin", "broken"}
    assert next(q.memory_bytes for q in limits.queues if q.name == "big") == 1000 << 20


# ---- separators in fields ----------------------------------------------------------------------

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
