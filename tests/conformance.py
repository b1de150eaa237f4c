"""The rules every batch system keeps, as tests that any adapter can be run through.

Owns the checks that are possible from outside, and helpers to wait for a state; must not know
any adapter. Read next: docs/batch-systems.md.

    class TestMine(Conformance):
        @pytest.fixture
        def make(self, tmp_path):
            return lambda: Mine(str(tmp_path))    # each call: an instance over the same jobs

Set `adopts = False` for an adapter without adopt(), `remembers = False` for one that cannot tell
how a job ended while no instance was there, `checks_names = False` for one that leaves it to its
caller that names are unique, `impossible` to what it can never run.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from batchsystems.errors import Unobtainable
from batchsystems.interface import (
    INDEX,
    Accepted,
    BatchSystem,
    JobEnd,
    JobRecord,
    JobSpec,
    Reason,
    Refused,
    Resources,
    Update,
)

PATIENCE_S = 120.0


def wait_for(
    condition: Callable[[], object], what: str = "", patience_s: float = PATIENCE_S
) -> None:
    """Return as soon as the condition holds; fail the test if it does not come."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience_s} s in vain: {what or condition}"
        time.sleep(0.002)


class Watcher:
    """Collects the updates of a batch system and checks their order as they come."""

    def __init__(self, batch: BatchSystem) -> None:
        self.batch = batch
        self.news: dict[int, list[Update]] = {}

    def poll(self, wait_s: float = 0.02) -> None:
        """Wait a moment for news, and take them."""
        descriptor = self.batch.fileno()
        if descriptor is None:
            time.sleep(min(wait_s, 0.02))
        else:
            select.select([descriptor], [], [], wait_s)
        for job, update in self.batch.getUpdatedJobs().items():
            told = self.news.setdefault(job, [])
            assert not any(isinstance(old, JobEnd | Refused) for old in told), (told, update)
            assert update not in told, f"told twice: {update}"
            told.append(update)

    def until(
        self, condition: Callable[[], object], what: str = "", patience_s: float = PATIENCE_S
    ) -> None:
        """Take news until the condition holds."""
        deadline = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain: {what}; news: {self.news}"
            self.poll()

    def obtainable(self) -> bool:
        """Tell whether the batch system has an answer that is not too old."""
        try:
            self.batch.getIssuedJobIDs()
        except Unobtainable:
            return False
        return True

    def last(self, job: int) -> Update | None:
        """Return the newest update of the job."""
        return self.news[job][-1] if job in self.news else None

    def accepted(self, job: int) -> str:
        """Wait for the job's native id."""
        self.until(lambda: self.news.get(job), f"acceptance of {job}")
        first = self.news[job][0]
        assert isinstance(first, Accepted), first
        return first.native

    def end(self, job: int, patience_s: float = PATIENCE_S) -> JobEnd:
        """Wait for the end of the job."""
        self.until(lambda: isinstance(self.last(job), JobEnd), f"end of {job}", patience_s)
        last = self.last(job)
        assert isinstance(last, JobEnd)
        return last

    def ends(self, jobs: Iterable[int]) -> dict[int, JobEnd]:
        """Wait for the ends of the jobs."""
        return {job: self.end(job) for job in jobs}


def sh(script: str, name: str = "job", **more: object) -> JobSpec:
    """Return the spec of a shell command."""
    return JobSpec(name, ("/bin/sh", "-c", script), **more)  # type: ignore[arg-type]


def gated(gate: Path, status: int, name: str = "job", **more: object) -> JobSpec:
    """Return the spec of a command that waits for a file, and ends with a status."""
    return sh(f"while [ ! -e {gate} ]; do sleep 0.05; done; exit {status}", name, **more)


