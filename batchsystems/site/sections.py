"""Sections: the tables of a site file that are the same for every batch system.

Owns their keys, meanings and defaults, which a test compares with those in the code that uses
them; an adapter's own table stands beside the adapter. Read next: ../registry.py, which lists
those; schema.py, which joins all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchsystems.site.fields import (
    Count,
    Factor,
    Lines,
    Period,
    Program,
    Rate,
    Section,
    Size,
    Some,
    Space,
    Time,
    Truth,
    Word,
    Words,
    key,
)

GIB = 2**30


class Jobs(Section):
    """What jobs get that name nothing themselves, and what is asked for on top."""

    memory_bytes: Space = key("default_memory", 2 * GIB, "memory of a job that names none")
    cpus: Some = key("default_cpus", 1, "processors of a job that names none")
    time_s: Period = key("default_time", 86400.0, "time estimate of a job that names none")
    job_time_s: Time = key(
        "job_time",
        30.0,
        "how long a batch job should last at least: short jobs are packed; on a cluster 10m to 30m",
    )
    time_margin: Factor = key(
        "time_margin", 3.0, "a batch job's time limit is its jobs' estimates times this"
    )
    least_time_s: Period = key("min_time", 600.0, "the least time limit of a batch job")
    max_log_bytes: Size = key("max_log_size", 50120, "kept of what one step prints")


class Limits(Section):
    """How much of one tree may be out at once."""

    max_jobs: Some | None = key("max_jobs", None, "batch jobs issued at any one time")
    max_cpus: Some | None = key("max_cpus", None, "processors asked for at any one time")
    max_memory_bytes: Space | None = key("max_memory", None, "memory asked for at any one time")
    slots: Some = key(
        "slots",
        1000,
        "batch jobs of one cpu that may be out at once if they last for jobs.job_time; of shorter "
        "ones too where the batch system does not tell how many it runs, and many were seen to",
    )


class Pacing(Section):
    """How much load one tree may put on the scheduler."""

    submits_per_s: Rate = key("submits_per_second", 5.0, "submissions and kills, in a second")
    queries_per_minute: Rate = key(
        "queries_per_minute", 30.0, "commands that only look, in a minute"
    )
    commands_per_minute: Rate | None = key(
        "commands_per_minute", None, "all commands together in a minute, if that is limited too"
    )
    poll_s: Period = key(
        "poll_interval", 30.0, "the longest time between two looks at the queue while jobs are out"
    )
    poll_min_s: Period = key(
        "poll_interval_min", 3.0, "the shortest time between two looks at the queue"
    )
    poll_backoff_s: Period = key(
        "poll_backoff", 300.0, "the longest time between two while the scheduler gives no answer"
    )
    hold_s: Period = key(
        "hold", 5.0, "pause after a submission that must wait; it doubles each time"
    )
    hold_most_s: Period = key("hold_max", 300.0, "the longest such pause")
    kill_again_s: Period = key("kill_repeat", 60.0, "a kill without effect is repeated after this")
    reason_s: Period = key(
        "reason", 30.0, "what waits for so long is asked about, if the queue gives no reasons"
    )
    reason_most_s: Period = key(
        "reason_max", 1800.0, "the longest time between two such questions; it doubles each time"
    )
    query_tries: Some = key("query_tries", 2, "how often one query is made in a row if it fails")
    kill_chunk: Some = key("jobs_per_kill", 500, "the most ids in one command that kills")
    history_chunk: Some = key("jobs_per_query", 1000, "the most ids in one look at the history")


class Timeouts(Section):
    """How long a single command of the scheduler may take."""

    submit_s: Period = key("submit", 120.0, "the longest a submission may take")
    query_s: Period = key("query", 120.0, "the longest a look at queue or history may take")
    kill_s: Period = key("kill", 120.0, "the longest a kill may take")
    adopt_s: Period = key("adopt", 60.0, "how long a restart waits for word of its batch jobs")
    close_s: Period = key("close", 10.0, "how long an ending run waits to send its last kills")


class Grace(Section):
    """How long to wait before what a scheduler says, or does not say, is believed."""

    visibility_s: Period = key(
        "visibility", 120.0, "a submission without a clear answer may still appear for this long"
    )
    two_looks_s: Period = key(
        "second_look", 60.0, "the least time between the two looks that must both not find it"
    )
    absence_s: Period = key(
        "absence", 60.0, "a job not in the queue, nor in the history, for this long is gone"
    )
    history_s: Period = key(
        "history", 600.0, "how long to wait for a history that does not answer, or lags behind"
    )
    history_pause_s: Period = key(
        "history_pause", 5.0, "between two looks at the history, growing to a minute"
    )
    held_s: Period = key("stuck", 120.0, "a job that can never start is ended after this")
    stale_s: Period = key(
        "outage", 120.0, "without a complete answer for this long nothing is said of jobs"
    )
    clock_slack_s: Period = key(
        "clock_slack",
        300.0,
        "by how much the scheduler's clock may differ before that is told",
    )


class Retry(Section):
    """How often to try again, and with how much more."""

    retries: Count = key("retry_count", 0, "tries again after a job failed by its own doing")
    rescues: Count = key("rescue_count", 20, "tries again after a job was lost to something else")
    memory_factor: Factor = key(
        "memory_factor", 2.0, "a job that ran out of memory asks for this times as much"
    )
    largest_memory_bytes: Space | None = key("memory_cap", None, "the most memory so asked for")
    time_factor: Factor = key(
        "time_factor", 2.0, "a job that reached its time limit asks for this times as much"
    )
    largest_time_s: Period | None = key("time_cap", None, "the most time so asked for")


class Rescue(Section):
    """When a batch job is given up, and its jobs are issued again."""

    look_s: Period = key(
        "interval", 60.0, "between two looks for missing, over-long and silent jobs"
    )
    longest_step_s: Period | None = key(
        "max_job_duration", None, "a step running for longer is killed and issued again"
    )
    missing_s: Period = key(
        "missing", 60.0, "a batch job absent from complete answers for this long is given up"
    )
    unanswered_s: Period = key(
        "unanswered", 600.0, "so is one whose submission was never answered for this long"
    )
    silent_s: Period = key(
        "silence", 600.0, "and one without a heartbeat of its worker for this long"
    )
    kill_s: Period = key(
        "kill", 60.0, "a kill nobody confirmed counts as done, its worker being fenced"
    )
    launches: Some = key(
        "failed_launches", 3, "after so many failed launches in a row submissions wait"
    )
    hold_most_s: Period = key("launch_hold_max", 300.0, "the longest such wait")
    cool_down_s: Period = key(
        "node_cool_down", 3600.0, "a node left out because jobs die there is used again after this"
    )
    publish_s: Period = key(
        "published", 120.0, "a batch job still in the queue after its results were read is killed"
    )

    @classmethod
    def conflicts(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Find a silence too short for a second heartbeat."""
        silence = values.get("rescue.silence", cls.model_fields["silent_s"].default)
        beat = values.get("worker.heartbeat", Worker.model_fields["heartbeat_s"].default)
        if silence < 2 * beat:
            said = (
                f"rescue.silence ({silence:g} s) is less than two of worker.heartbeat ({beat:g} s)"
            )
            yield ("rescue.silence" if "rescue.silence" in values else "worker.heartbeat", said)


