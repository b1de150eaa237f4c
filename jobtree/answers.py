"""Answers: what other commands may ask about a tree or tell it, and what they are told.

Owns the verbs; writes to no terminal. Whoever holds the lease answers: the master, or a
command that took it while no master lives. Read next: cli/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobtree.job import Colour, Job, attempt_count
from jobtree.mailbox.layout import failed_log_path, log_path
from jobtree.stats import collect
from jobtree.store import Store

if TYPE_CHECKING:
    from jobtree.master import Master

MOST_LISTED = 1000


def answer(
    store: Store, directory: str, verb: str, arguments: dict[str, Any], master: Master | None = None
) -> dict[str, Any]:
    """Answer one request. An unknown verb, or an unknown job, is told in `error`."""
    if verb == "status":
        return status(store)
    if verb == "log":
        return job_logs(store, directory, arguments)
    if verb == "stats":
        return collect(store)
    if verb == "kill":
        return _kill(master)
    return {"error": f"this master does not know the request {verb!r}; is it of another version?"}


def status(store: Store) -> dict[str, Any]:
    """Return where a tree stands: counts by colour, and the failed jobs with their reasons."""
    failed = [_failure(store, job) for job in store.jobs_of_colour(Colour.RED, MOST_LISTED)]
    return {
        "done": store.done,
        "colours": {colour.name.lower(): count for colour, count in store.counts.items()},
        "remaining": sum(store.counts.values()),
        "failed": failed,
    }


def job_logs(store: Store, directory: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the history of one job, each entry with where its output lies."""
    job_id = int(arguments["job"])
    wanted = arguments.get("attempt")
    entries = []
    for record in store.history(job_id):
        count = attempt_count(record.attempt)
        if wanted is not None and count != wanted:
            continue
        entry: dict[str, Any] = {
            "at": record.at,
            "step": record.step,
            "attempt": count,
            "class": record.label,
            "event": record.event,
            "why": record.why,
            "detail": record.detail,
        }
        if record.event == "done" and record.log_length:
            entry["log"] = log_path(directory, record.issue)
            entry["range"] = [record.log_offset, record.log_length]
        elif record.event in ("failed", "lost"):
            entry["log"] = failed_log_path(directory, job_id, record.step, record.attempt)
            entry["worker_log"] = log_path(directory, record.issue)
        entries.append(entry)
    job = store.get(job_id)
    if job is None and not entries:
        return {"error": f"the tree has never had a job {job_id}"}
    colour = "done" if job is None else job.colour.name.lower()
    return {"job": job_id, "colour": colour, "entries": entries}


def _kill(master: Master | None) -> dict[str, Any]:
    if master is None:
        return {"error": "no master runs"}
    unconfirmed = master.kill_everything("the user's kill")
    master.leave()
    return {"killed": True, "unconfirmed": unconfirmed}


def _failure(store: Store, job: Job) -> dict[str, Any]:
    history = store.history(job.id)
    last = history[-1] if history else None
    return {
        "job": job.id,
        "class": job.stack[-1].label if job.stack else "",
        "attempt": attempt_count(job.attempt),
        "why": last.why if last else "",
    }
