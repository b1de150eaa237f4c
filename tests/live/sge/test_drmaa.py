"""The DRMAA adapter over Grid Engine's library and a real cell: every odd answer it gives.

Owns the adapter alone; whole trees and their rescue are tested elsewhere. Read next: lab.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from batchsystems import (
    Accepted,
    Ambiguous,
    BatchSystem,
    BatchSystemError,
    JobEnd,
    JobRecord,
    JobSpec,
    Reason,
    Refused,
    Resources,
)
from batchsystems.commandline.pacing import Pace, Timeouts
from batchsystems.conformance import Conformance, Watcher, end_all, gated, sh
from batchsystems.drmaa.adapter import Drmaa
from batchsystems.drmaa.session.client import Client
from batchsystems.drmaa.session.library import Library
from batchsystems.drmaa.settings import DrmaaSettings
from batchsystems.sge.settings import SgeSettings
from tests.integration.flows import ROOT
from tests.live.sge.lab import Lab
from tests.live.waiting import eventually
from tests.unit.commandline.commandfaults import kinds, refusal

QUICK = Pace(submits_per_s=20, queries_per_minute=600, poll_s=1.0)
BRIEF = replace(
    Timeouts(),
    absence_s=5.0,
    hold_s=0.5,
    hold_most_s=1.0,
    held_s=3.0,
)

GIB = 2**30
RECONNECT_S = 200.0
"""A library may take a minute and more to find a qmaster that has come back."""
LIBRARY = "/usr/lib/gridengine-drmaa/lib/libdrmaa.so.1.0"
Make = Callable[..., Drmaa]


@pytest.fixture
def make(sge: Lab, monkeypatch: pytest.MonkeyPatch, open_tmp_path: Path) -> Make:
    """Return what makes an adapter of the test's cell; all of a test share their records."""
    sge.lead(monkeypatch)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)

    def made(
        settings: DrmaaSettings | None = None, sge: SgeSettings | None = None, **timeouts: float
    ) -> Drmaa:
        waits = replace(BRIEF, **timeouts)  # type: ignore[arg-type]
        return Drmaa(settings, sge, None, QUICK, waits, str(open_tmp_path))

    return made


class TestDrmaa(Conformance):
    checks_names = True
    remembers = False

    @pytest.fixture
    def make(self, make: Make) -> Callable[[], BatchSystem]:
        return make


def running(watcher: Watcher, job: int) -> None:
    """Wait until a job runs."""
    watcher.until(lambda: job in watcher.batch.getRunningJobIDs(), f"{job} to run")


# ---- ends ----------------------------------------------------------------------------------


def test_exit_statuses_are_exact(watcher: Watcher):
    codes = (1, 3, 75, 100, 127, 137, 255)
    jobs = watcher.batch.issueJobs([sh(f"exit {code}", f"exit{code}") for code in codes])
    ends = watcher.ends(jobs)
    assert [ends[job].exit_status for job in jobs] == list(codes)
    assert {ends[job].reason for job in jobs} == {Reason.FAILED}
    again = watcher.batch.issueJob(sh("exit 99", "again"))  # Grid Engine runs it again for that
    assert watcher.end(again).exit_status == 75


def test_signals_are_told_by_their_numbers(watcher: Watcher):
    signals = (6, 9, 11, 15)
    script = "ulimit -c 0; kill -{} $$"
    jobs = watcher.batch.issueJobs([sh(script.format(each), f"kill{each}") for each in signals])
    ends = watcher.ends(jobs)
    assert [ends[job].signal for job in jobs] == list(signals)
    assert {ends[job].reason for job in jobs} == {Reason.FAILED}


def test_limits_that_are_exceeded_are_told_apart(watcher: Watcher):
    part = 'python3 -c "x = bytearray(150 << 20); import time; time.sleep(60)"'
    hungry = f"{part} & {part} & wait"
    asked = Resources(memory_bytes=200 << 20, time_s=600)
    memory = watcher.batch.issueJob(sh(hungry, "hungry", resources=asked))
    long = watcher.batch.issueJob(sh("sleep 600", "long", resources=Resources(time_s=2.0)))
    assert watcher.end(memory).reason is Reason.OUT_OF_MEMORY
    assert watcher.end(long).reason is Reason.TIME_LIMIT


