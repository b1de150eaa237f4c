"""What Grid Engine prints is read rightly, and never wrongly: captured outputs, cut and mutated."""

from __future__ import annotations

from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsystems.commandline.answers import (
    Phase,
    QueryResult,
)
from batchsystems.commandline.limits import Limits
from batchsystems.interface import Resources
from batchsystems.sge.accounting import SgeRecords
from batchsystems.sge.dialect import SgeDialect
from batchsystems.sge.parse import read_queue, read_submission
from batchsystems.sge.pending import read_checks, read_details
from batchsystems.sge.settings import SgeSettings
from batchsystems.transport.local import Command, CommandResult
from tests.unit.core.mutations import mutated
from tests.unit.sge.captured import ANSWERS, CHECKS, DATA, DETAILS, QSTAT, queue, ran

# ---- the queue -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "word", "phase", "node"),
    [
        ("j-runsingle", "r", Phase.RUNNING, "node1"),
        ("j-susp", "s", Phase.SUSPENDED, "node1"),
        ("j-dead", "dr", Phase.RUNNING, "node3"),
        ("j-rerun", "Rr", Phase.RUNNING, "node1"),
        ("j-reshep", "Rq", Phase.WAITING, ""),
        ("j-pe", "qw", Phase.WAITING, ""),
        ("j-dep", "hqw", Phase.WAITING, ""),
        ("j-noout", "Eqw", Phase.STUCK, ""),
        ("j-exit100", "Eqw", Phase.STUCK, ""),
    ],
)
def test_the_queue_tells_where_jobs_are(name: str, word: str, phase: Phase, node: str):
    (observation,) = queue()[name]
    assert (observation.word, observation.phase, observation.node) == (word, phase, node)
    assert "." not in observation.native
    assert observation.end is None


@given(text=st.text(st.sampled_from("|:,@-.<>&;'\" ab1"), min_size=1, max_size=20))
def test_a_separator_in_a_field_moves_no_other(text: str):
    entry = f"<job_list><JB_job_number>9</JB_job_number><JB_name>{escape(text)}</JB_name>"
    entry += f"<JB_owner>{escape(text)}</JB_owner><state>qw</state>"
    entry += "<JB_submission_time>2026-11-22T11:56:07</JB_submission_time><slots>1</slots>"
    told = QSTAT.replace("  </job_info>", f"{entry}</job_list>  </job_info>")
    result = read_queue(ran(told))
    assert result.complete
    others = [each for each in result.observations if each.native != "9"]
    assert others == list(read_queue(ran(QSTAT)).observations)
    (found,) = (each for each in result.observations if each.native == "9")
    assert (found.name, found.phase) == (text, Phase.WAITING)


def test_tasks_of_arrays_are_unfolded():
    jobs = queue()
    assert [task.native.partition(".")[2] for task in jobs["j-hold"]] == ["4", "6", "9", "10"]
    assert [task.native.partition(".")[2] for task in jobs["j-errarr"]] == ["1", "2", "3"]
    assert [(t.native.partition(".")[2], t.phase) for t in jobs["j-run"]] == [
        ("1", Phase.SUSPENDED),
        ("2", Phase.RUNNING),
    ]
    waiting = [task for task in jobs["j-wait"] if task.phase is Phase.WAITING]
    assert [task.native.partition(".")[2] for task in waiting] == ["3", "4", "5", "6", "7"]


def test_times_are_those_of_the_scheduler_s_clock():
    (waiting,), (running,) = queue()["j-pe"], queue()["j-runsingle"]
    assert (waiting.submitted, waiting.started) == (1795627092.0, None)
    assert (running.submitted, running.started) == (None, 1795627092.0)


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        *((word, Phase.WAITING) for word in ("qw", "hqw", "hRwq", "Rq")),
        *((word, Phase.RUNNING) for word in ("r", "hr", "Rr", "dr", "dRr", "t", "Rt", "dt")),
        *((word, Phase.SUSPENDED) for word in ("s", "ts", "S", "tS", "T", "RtT", "dS", "P")),
        *((word, Phase.STUCK) for word in ("Eqw", "Ehqw", "EhRqw", "dEqw")),
        *((word, Phase.UNKNOWN) for word in ("z", "x", "rz", "d", "7")),
    ],
)
def test_the_letters_of_a_state_are_read_together(word: str, phase: Phase):
    (observation,) = [
        each
        for each in read_queue(ran(QSTAT.replace("<state>dr<", f"<state>{word}<"))).observations
        if each.name == "j-dead"
    ]
    assert (observation.phase, observation.word) == (phase, word)


def test_held_jobs_say_so():
    assert "held" in queue()["j-dep"][0].why


