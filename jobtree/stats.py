"""Stats: where time and memory went, from the history of a tree.

Owns the figures and their forms; draws no page. Read next: answers.py.

Terms of the original: time is wall seconds of a step, clock its cpu seconds, wait their
difference (never below zero), memory its peak in bytes. Failed attempts stand apart.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from jobtree.store import Store

FIELDS = ("time", "clock", "wait", "memory")


def collect(store: Store) -> dict[str, Any]:
    """Return the figures of a tree, by class, by worker and by job, and for the whole run."""
    steps = store.query(
        "select label, issue, job, wall_s, cpu_s, memory_bytes, waited_s, estimate_s, detail"
        " from history where event = 'done'"
    )
    lost = store.query(
        "select label, event, count(*), coalesce(sum(wall_s), 0) from history"
        " where event != 'done' group by label, event"
    )
    (span,) = store.query("select min(at - coalesce(wall_s, 0)), max(at) from history")
    classes: dict[str, list[tuple[Any, ...]]] = {}
    workers: dict[str, list[tuple[Any, ...]]] = {}
    jobs: dict[str, list[tuple[Any, ...]]] = {}
    for row in steps:
        classes.setdefault(row[0], []).append(row)
        workers.setdefault(row[1], []).append(row)
        jobs.setdefault(str(row[2]), []).append(row)
    per_class = {label: _figures(rows) for label, rows in sorted(classes.items())}
    for label, event, count, wall_s in lost:
        entry = per_class.setdefault(label, _figures([]))
        entry[event] = {"count": count, "time": wall_s}
    said = [row[8] for row in steps if row[8]]
    return {
        "run": {
            "total_time": max(0.0, (span[1] or 0.0) - (span[0] or 0.0)),
            **_figures(steps),
            "failed": sum(row[2] for row in lost if row[1] == "failed"),
            "lost": sum(row[2] for row in lost if row[1] == "lost"),
        },
        "classes": per_class,
        "workers": _spread(list(workers.values())),
        "jobs": _spread(list(jobs.values())),
        "said": said,
    }


def _figures(rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    times = [row[3] or 0.0 for row in rows]
    clocks = [row[4] or 0.0 for row in rows]
    values: dict[str, list[float]] = {
        "time": times,
        "clock": clocks,
        "wait": [max(0.0, time - clock) for time, clock in zip(times, clocks, strict=True)],
        "memory": [row[5] for row in rows if row[5] is not None],
        "queued": [row[6] for row in rows if row[6] is not None],
        "estimated": [row[7] for row in rows if row[7] is not None],
    }
    return {"count": len(rows)} | {name: _summary(found) for name, found in values.items()}


def _summary(values: list[float]) -> dict[str, float] | None:
    """Return total, minimum, median, mean and maximum; None if nothing is known."""
    if not values:
        return None
    return {
        "total": sum(values),
        "min": min(values),
        "median": median(values),
        "mean": sum(values) / len(values),
        "max": max(values),
    }


def _spread(groups: list[list[tuple[Any, ...]]]) -> dict[str, Any]:
    """Return how steps spread over workers or jobs."""
    return {
        "count": len(groups),
        "steps": _summary([len(group) for group in groups]),
        "time": _summary([sum(row[3] or 0.0 for row in group) for group in groups]),
        "clock": _summary([sum(row[4] or 0.0 for row in group) for group in groups]),
    }


def render(figures: dict[str, Any]) -> str:
    """Return the figures as text, a line a class, at most 120 columns wide."""
    run = figures["run"]
    lines = [
        f"run: {run['total_time']:.1f} s in all, {run['count']} steps done in "
        f"{figures['workers']['count']} workers, {run['failed']} failed, {run['lost']} lost",
        "",
        f"{'class':<24}{'count':>8}{'failed':>8}{'lost':>6}"
        f"{'time med':>11}{'max':>10}{'clock':>11}{'wait':>10}{'memory max':>13}{'estimate':>11}",
    ]
    for label, entry in figures["classes"].items():
        lines.append(
            f"{label[:23]:<24}{entry['count']:>8}"
            f"{entry.get('failed', {}).get('count', 0):>8}{entry.get('lost', {}).get('count', 0):>6}"
            f"{_of(entry, 'time', 'median'):>11}{_of(entry, 'time', 'max'):>10}"
            f"{_of(entry, 'clock', 'total'):>11}{_of(entry, 'wait', 'total'):>10}"
            f"{_memory(entry):>13}{_of(entry, 'estimated', 'median'):>11}"
        )
    return "\n".join(lines)


def _of(entry: dict[str, Any], field: str, which: str) -> str:
    found = entry[field]
    return "-" if found is None else f"{found[which]:.3g} s"


def _memory(entry: dict[str, Any]) -> str:
    found = entry["memory"]
    return "unknown" if found is None else f"{found['max'] / 2**20:.0f} MiB"