def test_what_cannot_be_launched_leaves_the_queue(sge: Lab, watcher: Watcher):
    """Its record says aborted, and Grid Engine keeps it in error (Eqw) for ever."""
    nowhere = watcher.batch.issueJob(sh("exit 0", "nowhere", cwd="/proc/nowhere"))
    mute = watcher.batch.issueJob(sh("exit 0", "mute", output="/proc/nowhere/x"))
    held = watcher.batch.issueJob(sh("exit 100", "held"))
    natives = [watcher.accepted(job) for job in (nowhere, mute, held)]
    assert watcher.end(nowhere).reason is Reason.LAUNCH_FAILED
    assert watcher.end(mute).reason is Reason.LAUNCH_FAILED
    assert (watcher.end(held).reason, watcher.end(held).exit_status) == (Reason.FAILED, 100)
    for native in natives:
        sge.wait_gone(native)


def test_kills_of_what_runs_and_of_what_waits(sge: Lab, watcher: Watcher):
    wide = Resources(memory_bytes=15 * GIB)
    runs = [watcher.batch.issueJob(sh("sleep 1000", f"r{i}", resources=wide)) for i in range(3)]
    for job in runs:
        running(watcher, job)
    waits = watcher.batch.issueJob(sh("exit 0", "waits", resources=wide))
    tasks = watcher.batch.issueJobs(
        [sh("exit 0", "tasks", index=i, resources=wide) for i in range(20)]
    )
    native = watcher.accepted(waits)
    assert watcher.accepted(tasks[3]).endswith(".4")
    watcher.batch.killJobs([waits, *tasks[:5]])
    assert watcher.end(waits).reason is Reason.CANCELLED
    assert {end.reason for end in watcher.ends(tasks[:5]).values()} == {Reason.CANCELLED}
    assert watcher.batch.getIssuedJobIDs() == {*runs, *tasks[5:]}
    watcher.batch.killJobs([*runs, *tasks])
    ends = watcher.ends([*runs, *tasks])
    assert {end.reason for end in ends.values()} == {Reason.CANCELLED}
    sge.wait_gone(native)


def test_jobs_deleted_by_hand(sge: Lab, watcher: Watcher):
    wide = Resources(memory_bytes=15 * GIB)
    runs = [watcher.batch.issueJob(sh("sleep 1000", f"r{i}", resources=wide)) for i in range(3)]
    for job in runs:
        running(watcher, job)
    waits = watcher.batch.issueJob(sh("exit 0", "waits", resources=wide))
    sge.run("qdel", watcher.accepted(waits))
    assert watcher.end(waits).reason is Reason.ENDED
    sge.run("qdel", watcher.accepted(runs[0]))
    assert watcher.end(runs[0]).reason is Reason.CANCELLED
    assert watcher.batch.getIssuedJobIDs() == set(runs[1:])


# ---- what is asked for -----------------------------------------------------------------------


def test_what_cannot_be_asked_for_is_refused_with_the_remedy(make: Make):
    wrong = {
        "unknown queue": (DrmaaSettings(), SgeSettings(queue="nosuch.q"), 1),
        "does not exist": (DrmaaSettings(), SgeSettings(pe="nosuch"), 2),
        "unknown resource": (DrmaaSettings(native=("-l nosuch=1",)), SgeSettings(), 1),
        "invalid option": (DrmaaSettings(native=("--bogus",)), SgeSettings(), 1),
        "no suitable queues": (DrmaaSettings(native=("-l h_vmem=900G",)), SgeSettings(), 1),
    }
    for said, (own, sge, cpus) in wrong.items():
        watcher = Watcher(make(own, sge))
        job = watcher.batch.issueJob(sh("exit 0", resources=Resources(cpus=cpus)))
        refused = refusal(watcher, job)
        assert said in refused.why
        assert not refused.transient
        watcher.batch.close()


def test_several_cpus_on_a_host_that_is_not_avoided(machines: Lab, watcher: Watcher, make: Make):
    watcher.batch.exclude([*machines.hosts[1:], "nosuchnode"])
    asked = Resources(cpus=2, memory_bytes=GIB)
    job = watcher.batch.issueJob(sh("exit $NSLOTS", resources=asked))
    assert watcher.end(job).exit_status == 2
    (record,) = eventually("its record", lambda: machines.records(watcher.accepted(job)))
    assert record["hostname"] == machines.hosts[0]


