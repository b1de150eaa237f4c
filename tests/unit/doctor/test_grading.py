"""What the doctor makes of what became of canaries: each failure has its remedy, and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from batchsystems import registry
from batchsystems.interface import JobEnd, Reason, Refused
from batchsystems.site import Site
from batchsystems.site.reading import Source, read_sites
from batchsystems.site.schema import Schema
from jobtree.doctor import canary as jobs
from jobtree.doctor.canary import canaries, first_canary
from jobtree.doctor.diagnosis import remedy_against
from jobtree.doctor.grading import all_passed, grade_all
from jobtree.doctor.model import (
    Case,
    CheckResult,
    Delay,
    ExaminationOptions,
    Grade,
    JudgingContext,
    Visit,
)
from jobtree.doctor.node_script import UNANSWERED

SCHEMA = Schema(*registry.declaring())
KEYS = [key for key in SCHEMA.keys if key.startswith("slurm.")]
OK = JobEnd(Reason.OK, 0, node="n1")
T = 1_800_000_000.0


def site(text: str = "") -> Site:
    found, problems = read_sites([Source("/site.toml", "", f"schema = 1\n{text}")], SCHEMA)
    assert problems == []
    return found


def context(found: Site | None = None, **changed: Any) -> JudgingContext:
    given = {
        "directory": "/shared/jobtree-doctor-x",
        "token": "token",
        "python": "/opt/python3",
        "scratch": "$TMPDIR",
    } | changed
    return JudgingContext("slurm", found or site(), KEYS, **given)


def failed(status: int | None = None, signal: int | None = None) -> JobEnd:
    return JobEnd(Reason.FAILED, status, signal, "n1")


GOOD_ENDS = {
    jobs.STATUS: failed(3),
    jobs.KILLED: failed(signal=9),
    jobs.TIME: JobEnd(Reason.TIME_LIMIT, node="n1", wall_s=62.0),
    jobs.MEMORY: JobEnd(Reason.OUT_OF_MEMORY, node="n1"),
    jobs.WORKER: failed(75),
}

SCRATCH = {"path": "/tmp", "error": "", "free_bytes": 2**30, "unset": False}
HELLO = {"began": T + 11, "written": T + 11.1, "host": "n1", "python": "3.12.1", "scratch": SCRATCH}
VISIT = Visit(HELLO, T + 11.2, T + 11.2, {"seen": T + 11.3}, T + 11.4)


def all_good() -> dict[str, Case]:
    cases = {}
    for canary in [first_canary(), *canaries(context(), ExaminationOptions())]:
        end = GOOD_ENDS.get(canary.name, OK)
        case = Case(canary, T, T + 0.5, ends=[end] * canary.size, ended=T + 12.3)
        cases[canary.name] = replace(case, tail="token\n" if canary.name == jobs.LOG else "")
    return cases


def results(
    visit: Visit = VISIT, /, about: dict[str, Any] | None = None, **changed: dict[str, Any]
) -> dict[str, CheckResult]:
    """Return all results, where some cases differ: `array_of_10={"ends": []}`."""
    cases = all_good()
    for name, values in changed.items():
        row = name.replace("_", " ")
        cases[row] = replace(cases[row], **values)
    found = grade_all(cases, visit, context(**(about or {})))
    assert [each.check for each in found] == sorted((v.check for v in found), key=jobs.ORDER.index)
    for each in found:
        assert bool(each.remedy) == (each.grade in (Grade.FAILED, Grade.WARNING)), each
    return {each.check: each for each in found}


def bad(found: dict[str, CheckResult]) -> dict[str, Grade]:
    return {name: each.grade for name, each in found.items() if each.grade is not Grade.PASSED}


def test_all_passed() -> None:
    found = results()
    assert list(found) == list(jobs.ORDER)
    assert bad(found) == {}
    assert all_passed(list(found.values()))


# ---- what may happen to any ------------------------------------------------------------------


def refused(words: str, text: str = "") -> CheckResult:
    cases = {jobs.RUNS: Case(first_canary(), T, refused=Refused(words))}
    found = grade_all(cases, Visit(), context(site(text)))
    assert {each.grade for each in found[1:]} == {Grade.SKIPPED}
    assert [each.check for each in found] == list(jobs.ORDER)
    assert not all_passed(found)
    return found[0]


ACCOUNT = "Invalid account or account/partition combination specified"


@pytest.mark.parametrize(
    ("words", "text", "keys"),
    [
        ("Invalid partition name specified", "[slurm]\npartition = 'nope'", ["slurm.partition"]),
        ("invalid partition specified: a", "[[slurm.queue]]\nname = 'a'", ["slurm.queue"]),
        (ACCOUNT, "[slurm]\naccount = 'nope'", ["slurm.account"]),
        (ACCOUNT, "[slurm]\naccount = 'a'\n[[slurm.queue]]\nname = 'b'", ["slurm.account"]),
        (ACCOUNT, "", ["slurm.partition", "slurm.account"]),
        ("Invalid qos specification", "[slurm]\nqos = 'x'\naccount = 'y'", ["slurm.qos"]),
        ("Invalid feature specification", "[slurm]\nconstraint = 'x'", ["slurm.constraint"]),
        ("unrecognized option '--x'", "[slurm]\ndirectives = ['--x']", ["slurm.directives"]),
        ("Requested reservation is invalid", "[slurm]\nreservation = 'r'", ["slurm.reservation"]),
        ("the moon is full", "[slurm]\naccount = 'nope'", []),
    ],
)
def test_a_refusal_names_the_key_at_fault(words: str, text: str, keys: list[str]) -> None:
    found = refused(words, text)
    assert list(found.keys) == keys
    assert words in found.seen
    if text and keys:
        assert "/site.toml:" in found.remedy


def test_a_key_is_not_blamed_for_a_word_within_a_word() -> None:
    assert remedy_against("unaccounted for", context()).keys == ()


def test_a_long_value_is_cut() -> None:
    queues = "".join(f"[[slurm.queue]]\nname = 'q{n}'\n" for n in range(50))
    assert len(refused("Invalid partition", queues).remedy) < 150


@pytest.mark.parametrize(
    ("why", "text", "words"),
    [
        ("slurm says: Priority: jobs of higher priority come first", "", "--wait 1h"),
        ("", "", "the batch system does not say why"),
        ("slurm says: PartitionTimeLimit: more than the partition allows",
         "[slurm]\npartition = 'p'", "change slurm.partition = "),
    ],
)  # fmt: skip
def test_waiting_for_long_is_explained(why: str, text: str, words: str) -> None:
    waits = {"delay": Delay.WAITED, "waited_s": 600.0, "explained": why, "ends": []}
    found = results(exit_status=waits, about={"found": site(text)})
    assert bad(found) == {jobs.STATUS: Grade.FAILED}
    assert why in found[jobs.STATUS].seen
    assert words in found[jobs.STATUS].seen + found[jobs.STATUS].remedy


def test_running_for_long_is_said() -> None:
    found = results(killed={"delay": Delay.RAN, "waited_s": 180.0, "ends": []})
    assert bad(found) == {jobs.KILLED: Grade.FAILED}
    assert "after 180 s" in found[jobs.KILLED].seen


@pytest.mark.parametrize("reason", [r for r in Reason if r not in (Reason.OK, Reason.FAILED)])
def test_an_end_nobody_asked_for_is_told_with_its_evidence(reason: Reason) -> None:
    found = results(python={"ends": [JobEnd(reason, node="n7", evidence=("it said so",))]})
    assert found[jobs.PYTHON].grade is Grade.FAILED
    assert found[jobs.PYTHON].seen == f"{reason.value} on n7: it said so"


def test_ends_without_a_verdict_accuse_accounting() -> None:
    found = results(runs={"ends": [JobEnd(Reason.ENDED)]})
    assert found[jobs.RUNS].keys == ("slurm.accounting", "pacing.poll_interval")


# ---- each by itself --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "end", "grade", "key"),
    [
        (jobs.RUNS, failed(126), Grade.FAILED, "worker.setup"),
        (jobs.STATUS, OK, Grade.FAILED, "worker.setup"),
        (jobs.STATUS, failed(1), Grade.FAILED, "worker.setup"),
        (jobs.KILLED, failed(137), Grade.PASSED, ""),
        (jobs.KILLED, OK, Grade.FAILED, ""),
        (jobs.TIME, OK, Grade.WARNING, "rescue.max_job_duration"),
        (jobs.TIME, failed(signal=15), Grade.WARNING, "rescue.max_job_duration"),
        (jobs.MEMORY, OK, Grade.WARNING, ""),
        (jobs.MEMORY, failed(signal=9), Grade.WARNING, ""),
        (jobs.MEMORY, failed(jobs.NO_MEMORY), Grade.WARNING, "slurm.memory"),
        (jobs.PYTHON, failed(jobs.NO_PYTHON), Grade.FAILED, "worker.python"),
        (jobs.PYTHON, failed(jobs.OLD_PYTHON), Grade.FAILED, "worker.python"),
        (jobs.PYTHON, failed(jobs.BROKEN_PYTHON), Grade.FAILED, "worker.python"),
        (jobs.DIRECTORY, failed(jobs.NO_DIRECTORY), Grade.FAILED, ""),
        (jobs.DIRECTORY, failed(jobs.OTHER_DIRECTORY), Grade.FAILED, ""),
        (jobs.DIRECTORY, failed(jobs.READ_ONLY), Grade.FAILED, ""),
        (jobs.WORKER, failed(2), Grade.FAILED, ""),
        (jobs.WORKER, OK, Grade.FAILED, ""),
    ],
)
def test_what_passes_and_what_does_not(row: str, end: JobEnd, grade: Grade, key: str) -> None:
    found = results(**{row.replace(" ", "_"): {"ends": [end]}})
    assert found[row].grade is grade
    assert key in found[row].keys or not key
    others = {name for name, value in bad(found).items() if value is not Grade.SKIPPED}
    assert others <= {row}


def test_limits_that_do_not_hold_fail_nothing() -> None:
    lasts = {"delay": Delay.RAN, "waited_s": 480.0, "ends": []}
    found = results(time_limit=lasts, memory=lasts)
    assert bad(found) == {jobs.TIME: Grade.WARNING, jobs.MEMORY: Grade.WARNING}
    assert all_passed(list(found.values()))


def test_an_array_is_judged_by_its_indexes() -> None:
    found = results(array_of_10={"missing": ("/shared/task.3",)})
    assert found[jobs.ARRAY].grade is Grade.FAILED
    assert found[jobs.ARRAY].keys == ("slurm.array_size",)
    assert "1 indexes did not run" in found[jobs.ARRAY].seen


def test_a_python_that_a_site_names_is_named_with_its_line() -> None:
    found = results(
        python={"ends": [failed(jobs.NO_PYTHON)]},
        about={"found": site("[worker]\npython = '/opt/python3'")},
    )
    assert "/site.toml:3 says" in found[jobs.PYTHON].remedy
    assert found[jobs.PYTHON].seen == "there is no /opt/python3 on n1"


def test_a_worker_that_does_not_start_is_heard() -> None:
    tail = "python3: can't open file '/home/x/jobtree/worker/start.py'\n"
    found = results(worker={"ends": [failed(2)], "tail": tail})
    assert "can't open file" in found[jobs.WORKER].seen
    assert "install it on a file system" in found[jobs.WORKER].remedy


def test_output_that_is_not_there_is_missed() -> None:
    found = results(log={"tail": "", "missing": ("/shared/log",)})
    assert found[jobs.LOG].grade is Grade.FAILED
    assert "--directory" in found[jobs.LOG].remedy
    lost = results(directory={"missing": ("/shared/back",)})
    assert "nothing of it is to be seen here" in lost[jobs.DIRECTORY].seen


# ---- one failure that explains others --------------------------------------------------------


def test_what_follows_from_a_failure_is_not_judged() -> None:
    nothing = Visit()
    missing = {"ends": [failed(127)]}
    found = results(
        nothing, python={"ends": [failed(jobs.NO_PYTHON)]}, worker=missing, visit=missing,
        memory=missing,
    )  # fmt: skip
    assert [name for name, value in bad(found).items() if value is Grade.FAILED] == [jobs.PYTHON]
    assert "first mend 'python'" in found[jobs.WORKER].seen


def test_a_visit_that_fails_by_itself_is_told_once() -> None:
    found = results(Visit(), visit={"ends": [failed(UNANSWERED)], "tail": "why\n"})
    assert bad(found).pop(jobs.FILES) is Grade.FAILED
    assert "did not see the answer" in found[jobs.FILES].seen
    assert found[jobs.CLOCK].grade is found[jobs.SCRATCH].grade is Grade.SKIPPED


# ---- measures --------------------------------------------------------------------------------


def test_scratch_is_judged_by_what_the_node_found() -> None:
    def with_scratch(**values: object) -> CheckResult:
        return results(VISIT._replace(hello=HELLO | {"scratch": SCRATCH | values}))[jobs.SCRATCH]

    assert with_scratch().seen == "/tmp on n1, 1 GiB free"
    gone = with_scratch(error="No such file or directory: /x")
    assert (gone.grade, gone.keys) == (Grade.FAILED, ("worker.scratch",))
    unset = with_scratch(unset=True)
    assert (unset.grade, unset.keys) == (Grade.WARNING, ("worker.scratch",))
    assert "$TMPDIR is not set on n1" in unset.seen


def test_clocks_may_differ_by_what_the_site_allows() -> None:
    ahead = VISIT._replace(pong={"seen": T + 11.3 + 40})
    assert results(ahead)[jobs.CLOCK].grade is Grade.PASSED
    found = results(ahead, about={"clock_slack_s": 30.0})
    assert bad(found) == {jobs.CLOCK: Grade.FAILED}
    assert "set the clocks" in found[jobs.CLOCK].remedy
    assert "40.00 s, give or take 0.10 s" in found[jobs.CLOCK].seen
    doubtful = results(
        ahead._replace(pong_at=T + 11.4 + 50), about={"clock_slack_s": 30.0}
    )  # the answer took 50 s, so that the clocks may well agree
    assert doubtful[jobs.CLOCK].grade is Grade.PASSED


def test_a_late_word_of_the_end_accuses_what_would_kill() -> None:
    found = results(about={"published_s": 0.5})
    assert bad(found) == {jobs.WORD: Grade.FAILED}
    assert "rescue.published" in found[jobs.WORD].keys
    assert "1.0 s" in found[jobs.WORD].seen


def test_a_slow_file_system_is_a_warning() -> None:
    found = results(VISIT._replace(pong_at=T + 30), visit={"ended": T + 31})
    assert bad(found) == {jobs.FILES: Grade.WARNING}


# ---- what is left out ------------------------------------------------------------------------


def test_what_is_left_out_is_said() -> None:
    cases = all_good()
    del cases[jobs.TIME], cases[jobs.MEMORY]
    found = {each.check: each for each in grade_all(cases, VISIT, context())}
    assert found[jobs.TIME].seen == "left out by --quick"
    assert "slurm.memory" in found[jobs.MEMORY].seen
    assert all_passed(list(found.values()))


def test_canaries_ask_for_little_and_have_names_that_tell() -> None:
    names = set()
    for canary in [first_canary(), *canaries(context(), ExaminationOptions())]:
        specs = canary.specs("0123456789abcdef")
        assert len(specs) == canary.size
        names |= {spec.name for spec in specs}
        assert specs[0].resources.cpus == 1
        assert (specs[0].resources.memory_bytes or 0) <= 128 * 2**20
        assert (specs[0].resources.time_s or 0) <= 300
    assert "doctor-array-of-10.0123456789abcdef" in names
    quick = [
        canary.name
        for canary in canaries(context(asks_memory=False), ExaminationOptions(quick=True))
    ]
    assert jobs.TIME not in quick
    assert jobs.MEMORY not in quick