class Worker(Section):
    """What runs on a node, around the jobs."""

    scratch: Word = key(
        "scratch", "", "where local temp directories are made; $VARS are the node's"
    )
    setup: Lines = key(
        "setup",
        (),
        "lines of shell before a worker starts, such as module load python/3.11; what they export "
        "reaches the steps, and one that fails ends the launch, unless it says || true",
    )
    shell: Program = key("shell", "/bin/sh", "the shell of these lines, and of batch scripts")
    python: Word = key("python", "", "the Python of workers (default: the one of the master)")
    local_logs: Truth = key(
        "local_logs",
        False,
        "what a running step prints goes to scratch, and what is kept of it to the shared file "
        "system when the step is over",
    )
    heartbeat_s: Period = key("heartbeat", 30.0, "between two signs of life of a worker")
    worker_memory_bytes: Size = key(
        "memory", 64 * 2**20, "what a worker needs itself, asked for on top of what its jobs need"
    )


class FileSystem(Section):
    """How often the master looks at the files of workers that do not ring its doorbell."""

    sweep_s: Period = key("sweep_interval", 1.0, "between two looks at these files")
    swept_at_once: Some = key("files_per_sweep", 1000, "the most files looked at in one of them")


class Locked(Section):
    """What files that come before this one, and options, may not change."""

    keys: Words = key("keys", (), 'keys and whole sections: ["pacing", "slurm.account"]')


SECTIONS: Mapping[str, type[Section]] = {
    "limits": Limits,
    "pacing": Pacing,
    "jobs": Jobs,
    "worker": Worker,
    "retry": Retry,
    "rescue": Rescue,
    "grace": Grace,
    "timeouts": Timeouts,
    "filesystem": FileSystem,
}
