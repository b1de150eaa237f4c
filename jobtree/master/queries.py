"""Queries: what other commands may ask about a tree or tell it, and what they are told.

Owns the verbs; writes to no terminal. Whoever holds the lease answers: the master, or a
command that took it while no master lives. Read next: cli/.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Protocol

from jobtree.core.job import Colour, Job, attempt_count
from jobtree.core.node_health import KEPT_AS, from_json, short_name, to_json
from jobtree.mailbox.layout import failed_log_path, log_path, output_path
from jobtree.stats import collect
from jobtree.store.rows import HistoryEntry
from jobtree.store.store import Store

MOST_FAILURES = 20
"""A status names so many of the failed jobs: those that were born last."""

MOST_ENTRIES = 1000
"""A job's log tells so much of its history: what came last."""

LONGEST_TEXT = 2000


class MasterControl(Protocol):
    """What a master can do for `kill` and `nodes`."""

    def kill_everything(self, why: str) -> list[str]:
        """End every issue; return the names of those whose end could not be confirmed."""

    def leave(self) -> None:
        """Stop at the end of this turn."""

    def readmit_nodes(self, nodes: Sequence[str]) -> list[str]:
        """Let nodes be used again; return those that were left out."""


def answer_request(
    store: Store,
    directory: str,
    verb: str,
    arguments: dict[str, Any],
    master: MasterControl | None = None,
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
    if verb == "nodes":
        return nodes(store, arguments, master)
    return {"error": f"this master does not know the request {verb!r}; is it of another version?"}


def status(store: Store) -> dict[str, Any]:
    """Return where a tree stands: counts by colour, classes, and the failed jobs with reasons."""
    counts = store.counts
    return {
        "started": store.meta("started"),
        "site": site_of(store),
        "done": store.done,
        "remaining": sum(counts.values()),
        "colours": colours(store),
        "state": resting_state(store),
        "classes": {
            label: {"done": count, "mean_s": round(mean, 6)}
            for label, count, mean in store.classes()
        },
        "nodes_left_out": nodes_left_out(store),
        "failures": failures(store),
    }


def nodes_left_out(store: Store) -> list[dict[str, Any]]:
    """Return the nodes left out of submissions: which, until when, and why."""
    kept = from_json(store.meta(KEPT_AS, "[]"))
    return [each._asdict() for each in kept if each.until > time.time()]


def nodes(store: Store, arguments: dict[str, Any], master: MasterControl | None) -> dict[str, Any]:
    """Take back the nodes named in `clear`, all of them if it is empty; return what is left out."""
    left_out = [each["node"] for each in nodes_left_out(store)]
    wanted = arguments.get("clear")
    if wanted is None:
        return {"left_out": nodes_left_out(store), "cleared": []}
    unknown = [name for name in wanted if short_name(name) not in left_out]
    if unknown:
        known = f"left out: {', '.join(left_out)}" if left_out else "no node is"
        return {"error": f"{', '.join(unknown)} is not left out of submissions; {known}"}
    cleared = [short_name(name) for name in wanted] or left_out
    if master is not None:
        master.readmit_nodes(cleared)
    else:
        kept = from_json(store.meta(KEPT_AS, "[]"))
        store.put_meta(KEPT_AS, to_json(each for each in kept if each.node not in cleared))
        store.commit()
    return {"left_out": nodes_left_out(store), "cleared": cleared}


def site_of(store: Store) -> dict[str, Any]:
    """Return the site files that the tree was last run by, and the digest of what they said."""
    said: dict[str, Any] = json.loads(store.meta("site", '{"files": [], "digest": ""}'))
    return said


def colours(store: Store) -> dict[str, int]:
    """Return how many unfinished jobs have each colour."""
    return {
        colour.name.lower(): count
        for colour, count in store.counts.items()
        if colour != Colour.DEAD
    }


def resting_state(store: Store) -> str:
    """Return what may be said of a tree that no master runs: done, failed or interrupted."""
    counts = store.counts
    if not sum(counts.values()):
        return "done"
    if counts[Colour.WHITE] or counts[Colour.GREY] or counts[Colour.BLACK]:
        return "interrupted"
    return "failed"


def failures(store: Store, most: int = MOST_FAILURES) -> list[dict[str, Any]]:
    """Return the jobs that failed for good, the youngest first, each with its last reason."""
    found = store.query(
        "select id from jobs where colour = ? order by id desc limit ?", int(Colour.RED), most
    )
    jobs = (store.get(job_id) for (job_id,) in found)
    return [_failure(store, job) for job in jobs if job is not None]


def job_logs(store: Store, directory: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the history of one job, each entry with where its output lies.

    `directory` among the arguments is the tree as the asker spells it: its locale, or its mount
    of the file system, may be another.
    """
    try:
        job_id = int(arguments["job"])
        wanted = arguments.get("attempt")
        attempt = None if wanted is None else int(wanted)
    except (KeyError, TypeError, ValueError):
        return {"error": "a job and an attempt are numbers"}
    records = store.history(job_id)
    job = store.get(job_id)
    if job is None and not records:
        return {"error": f"the tree has never had a job {job_id}"}
    chosen = [r for r in records if attempt is None or attempt_count(r.attempt) == attempt]
    if attempt is not None and not chosen:
        had = ", ".join(map(str, sorted({attempt_count(r.attempt) for r in records}))) or "none yet"
        return {"error": f"job {job_id} has no finished attempt {attempt}; it has {had}"}
    return {
        "job": job_id,
        "colour": "done" if job is None else job.colour.name.lower(),
        "class": job.stack[-1].label if job is not None and job.stack else "",
        "attempts": 0 if job is None else attempt_count(job.attempt),
        "left_out": max(0, len(chosen) - MOST_ENTRIES),
        "entries": [
            _entry(arguments.get("directory", directory), record)
            for record in chosen[-MOST_ENTRIES:]
        ],
    }


def _entry(directory: str, record: HistoryEntry) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "at": record.at,
        "step": record.step,
        "attempt": attempt_count(record.attempt),
        "class": record.label,
        "event": record.event,
        "wall_s": record.wall_s,
        "cpu_s": record.cpu_s,
        "memory_bytes": record.memory_bytes,
        "why": record.why,
        "detail": None if record.detail is None else record.detail[:LONGEST_TEXT],
    }
    if record.event == "done":
        if record.log_length:
            entry["log"] = log_path(directory, record.issue)
            entry["range"] = [record.log_offset, record.log_length]
        return entry
    entry["log"] = failed_log_path(directory, record.job, record.step, record.attempt)
    if record.issue:
        entry["worker_log"] = log_path(directory, record.issue)
        entry["output"] = output_path(directory, record.issue.rpartition(".")[0])
    return entry


def _kill(master: MasterControl | None) -> dict[str, Any]:
    if master is None:
        return {"error": "no master runs"}
    unconfirmed = master.kill_everything("the user's kill")
    master.leave()
    return {"killed": True, "unconfirmed": unconfirmed}


def _failure(store: Store, job: Job) -> dict[str, Any]:
    last = store.query(
        "select why, label from history where job = ? order by seq desc limit 1", job.id
    )
    why, label = last[0] if last else ("", "")
    return {
        "job": job.id,
        "class": label or (job.stack[-1].label if job.stack else ""),
        "attempt": attempt_count(job.attempt),
        "why": (why or "")[:LONGEST_TEXT],
    }