def test_no_jobs_are_a_complete_answer():
    text = QSTAT[: QSTAT.index("    <job_list")] + "  </queue_info><job_info></job_info></job_info>"
    result = read_queue(ran(text))
    assert result.complete
    assert not result.observations


@pytest.mark.parametrize(
    "bad",
    [
        ran(""),
        ran("x\n"),
        ran("<?xml version='1.0'?><job_info><queue_info></queue_info></job_info>"),
        ran("<?xml version='1.0'?><unknown_jobs ><ST_name>9</ST_name></unknown_jobs>"),
        ran(QSTAT, "error: commlib error: got select error (Connection refused)"),
        ran(QSTAT, status=1),
        ran(QSTAT.replace("</job_list>", "", 1)),
        ran(QSTAT.replace("<job_list", "<job", 1)),
        ran(QSTAT.replace("<JB_name>j-pe<", "<JB_name>j&pe<").replace("queue_info>", "queue>")),
        ran('<!DOCTYPE x [<!ENTITY a "b">]>' + QSTAT.partition("\n")[2]),
        CommandResult(None, timed_out=True),
        CommandResult(0, QSTAT, cut=True),
        *(CommandResult(**answer) for name, answer in ANSWERS.items() if name.startswith("queue:")),
    ],
)
def test_what_is_no_list_of_jobs_is_no_complete_answer(bad: CommandResult):
    result = read_queue(bad)
    assert not result.complete
    assert result.why


@pytest.mark.parametrize(
    ("old", "new", "hidden"),
    [
        ("<tasks>2<", "<tasks>1-x<", "j-run"),
        ("<tasks>2<", "<tasks>1-999999999<", "j-run"),
        ("<JB_job_number>155<", "<JB_job_number>18+0<", "j-pe"),
        ("<JB_name>j-pe<", "<JB_name><", "155"),
        ("<JB_name>j-pe<", "<JB_name>a & b<", "155"),
        ("<JB_name>j-pe<", "<JB_name>a < b<", "155"),
    ],
)
def test_an_entry_that_cannot_be_read_hides_its_job_alone(old: str, new: str, hidden: str):
    assert old in QSTAT
    whole = read_queue(ran(QSTAT))
    result = read_queue(ran(QSTAT.replace(old, new, 1)))
    assert result.complete
    assert result.hides(hidden)
    assert not result.hides("j-susp", "j-dead", "999", "")
    lost = [each for each in whole.observations if each not in result.observations]
    assert len(lost) == 1
    assert result.hides(lost[0].name, lost[0].native)


@given(st.data())
def test_entries_of_others_of_any_shape_never_blind_it(data):
    """What a job may be called and what may be shown of it is not jobTree's to say."""
    entry = (
        '<job_list state="running"><JB_job_number>{}</JB_job_number><JAT_prio>0.5</JAT_prio>'
        "<JB_name>{}</JB_name><JB_owner>me</JB_owner><state>{}</state><{}>{}</{}></job_list>"
    )
    cell = st.one_of(st.text(max_size=20), st.sampled_from(["18+0", "a&b", "<", "\x01", "&#1;"]))
    cell = cell.filter(lambda text: "job_list" not in text)
    tags = st.sampled_from(["tasks", "JB_submission_time", "JAT_start_time", "other"])
    text = QSTAT
    for _ in range(data.draw(st.integers(1, 3))):
        tag = data.draw(tags)
        shown = entry.format(data.draw(cell), data.draw(cell), data.draw(cell), tag, "{}", tag)
        at = text.index("</job_list>") + len("</job_list>")
        text = text[:at] + shown.replace("{}", data.draw(cell)) + text[at:]
    result = read_queue(ran(text))
    assert result.complete, result.why
    ours = {each.native: each for each in read_queue(ran(QSTAT)).observations}
    seen = {each.native: each for each in result.observations}
    assert {native: seen.get(native) for native in ours} == ours
    assert not result.hides(*(each.name for each in ours.values()), *ours)


def test_an_answer_cut_at_any_byte_is_incomplete():
    end = QSTAT.rindex("</job_info>") + len("</job_info>")
    for at in range(end):
        assert not read_queue(ran(QSTAT[:at])).complete, at


# ---- submissions ---------------------------------------------------------------------------

# ---- reasons for waiting -------------------------------------------------------------------


def job_number(name: str) -> str:
    return queue()[name][0].native.partition(".")[0]