def test_words_and_environment_arrive_as_they_are(watcher: Watcher, open_tmp_path: Path):
    words = ("a  b", "c'd", '"', "$HOME", "`x`", "\\", "e\n#$ -q nosuch.q\nf", "", "*", "x=y,z=1")
    argv = ("printf", "%s|", *words)
    env = {
        "PATH": "/usr/bin:/bin",
        "GREETING": "multi\nline 'x'",
        "COMMAS": "x=y,z=1,",
        "BASH_FUNC_f%%": "() { :; }",
    }
    output = open_tmp_path / "o$HOME,u:t"
    job = watcher.batch.issueJob(JobSpec("words", argv, env=env, output=str(output)))
    assert watcher.end(job).reason is Reason.OK
    assert output.read_text() == "".join(f"{word}|" for word in words)
    seen = open_tmp_path / "seen"
    job = watcher.batch.issueJob(JobSpec("env", ("env",), env=env, output=str(seen)))
    assert watcher.end(job).reason is Reason.OK
    lines = seen.read_text()
    assert "GREETING=multi\nline 'x'\n" in lines
    assert "COMMAS=x=y,z=1,\n" in lines
    assert "BASH_FUNC_f%%=() { :; }\n" in lines
    for name in ("HOME", "GLIBC_TUNABLES", "LD_PRELOAD"):
        assert f"\n{name}=" not in lines


# ---- sessions --------------------------------------------------------------------------------

OWNER = """
import sys, time
from batchsystems import Accepted, JobSpec
from batchsystems.drmaa.adapter import Drmaa
batch = Drmaa(state_dir=sys.argv[1])
wait = "while [ ! -e $0 ]; do sleep 0.1; done; exit 5"
jobs = [batch.issueJob(JobSpec("living", ("/bin/sh", "-c", wait, sys.argv[1] + "/go")))]
jobs += [batch.issueJob(JobSpec("brief", ("/bin/sh", "-c", wait, sys.argv[1] + "/soon")))]
natives = {}
while len(natives) < 2:
    for job, update in batch.getUpdatedJobs().items():
        natives[job] = update.native
    time.sleep(0.05)
print(*[natives[job] for job in jobs], flush=True)
time.sleep(600)
"""