@pytest.mark.usefixtures("no_stray_processes")
class Conformance:
    """Inherit, and give it a fixture `make`."""

    adopts = True
    checks_names = True
    remembers = True
    impossible: Resources | None = Resources(memory_bytes=1 << 60)

    @pytest.fixture
    def make(self) -> Callable[[], BatchSystem]:
        """Return what makes an instance; all instances of a test share their jobs."""
        raise NotImplementedError

    @pytest.fixture
    def batch(self, make: Callable[[], BatchSystem]) -> Iterator[BatchSystem]:
        """An instance whose jobs are killed at the end."""
        batch = make()
        yield batch
        end_all(batch)

    @pytest.fixture
    def watcher(self, batch: BatchSystem) -> Watcher:
        """A watcher of the instance."""
        return Watcher(batch)

    def test_ids_are_positive_unique_and_never_reused(self, watcher: Watcher) -> None:
        first = watcher.batch.issueJobs([sh("exit 0", "first", index=i) for i in range(3)])
        watcher.ends(first)
        second = watcher.batch.issueJobs([sh("exit 0", "second", index=i) for i in range(3)])
        watcher.ends(second)
        assert len({*first, *second}) == 6
        assert min(first + second) > 0

    def test_a_job_is_accepted_then_ends_ok(self, watcher: Watcher) -> None:
        job = watcher.batch.issueJob(sh("exit 0"))
        assert watcher.accepted(job)
        end = watcher.end(job)
        assert (end.reason, end.exit_status, end.signal) == (Reason.OK, 0, None)
        assert [type(update) for update in watcher.news[job]] == [Accepted, JobEnd]
        assert job not in watcher.batch.getUpdatedJobs()

    def test_exit_status_is_told(self, watcher: Watcher) -> None:
        end = watcher.end(watcher.batch.issueJob(sh("exit 37")))
        assert (end.reason, end.exit_status, end.signal) == (Reason.FAILED, 37, None)

    def test_signal_is_told(self, watcher: Watcher) -> None:
        end = watcher.end(watcher.batch.issueJob(sh("kill -USR2 $$")))
        assert (end.reason, end.signal) == (Reason.FAILED, int(signal.SIGUSR2))

    def test_output_is_appended(self, watcher: Watcher, tmp_path: Path) -> None:
        output = tmp_path / "out put.log"
        output.write_text("before\n")
        watcher.end(watcher.batch.issueJob(sh("echo out; echo err >&2", output=str(output))))
        assert output.read_text() == "before\nout\nerr\n"

    def test_environment_and_directory_are_as_asked(self, watcher: Watcher, tmp_path: Path) -> None:
        env = {"PATH": os.environ["PATH"], "GREETING": "a b'c\"d\n"}
        output = tmp_path / "output"
        script = 'printf "%s|%s|%s" "$PWD" "$GREETING" "$HOME"'
        spec = sh(script, env=env, cwd=str(tmp_path), output=str(output))
        watcher.end(watcher.batch.issueJob(spec))
        assert output.read_text() == f"{tmp_path}|a b'c\"d\n|"

    def test_variables_given_arrive_whatever_their_names(
        self, watcher: Watcher, tmp_path: Path
    ) -> None:
        names = ("JOB_ID_MINE", "JOB_NAME", "QUEUE", "SLURM_MINE", "SBATCH_ACCOUNT", "SGE_MINE")
        given = {name: f"{name}'s own" for name in (*names, "LSB_MINE", "PBS_MINE", "TMPDIR")}
        output = tmp_path / "output"
        script = "; ".join(f'echo "{name}=${name}"' for name in given)
        spec = sh(script, env={"PATH": os.environ["PATH"], **given}, output=str(output))
        assert watcher.end(watcher.batch.issueJob(spec)).reason is Reason.OK
        assert output.read_text().splitlines() == [f"{name}={given[name]}" for name in given]

    def test_an_array_of_50_knows_its_indices(self, watcher: Watcher, tmp_path: Path) -> None:
        argv = ("/bin/sh", "-c", f'echo "$1" > {tmp_path}/$1.out; exit $1', "sh", INDEX)
        jobs = watcher.batch.issueJobs([JobSpec("fifty", argv, index=i) for i in range(50)])
        assert len(set(jobs)) == 50
        assert watcher.batch.getIssuedJobIDs() <= set(jobs)
        ends = watcher.ends(jobs)
        assert [ends[job].exit_status for job in jobs] == list(range(50))
        assert {path.read_text().strip() for path in tmp_path.glob("*.out")} == {
            str(i) for i in range(50)
        }

    def test_issued_ids_are_exact(self, watcher: Watcher, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        os.mkfifo(gate)
        batch = watcher.batch
        assert batch.getIssuedJobIDs() == frozenset()
        short, long = (
            batch.issueJob(sh("exit 0", "short")),
            batch.issueJob(sh(f"read x < {gate}", "long")),
        )
        watcher.end(short)
        assert batch.getIssuedJobIDs() == {long}
        watcher.until(lambda: long in batch.getRunningJobIDs(), "running")
        assert batch.getRunningJobIDs()[long] >= 0
        wait_for(lambda: _opened(gate), "the job at its gate")
        watcher.end(long)
        assert batch.getIssuedJobIDs() == frozenset()
        assert batch.getRunningJobIDs() == {}

    def test_a_kill_is_confirmed_by_the_end(self, watcher: Watcher, tmp_path: Path) -> None:
        job = watcher.batch.issueJob(sh(f"echo > {tmp_path}/started; sleep 1000 & sleep 1000"))
        wait_for((tmp_path / "started").exists)
        watcher.batch.killJobs([job])
        assert watcher.end(job).reason is Reason.CANCELLED
        assert job not in watcher.batch.getIssuedJobIDs()

    def test_a_kill_of_waiting_jobs(self, watcher: Watcher) -> None:
        jobs = watcher.batch.issueJobs([sh("sleep 1000", index=i) for i in range(50)])
        watcher.batch.killJobs(jobs)
        assert {end.reason for end in watcher.ends(jobs).values()} == {Reason.CANCELLED}

    def test_a_kill_of_unknown_and_ended_ids_is_harmless(self, watcher: Watcher) -> None:
        ended = watcher.batch.issueJob(sh("exit 0"))
        watcher.end(ended)
        watcher.batch.killJobs([ended, 987654, ended])
        watcher.poll()
        assert len(watcher.news[ended]) == 2
        assert 987654 not in watcher.news

    def test_an_impossible_job_is_refused_with_a_remedy(self, watcher: Watcher) -> None:
        if self.impossible is None:
            pytest.skip("this batch system has no limits of its own")
        job = watcher.batch.issueJob(sh("exit 0", resources=self.impossible))
        watcher.until(lambda: watcher.last(job), "refusal")
        refused = watcher.last(job)
        assert isinstance(refused, Refused)
        assert not refused.transient
        assert len(refused.why) > 20
        assert job not in watcher.batch.getIssuedJobIDs()

    def test_a_name_in_use_is_refused_until_its_job_has_ended(
        self, watcher: Watcher, tmp_path: Path
    ) -> None:
        if not self.checks_names:
            pytest.skip("this batch system leaves it to its caller that names are unique")
        gate, batch = tmp_path / "gate", watcher.batch
        first = batch.issueJob(gated(gate, 3, "used", index=1))
        with pytest.raises(ValueError, match="used has an unfinished job of index 1"):
            batch.issueJobs([sh("exit 0", "fresh"), sh("exit 0", "used", index=1)])
        with pytest.raises(ValueError, match="fresh has an unfinished job of index 0"):
            batch.issueJobs([sh("exit 0", "fresh"), sh("exit 0", "fresh")])
        assert batch.getIssuedJobIDs() <= {first}, "of those nothing was taken"
        other = batch.issueJob(sh("exit 0", "used", index=2))
        gate.touch()
        assert watcher.end(first).exit_status == 3
        again = batch.issueJob(sh("exit 4", "used", index=1))
        assert watcher.end(again).exit_status == 4
        assert watcher.end(other).reason is Reason.OK

    def test_calls_do_not_wait_for_jobs(self, batch: BatchSystem) -> None:
        began = time.monotonic()
        jobs = [batch.issueJob(sh("sleep 1000", index=i)) for i in range(20)]
        batch.getUpdatedJobs(), batch.getIssuedJobIDs(), batch.getRunningJobIDs()
        batch.explain(jobs), batch.capacity()
        batch.exclude(["nosuchnode"])
        batch.killJobs(jobs)
        assert time.monotonic() - began < 5

    def test_an_instance_never_lists_foreign_jobs(
        self, watcher: Watcher, make: Callable[[], BatchSystem]
    ) -> None:
        job = watcher.batch.issueJob(sh("sleep 1000", "foreign"))
        watcher.accepted(job)
        other = make()
        assert other.getIssuedJobIDs() == frozenset()
        assert other.getUpdatedJobs() == {}
        assert other.adopt([JobRecord("foreign", 7, "", 0.0)]) == [None]
        assert other.getIssuedJobIDs() == frozenset()
        other.close()

    def test_jobs_are_adopted_after_the_instance_is_gone(
        self, watcher: Watcher, make: Callable[[], BatchSystem], tmp_path: Path
    ) -> None:
        if not self.adopts:
            pytest.skip("this batch system does not adopt")
        gate = tmp_path / "gate"
        os.mkfifo(gate)
        jobs = watcher.batch.issueJobs(
            [sh(f"read x < {gate}; exit $x", "living"), sh("exit 5", "brief")]
        )
        natives = [watcher.accepted(job) for job in jobs]
        watcher.batch.close()
        heir = Watcher(make())
        known = [("living", natives[0]), ("brief", natives[1]), ("never", "no such native id")]
        adopted = heir.batch.adopt(
            [JobRecord(name, 0, native, time.time()) for name, native in known]
        )
        living, brief, never = adopted
        assert living is not None
        assert never is None
        if brief is not None:  # else its end was reported to the first instance
            end = heir.end(brief)
            forgotten = not self.remembers and end.reason is Reason.ENDED
            assert end.exit_status == 5 or forgotten
        assert heir.batch.getIssuedJobIDs() == {living}
        wait_for(lambda: _opened(gate, b"6\n"), "the job at its gate")
        assert heir.end(living).exit_status == 6
        assert len(heir.news[living]) == 1, "an id known already is not accepted again"
        heir.batch.close()

    def test_adoption_ends_nothing_it_was_not_told_of(
        self, watcher: Watcher, make: Callable[[], BatchSystem], tmp_path: Path
    ) -> None:
        if not self.adopts:
            pytest.skip("this batch system does not adopt")
        gate = tmp_path / "gate"
        names = ("first", "second")
        jobs = [watcher.batch.issueJob(gated(gate, 5, name)) for name in names]
        natives = [watcher.accepted(job) for job in jobs]
        watcher.batch.close()
        heir = Watcher(make())
        own = heir.batch.issueJob(gated(gate, 6, "own"))
        heir.accepted(own)
        adopted = []
        for name, native in zip(names, natives, strict=True):
            (job,) = heir.batch.adopt([JobRecord(name, 0, native, time.time())])
            assert job is not None
            adopted.append(job)
        assert heir.batch.getIssuedJobIDs() == {own, *adopted}
        gate.touch()
        assert {end.exit_status for end in heir.ends(adopted).values()} == {5}
        assert heir.end(own).exit_status == 6
        heir.batch.close()

    def test_closing_sends_what_was_taken(
        self, make: Callable[[], BatchSystem], tmp_path: Path
    ) -> None:
        batch = make()
        names = ("alpha", "beta", "gamma")
        jobs = {name: batch.issueJob(sh(f"echo >{tmp_path}/{name}", name)) for name in names}
        batch.close()
        for name in names:
            wait_for((tmp_path / name).exists, f"{name}, which was issued before close()")
        told = batch.getUpdatedJobs()
        refused = [job for job in jobs.values() if isinstance(told.get(job), Refused)]
        assert not refused, told

    def test_flush_waits_until_all_was_sent(self, watcher: Watcher, tmp_path: Path) -> None:
        names = ("alpha", "beta", "gamma")
        jobs = [watcher.batch.issueJob(sh("exit 0", name)) for name in names]
        assert watcher.batch.flush(PATIENCE_S) == frozenset()
        assert watcher.batch.withdraw() == frozenset()
        assert {end.reason for end in watcher.ends(jobs).values()} == {Reason.OK}

    def test_what_is_withdrawn_never_runs(self, watcher: Watcher, tmp_path: Path) -> None:
        argv = ("/bin/sh", "-c", f"echo >{tmp_path}/$1.ran", "sh", INDEX)
        jobs = [watcher.batch.issueJob(JobSpec("some", argv, index=i)) for i in range(20)]
        withdrawn = watcher.batch.withdraw()
        ends = watcher.ends(jobs)
        assert {ends[job].reason for job in withdrawn} <= {Reason.CANCELLED}
        ran = {path.stem for path in tmp_path.glob("*.ran")}
        assert ran == {str(i) for i, job in enumerate(jobs) if ends[job].reason is Reason.OK}

    def test_close_twice_is_harmless(self, make: Callable[[], BatchSystem]) -> None:
        batch = make()
        batch.close()
        batch.close()


def end_all(batch: BatchSystem) -> None:
    """Kill whatever the instance still has, and close it; an outage is waited out."""
    asked: frozenset[int] = frozenset()

    def ended() -> bool:
        nonlocal asked
        batch.getUpdatedJobs()
        try:
            left = batch.getIssuedJobIDs()
        except Unobtainable:
            return False
        if left - asked:
            batch.killJobs(left - asked)
            asked |= left
        return not left

    wait_for(ended, "the end of all jobs")
    batch.close()


def _opened(fifo: Path, text: bytes = b"\n") -> bool:
    """Write to a fifo if someone reads it."""
    try:
        descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    os.write(descriptor, text)
    os.close(descriptor)
    return True