@pytest.mark.parametrize(
    ("name", "part", "remedy"),
    [
        ("j-big", "offers only hc:h_vmem", "waits for jobs to end"),
        ("j-pe", 'cannot run in PE "smp"', "waits for jobs to end"),
        ("j-noout", 'can\'t open output file "/no/such/place/x"', "writable"),
        ("j-nocwd", "can't chdir to /no/such/place", "must be there"),
        ("j-exit100", "exit_status of job start = 100", "ended with 100"),
        ("j-errarr", "can't open output file", "writable"),
        ("j-dep", "job dependencies", "another job"),
        ("j-time", "execution time not reached", "before a set time"),
    ],
)
def test_the_scheduler_s_reasons_are_read_and_have_a_remedy(name: str, part: str, remedy: str):
    told = read_details(ran(DETAILS))[job_number(name)]
    assert part in told
    assert "\n" not in told
    assert remedy in SgeDialect().remedy(told)
    assert not SgeDialect().is_hopeless(told)


def test_what_could_never_run_is_told_from_what_only_waits():
    told = read_checks(ran(CHECKS, status=1))
    assert set(told) == {job_number("j-big"), job_number("j-pe")}
    assert all(SgeDialect().is_hopeless(why) for why in told.values())
    assert "hc:h_vmem=16.000G" in told[job_number("j-big")]
    assert "lower what it asks for" in SgeDialect().remedy(told[job_number("j-big")])


def test_a_scheduler_that_keeps_its_reasons_to_itself_gives_none():
    text = "=====\njob_number:                 12\nscheduling info:            "
    off = "(Collecting of scheduler job information is turned off)\n"
    assert read_details(ran(text + off)) == {}


# ---- limits --------------------------------------------------------------------------------


def test_array_sizes_are_asked_for_before_a_large_array():
    dialect = SgeDialect()
    assert dialect.cluster.discover(Limits(), 1000) == ()
    (config,) = dialect.cluster.discover(Limits(), 5000)
    answer = ran((DATA / "qconf-sconf.txt").read_text())
    assert dialect.cluster.parse(config, answer, Limits()).tasks == 75000


def test_an_environment_that_keeps_a_job_on_one_host_is_looked_for():
    dialect, several = SgeDialect(), Resources(cpus=4)
    (names,) = dialect.cluster.discover(Limits(), 1, several)
    limits = dialect.cluster.parse(names, ran("mpi\nsmp\nthreads\n"), Limits())
    asks = dialect.cluster.discover(limits, 1, several)
    assert [ask.argv[-1] for ask in asks] == ["-spl", "smp", "threads", "mpi"], "likely ones first"
    limits = dialect.cluster.parse(asks[1], ran((DATA / "qconf-sp.txt").read_text()), limits)
    assert dialect.cluster.discover(limits, 1, several) == (names,), "it need not look further"
    assert dialect.cluster.impossible(several, limits) == ""


def test_environments_that_spread_a_job_over_hosts_are_none():
    dialect, several = SgeDialect(), Resources(cpus=4)
    (names,) = dialect.cluster.discover(Limits(), 1, several)
    assert dialect.cluster.impossible(several, Limits()) == "", "as long as nothing is known"
    limits = dialect.cluster.parse(names, ran("mpi\n"), Limits())
    assert dialect.cluster.impossible(several, limits) == ""
    asks = dialect.cluster.discover(limits, 1, several)
    limits = dialect.cluster.parse(
        asks[1], ran("pe_name mpi\nallocation_rule    $fill_up\n"), limits
    )
    assert "allocation_rule $pe_slots" in dialect.cluster.impossible(several, limits)
    assert dialect.cluster.impossible(Resources(cpus=1), limits) == ""


# ---- mutated ---------------------------------------------------------------------------------


@given(st.data())
def test_a_mutated_queue_never_raises_and_never_shows_an_end(data):
    result = read_queue(ran(data.draw(mutated(QSTAT))))
    assert result.complete or result.why
    assert all(observation.end is None for observation in result.observations)


@given(st.data())
def test_mutated_reasons_never_raise(data):
    for text in (DETAILS, CHECKS):
        answer = ran(data.draw(mutated(text)))
        for told in (read_details(answer), read_checks(answer)):
            assert all(number.isdigit() and why for number, why in told.items())


@given(st.text(max_size=200), st.text(max_size=200), st.integers(-20, 255) | st.none())
def test_noise_never_raises(stdout: str, stderr: str, status: int | None):
    answer = CommandResult(status, stdout, stderr)
    read_submission(answer)
    assert not read_queue(answer).complete
    assert SgeRecords(SgeSettings()).parse(stdout.split("\n")) == []
    SgeRecords(SgeSettings()).key(stdout)
    read_details(answer), read_checks(answer)
    dialect = SgeDialect()
    dialect.parse_kill(answer)
    for words in (("qconf", "-sconf"), ("qconf", "-spl"), ("qconf", "-sp", "x")):
        dialect.cluster.parse(Command("discover", words), answer, Limits())
    result: QueryResult = dialect.parse_queue(answer)
    assert result.why