def test_jobs_of_a_dead_owner_are_taken_back_and_what_ended_meanwhile_has_no_verdict(
    sge: Lab, make: Make, open_tmp_path: Path
):
    """kill -9 of owner and process: the session's own knowledge of ends dies with it."""
    argv = [sys.executable, "-c", OWNER, str(open_tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as owner:
        assert owner.stdout is not None
        living, brief = owner.stdout.readline().split()
        sge.wait(living, "r")
        contact = contact_in(open_tmp_path)
        whole = psutil.Process(owner.pid)
        for each in (*whole.children(recursive=True), whole):
            each.kill()
    (open_tmp_path / "soon").touch()
    sge.wait_gone(brief)
    heir = Watcher(make())
    records = [
        JobRecord(name, 0, n, time.time()) for name, n in zip(NAMES, (living, brief), strict=True)
    ]
    first, second = heir.batch.adopt(records)
    assert first is not None
    assert second is not None
    assert heir.end(second).reason is Reason.ENDED
    assert heir.batch.getIssuedJobIDs() == {first}
    (open_tmp_path / "go").touch()
    assert heir.end(first).exit_status == 5
    assert contact_in(open_tmp_path) == contact, "the session was gone on with"
    heir.batch.close()


NAMES = ("living", "brief")


def contact_in(directory: Path) -> str:
    """Return the last contact of a session in the records of an adapter."""
    lines = (directory / "drmaa" / "journal").read_text().splitlines()
    return [entry["contact"] for line in lines if "contact" in (entry := json.loads(line))][-1]


def broker_of() -> psutil.Process:
    """Return the one process of this one that has a session."""
    children = psutil.Process().children()
    living = [each for each in children if each.status() != psutil.STATUS_ZOMBIE]
    (server,) = [
        each for each in living if any("drmaa.session.server" in w for w in each.cmdline())
    ]
    return server


def test_a_process_that_dies_is_started_again_and_nothing_is_lost(
    watcher: Watcher, open_tmp_path: Path
):
    gate = open_tmp_path / "go"
    job = watcher.batch.issueJob(gated(gate, 5))
    running(watcher, job)
    before = broker_of()
    before.kill()
    before.wait(10)
    other = watcher.batch.issueJob(sh("exit 3", "other"))
    assert watcher.end(other).exit_status == 3, "the session is gone on with"
    gate.touch()
    assert watcher.end(job).exit_status == 5
    assert kinds(watcher, job) == [Accepted, JobEnd]


def test_a_contact_that_is_refused_costs_no_job(make: Make, open_tmp_path: Path):
    """Jobs of the session before are followed by their states; their ends have no verdict."""
    gate = open_tmp_path / "go"
    first = Watcher(make())
    job = first.batch.issueJob(gated(gate, 5, "old"))
    running(first, job)
    native = first.accepted(job)
    first.batch.close()
    journal = open_tmp_path / "drmaa" / "journal"
    journal.write_text(journal.read_text() + '{"contact":"no contact at all"}\n{"torn')
    heir = Watcher(make())
    (adopted,) = heir.batch.adopt([JobRecord("old", 0, native, time.time())])
    assert adopted is not None
    running(heir, adopted)
    new = heir.batch.issueJob(sh("exit 3", "new"))
    assert heir.end(new).exit_status == 3
    gate.touch()
    assert heir.end(adopted).reason is Reason.ENDED
    heir.batch.close()


# ---- a qmaster in trouble --------------------------------------------------------------------


def test_a_frozen_master_hangs_the_library_and_harms_no_job(
    sge: Lab, make: Make, open_tmp_path: Path
):
    watcher = Watcher(make(submit_s=3.0, query_s=3.0, stale_s=1.0, visibility_s=6, two_looks_s=1))
    gate = open_tmp_path / "go"
    job = watcher.batch.issueJob(gated(gate, 5, "long"))
    running(watcher, job)
    sge.fault("freeze-master")
    frozen = watcher.batch.issueJob(sh("exit 6", "frozen"))
    watcher.until(lambda: not watcher.obtainable(), "the outage")
    sge.fault("thaw-master")
    watcher.until(watcher.obtainable, "the session", RECONNECT_S)
    gate.touch()  # only now: of what ends while nobody has the session, it tells nothing
    assert watcher.end(job).exit_status == 5
    watcher.until(lambda: isinstance(watcher.last(frozen), JobEnd | Refused), "an end of it")
    last = watcher.last(frozen)
    if isinstance(last, JobEnd):
        assert last.exit_status == 6
    else:
        assert isinstance(last, Refused)
        assert last.transient
        assert kinds(watcher, frozen) == [Ambiguous, Refused]
    end_all(watcher.batch)


def test_a_master_that_is_away_for_a_while_is_waited_for(sge: Lab, make: Make):
    """Of jobs on hold, as hosts take minutes to report ends to a new master."""
    held = DrmaaSettings(native=("-h",))
    watcher = Watcher(make(held, stale_s=1.0, visibility_s=5.0, two_looks_s=1.0))
    job = watcher.batch.issueJob(sh("exit 0", "before"))
    watcher.until(lambda: "release it" in watcher.batch.explain([job]).get(job, ""), "its hold")
    sge.fault("kill-master")
    watcher.until(lambda: not watcher.obtainable(), "the outage", RECONNECT_S)
    during = watcher.batch.issueJob(sh("exit 0", "during"))

    def said() -> str:
        return watcher.batch.explain([during]).get(during, "")

    what = "word of the submission"
    watcher.until(lambda: watcher.last(during) or "qmaster" in said(), what, RECONNECT_S)
    sge.fault("start-master")
    watcher.until(watcher.obtainable, "the end of the outage", RECONNECT_S)
    fate = "the fate of the submission"
    watcher.until(lambda: isinstance(watcher.last(during), Accepted | Refused), fate, RECONNECT_S)
    last = watcher.last(during)
    assert isinstance(last, Accepted) or (isinstance(last, Refused) and last.transient)
    assert kinds(watcher, job) == [Accepted]
    watcher.batch.killJobs([job, during])
    assert watcher.end(job, RECONNECT_S).reason is Reason.CANCELLED
    end_all(watcher.batch)


# ---- loading ---------------------------------------------------------------------------------


def test_a_library_without_room_for_its_data_is_cured(sge: Lab, make: Make, open_tmp_path: Path):
    make().close()
    tight = {"GLIBC_TUNABLES": "glibc.rtld.optional_static_tls=128"}
    line = Client(Library(LIBRARY, {}), DrmaaSettings(), str(open_tmp_path / "d"), [tight])
    line.start()
    assert line.about["drmsInfo"].startswith("SGE")
    line.close()
    hopeless = [{**tight, "LD_PRELOAD": ""}]
    line = Client(Library(LIBRARY, {}), DrmaaSettings(), str(open_tmp_path / "d"), hopeless)
    with pytest.raises(BatchSystemError, match="JT233") as caught:
        line.start()
    assert "patchelf" in caught.value.fix
    line.close()
