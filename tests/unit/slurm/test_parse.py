"""What Slurm prints is read rightly, and never wrongly: captured outputs, cut and mutated."""

from __future__ import annotations

import pytest

from batchsystems.commandline.answers import Phase
from batchsystems.interface import Reason
from batchsystems.slurm.parse import read_history, read_queue
from batchsystems.slurm.tables import ENDS, STATES
from batchsystems.transport.local import CommandResult
from tests.unit.slurm.captured import (
    DATA,
    SACCT,
    SBATCH,
    SQUEUE,
    names,
    ran,
)

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
