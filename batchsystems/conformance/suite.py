"""The rules every batch system keeps, as tests that any adapter can be run through.

Owns the checks that are possible from outside; must not know any adapter. Read next:
docs/batch-systems.md; watching.py, what the checks are made with.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchsystems.conformance.watching import PATIENCE_S, Watcher, end_all, gated, sh, wait_for
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
)


def offers(batch: BatchSystem, method: str) -> bool:
    """Tell whether the adapter has this method of its own, and not the default."""
    return getattr(type(batch), method) is not getattr(BatchSystem, method)


@pytest.mark.usefixtures("no_stray_processes")
class Conformance:
    """Inherit, and give it a fixture `make`: each call returns an instance over the same jobs.

    What the adapter leaves to a default is not asked of it. remembers: whether it can tell how a
    job ended while no instance was there. checks_names: whether it refuses a name in use; None:
    if it does, it must do so rightly. impossible: what it can never run, None if nothing.
    own_variables: some that it sets for its jobs, which reach a job all the same if given with it.
    """

    checks_names: bool | None = None
    own_variables: tuple[str, ...] = ()
    remembers = True
    impossible: Resources | None = Resources(memory_bytes=1 << 60)

    @pytest.fixture
    def make(self) -> Callable[[], BatchSystem]:
        """Return what makes an instance; all instances of a test share their jobs."""
        raise NotImplementedError

    @pytest.fixture
    def batch(self, make: Callable[[], BatchSystem]) -> Iterator[BatchSystem]:
        """Return an instance whose jobs are killed at the end."""
        batch = make()
        yield batch
        end_all(batch)

    @pytest.fixture
    def watcher(self, batch: BatchSystem) -> Watcher:
        """Return a watcher of the instance."""
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
        names = ["JOB_ID_MINE", "JOB_NAME", "QUEUE", "SLURM_MINE", "SBATCH_ACCOUNT", "SGE_MINE"]
        names += ["LSB_MINE", "PBS_MINE", "TMPDIR", *self.own_variables]
        given = {name: f"{name}'s own" for name in names}
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
        if offers(batch, "getRunningJobIDs"):
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
        watcher.batch.killJobs(jobs[:25])  # these need never reach a slow scheduler
        watcher.accepted(jobs[25])
        watcher.batch.killJobs(jobs[25:])
        assert {end.reason for end in watcher.ends(jobs).values()} == {Reason.CANCELLED}

    def test_a_kill_of_unknown_and_ended_ids_is_harmless(self, watcher: Watcher) -> None:
        ended = watcher.batch.issueJob(sh("exit 0"))
        watcher.end(ended)
        watcher.batch.killJobs([ended, 987654, ended])
        watcher.poll()
        assert len(watcher.news[ended]) == 2
        assert 987654 not in watcher.news

    def test_an_impossible_job_is_refused_with_a_remedy(self, watcher: Watcher) -> None:
        if self.impossible is None or not offers(watcher.batch, "capacity"):
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
        gate, batch = tmp_path / "gate", watcher.batch
        first = batch.issueJob(gated(gate, 3, "used", index=1))
        if not self.checks_names and not _refuses_name(batch, "used"):
            pytest.skip("this batch system leaves it to its caller that names are unique")
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
        if not offers(watcher.batch, "adopt"):
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
        if not offers(watcher.batch, "adopt"):
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
        end_all(batch)

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


def _refuses_name(batch: BatchSystem, name: str) -> bool:
    """Tell whether a job of a name in use, of index 1, is refused."""
    try:
        batch.issueJob(sh("exit 0", name, index=1))
    except ValueError:
        return True
    return False


def _opened(fifo: Path, text: bytes = b"\n") -> bool:
    """Write to a fifo if someone reads it."""
    try:
        descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    os.write(descriptor, text)
    os.close(descriptor)
    return True
