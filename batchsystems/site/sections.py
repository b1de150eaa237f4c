"""Sections: the keys of a site file that are the same for every batch system.

Owns their meanings and defaults, which jobtree/options.py takes from here; what a batch system
alone wants is declared beside its adapter. Read next: fields.py; ../registry.py, which lists those.
"""

from __future__ import annotations

from dataclasses import dataclass

from batchsystems.site.fields import (
    COUNT,
    FACTOR,
    LINES,
    PERIOD,
    PROGRAM,
    SOME,
    SPACE,
    TIME,
    TRUTH,
    WORD,
    Declared,
)

SECTIONS = {
    "limits": "How much of one tree may be out at once.",
    "pacing": "How much load one tree may put on the scheduler.",
    "jobs": "What jobs get that name nothing themselves, and what is asked for on top.",
    "worker": "What runs on a node, around the jobs.",
    "retry": "How often to try again, and with how much more.",
    "rescue": "When a batch job is given up, and its jobs are issued again.",
    "grace": "How long to wait before what a scheduler says, or does not say, is believed.",
    "timeouts": "How long a single command of the scheduler may take.",
    "filesystem": "How the master looks at the files of workers that do not ring its doorbell.",
}
"""The tables that are not a batch system's own, in order: what each is about."""

HEARTBEAT_S = 30.0
"""Between two signs of life of a worker."""


def _two_beats(silent_s: float) -> None:
    if silent_s < 2 * HEARTBEAT_S:
        raise ValueError(f"it must be two heartbeats of a worker at least: {2 * HEARTBEAT_S:g}s")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings(Declared):
    """What the settings of every batch system have."""

    setup: tuple[str, ...] = LINES(
        (),
        "lines of shell before a worker starts, such as module load python/3.11; what they export "
        "reaches the steps, and one that fails ends the launch, unless it says || true",
        "worker.setup",
    )
    shell: str = PROGRAM(
        "/bin/sh", "the shell of these lines, and of batch scripts", "worker.shell"
    )


@dataclass(frozen=True)
class TreeSettings(Declared):
    """What a site says of trees, for whoever runs them; None sets no limit."""

    max_jobs: int | None = SOME(None, "batch jobs issued at any one time", "limits.max_jobs")
    max_cpus: int | None = SOME(None, "processors asked for at any one time", "limits.max_cpus")
    max_memory_bytes: int | None = SPACE(
        None, "memory asked for at any one time", "limits.max_memory"
    )
    memory_bytes: int = SPACE(
        2**31, "memory of a job that names none (2G, 512M)", "jobs.default_memory"
    )
    cpus: int = SOME(1, "processors of a job that names none", "jobs.default_cpus")
    time_s: float = PERIOD(
        86400.0,
        "time limit estimate of a job that names none (90m, 1-00:00:00)",
        "jobs.default_time",
    )
    job_time_s: float = TIME(
        30.0,
        "how long a batch job should last at least: short jobs are packed up to this; on a cluster "
        "10m to 30m",
        "jobs.job_time",
    )
    time_margin: float = FACTOR(
        3.0, "a batch job's time limit is its jobs' estimates times this", "jobs.time_margin"
    )
    least_time_s: float = PERIOD(600.0, "the least time limit of a batch job", "jobs.min_time")
    scratch: str = WORD(
        "",
        "where local temp directories are made on a node; $VARS are the node's (default: its "
        "TMPDIR or TMP, else /tmp)",
        "worker.scratch",
    )
    python: str = WORD(
        "", "the Python of workers (default: the one of the master)", "worker.python"
    )
    local_logs: bool = TRUTH(
        False,
        "what a running step prints goes to scratch, and what is kept of it to the shared file "
        "system when the step is over",
        "worker.local_logs",
    )
    retries: int = COUNT(
        0,
        "tries again after a job failed by its own doing; refilled by every step that succeeds",
        "retry.retry_count",
    )
    rescues: int = COUNT(
        20,
        "tries again after a job was lost to something else: a dead node, a kill, too little "
        "memory or time",
        "retry.rescue_count",
    )
    largest_memory_bytes: int | None = SPACE(
        None, "the most that a job asks for which ran out of memory", "retry.memory_cap"
    )
    largest_time_s: float | None = PERIOD(
        None, "the most that a job asks for which reached its time limit", "retry.time_cap"
    )
    longest_step_s: float | None = PERIOD(
        None, "a step running for longer is killed and issued again", "rescue.max_job_duration"
    )
    silent_s: float = PERIOD(
        600.0,
        "a batch job without a heartbeat of its worker for this long is given up",
        "rescue.silence",
        _two_beats,
    )
    publish_s: float = PERIOD(
        120.0,
        "a batch job still in the queue after its results were read is killed",
        "rescue.published",
    )
    sweep_s: float = PERIOD(1.0, "between two looks at these files", "filesystem.sweep_interval")
