"""What the process with a DRMAA session answers is read as it is meant, and never raises."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsystems import Reason
from batchsystems.commandline.answers import Phase, QueryResult, Rejected, Rejection, Submitted
from batchsystems.drmaa.dialect import DrmaaDialect
from batchsystems.drmaa.parse import read_end, read_poll, read_submission
from batchsystems.drmaa.session.journal import keys_of, submission_of
from batchsystems.drmaa.settings import DrmaaSettings
from batchsystems.drmaa.tables import family_of
from batchsystems.sge.settings import SgeSettings
from batchsystems.slurm.settings import SlurmSettings
from batchsystems.transport.local import CommandResult

USED = {"start_time": "1000.0000", "end_time": "1010.0000", "cpu": "2.5", "maxvmem": "1048576.0"}
KILLED = USED | {"exit_status": "137.0000"}


@pytest.mark.parametrize(
    ("natives", "array", "keys", "submission"),
    [
        (["12"], False, ["12"], "12"),
        (["12.1", "12.2", "12.3"], True, ["12.1", "12.2", "12.3"], "12."),
        (["12_1", "12_2"], True, ["12_1", "12_2"], "12_"),
        (["12[1]", "12[2]"], True, ["12[1]", "12[2]"], "12["),
        (["7.server", "8.server"], True, ["7.server+1", "7.server+2"], "7.server+"),
        (["host.12.0", "host.12.1"], True, ["host.12.0+1", "host.12.0+2"], "host.12.0+"),
        (["7.server"], False, ["7.server"], "7.server"),
    ],
)
def test_ids_of_any_library_lead_to_their_submission_and_back(
    natives: list[str], array: bool, keys: list[str], submission: str
):
    dialect = DrmaaDialect(DrmaaSettings(), family_of("SGE"), SgeSettings(), SlurmSettings())
    assert keys_of(natives, array) == keys
    assert submission_of(keys[0]) == submission
    if array:
        assert [dialect.ids.join(submission, task) for task in range(len(keys))] == keys
        assert [dialect.ids.split(key) for key in keys] == [
            (submission, task) for task in range(len(keys))
        ]
    else:
        assert dialect.ids.split(keys[0]) == (submission, None)
    assert dialect.ids.split("no such id") is None


@pytest.mark.parametrize(
    ("about", "name"),
    [
        ("SGE 8.1.9 SGE 8.1.9 1.0", "sge"),
        ("UGE 8.6.18", "sge"),
        ("OGS/GE 2011.11", "sge"),
        ("SLURM 22.05.8 DRMAA for Slurm", "slurm"),
        ("IBM Platform LSF 9.1", "lsf"),
        ("PBS Professional", ""),
        ("Condor", ""),
        ("", ""),
    ],
)
def test_clusters_are_told_by_what_their_library_says(about: str, name: str):
    assert family_of(about).name == name


@pytest.mark.parametrize(
    ("how", "reason", "status", "number"),
    [
        ({"how": "exit", "status": 0}, Reason.OK, 0, None),
        ({"how": "exit", "status": 137}, Reason.FAILED, 137, None),
        ({"how": "exit", "status": 126}, Reason.LAUNCH_FAILED, 126, None),
        ({"how": "signal", "signal": "SIGSEGV"}, Reason.FAILED, None, 11),
        ({"how": "signal", "signal": "SIGKILL"}, Reason.FAILED, None, 9),
        ({"how": "signal", "signal": "unknown"}, Reason.FAILED, None, None),
        ({"how": "signal", "signal": "SIGKILL", "time_s": 10.0}, Reason.TIME_LIMIT, None, 9),
        ({"how": "signal", "signal": "SIGSEGV", "time_s": 10.0}, Reason.FAILED, None, 11),
        (
            {"how": "signal", "signal": "SIGKILL", "memory_bytes": 1 << 20},
            *(Reason.OUT_OF_MEMORY, None, 9),
        ),
        ({"how": "signal", "signal": "SIGKILL", "memory_bytes": 1 << 30}, Reason.FAILED, None, 9),
        ({"how": "aborted", "killed": True, "time_s": 10.0}, Reason.CANCELLED, None, None),
        ({"how": "aborted", "time_s": 10.0}, Reason.TIME_LIMIT, None, 9),
        ({"how": "aborted", "usage": KILLED}, Reason.CANCELLED, None, 9),
        ({"how": "stuck"}, Reason.LAUNCH_FAILED, None, None),
        ({"how": "stuck", "usage": {"exit_status": "100.0"}}, Reason.FAILED, 100, None),
        ({"how": "vanished", "usage": {}, "killed": True}, Reason.CANCELLED, None, None),
        ({"how": "vanished", "usage": {}}, Reason.ENDED, None, None),
        ({"how": "gone", "usage": {}, "killed": True}, Reason.CANCELLED, None, None),
        ({"how": "gone", "usage": {}}, Reason.ENDED, None, None),
    ],
)
def test_ends(how: dict[str, Any], reason: Reason, status: int | None, number: int | None):
    end = read_end({"usage": USED} | how)
    assert (end.reason, end.exit_status, end.signal) == (reason, status, number)
    assert end.evidence
    if how.get("usage") is None:
        assert (end.wall_s, end.cpu_s, end.memory_bytes) == (10.0, 2.5, 1 << 20)


def test_nothing_but_an_exit_with_0_is_a_success():
    for how in ("signal", "aborted", "stuck", "vanished", "gone", "nothing known", None):
        for killed in (True, False):
            told = {"how": how, "killed": killed, "usage": USED, "signal": "SIGTERM"}
            assert read_end(told).reason is not Reason.OK


@pytest.mark.parametrize(
    ("kind", "words", "meaning"),
    [
        ("before", "code 2: unable to contact qmaster", Rejection.OUTAGE),
        ("DrmCommunicationException", "code 2: unable to contact qmaster", Rejection.OUTAGE),
        ("DrmCommunicationException", "code 2: unable to send: got send error", Rejection.UNKNOWN),
        ("InternalException", "code 1: who knows", Rejection.STRANGE),
        ("InternalException", "code 1: slurm_load_jobs: timed out", Rejection.UNKNOWN),
        ("InternalException", "code 1: Unable to contact slurm controller", Rejection.UNKNOWN),
        ("DeniedByDrmException", "code 17: You must ask for memory", Rejection.PERMANENT),
        ("TryLaterException", "code 16: later", Rejection.CROWDED),
        ("DeniedByDrmException", "code 17: only 10 jobs are allowed per user", Rejection.CROWDED),
        ("DeniedByDrmException", "code 17: more than 75000 tasks", Rejection.SIZE),
        ("DeniedByDrmException", 'code 17: can\'t resolve hostname "x"', Rejection.NODES),
        ("DeniedByDrmException", "code 17: the system is busy, try again later", Rejection.OUTAGE),
        ("DeniedByDrmException", "code 17: no", Rejection.PERMANENT),
        ("InvalidAttributeValueException", "code 14: no", Rejection.PERMANENT),
    ],
)
def test_errors_of_a_submission(kind: str, words: str, meaning: Rejection):
    turned = read_submission(CommandResult(1, kind, words))
    assert isinstance(turned, Rejected)
    assert turned.kind is meaning
    assert not turned.words.startswith("code")


def test_what_is_no_whole_answer_tells_nothing():
    for ran in (
        CommandResult(None, timed_out=True),
        CommandResult(None, stderr="has died"),
        CommandResult(0, "{"),
        CommandResult(0, ""),
    ):
        turned = read_submission(ran)
        assert isinstance(turned, Rejected)
        assert turned.kind is Rejection.UNKNOWN
        assert not read_poll(ran).complete
    assert not read_poll(CommandResult(1, "DrmCommunicationException", "code 2: away")).complete


def test_states_are_read_and_unknown_words_leave_a_job_alone():
    words = ["", "queued_active", "user_on_hold", "running", "user_suspended", "undetermined"]
    jobs = [{"key": str(i), "name": "n", "at": 1.0, "state": w} for i, w in enumerate(words)]
    result = read_poll(CommandResult(0, json.dumps({"number": 7, "jobs": jobs})))
    assert result.mark == "7"
    assert [observation.phase for observation in result.observations] == [
        *(Phase.WAITING, Phase.WAITING, Phase.WAITING, Phase.RUNNING, Phase.SUSPENDED),
        Phase.UNKNOWN,
    ]
    assert [observation.why for observation in result.observations][1:4] == ["", "user_on_hold", ""]


@pytest.mark.parametrize(
    "broken",
    [
        {"key": "8", "name": "theirs", "at": "soon", "state": "running"},
        {"key": "8", "name": "theirs", "at": 1.0},
        {"key": "8", "name": "theirs", "at": 1.0, "state": "", "end": {"how": "exit"}},
        {"key": "8", "name": "theirs", "at": 1.0, "state": "", "end": 7},
        {"key": "8"},
        ["8"],
        None,
    ],
)
def test_a_job_of_which_nothing_can_be_read_hides_no_other(broken: Any):
    good = {"key": "7", "name": "ours", "at": 1.0, "state": "running"}
    result = read_poll(CommandResult(0, json.dumps({"number": 7, "jobs": [broken, good]})))
    assert result.complete
    assert [each.native for each in result.observations] == ["7"]
    assert result.hides("8") == isinstance(broken, dict)
    assert not result.hides("7", "ours")
    assert not result.mark, "what it says of ends it must say again"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["jobs", "number", "key", "name", "at", "state", "end", "how", "usage"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=6,
)


@given(st.one_of(JSON.map(json.dumps), st.text(max_size=30)))
def test_no_answer_raises(text: str):
    assert isinstance(read_poll(CommandResult(0, text)), QueryResult)
    assert isinstance(read_submission(CommandResult(0, text)), Submitted | Rejected)


@given(
    st.fixed_dictionaries({"how": st.sampled_from(["exit", "signal", "aborted", "stuck"])}), JSON
)
def test_no_end_raises_within_a_look(end: dict[str, Any], usage: Any):
    job = {"key": "1", "name": "n", "at": 1.0, "state": "", "end": end | {"usage": usage}}
    result = read_poll(CommandResult(0, json.dumps({"number": 1, "jobs": [job]})))
    assert isinstance(result, QueryResult)


def test_every_signal_has_its_number():
    for each in signal.Signals:
        end = read_end({"how": "signal", "signal": each.name, "usage": {}})
        assert end.signal == int(each)
