"""Stats: where time and memory went, from the history of a tree.

Owns the figures and their forms; draws no page. Read next: master/queries.py.

Time is wall seconds of a step, clock its cpu seconds, wait their difference (never below zero),
memory its peak in bytes. Failed attempts stand apart. The
history is read in pieces, so that a million steps take tens of megabytes, not gigabytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Any

from jobtree.store.store import Store

FIELDS = ("time", "clock", "wait", "memory", "queued", "estimated")
ROWS_AT_ONCE = 10_000
MOST_SAID = 1_000
"""So many of what commands wrote into their `stats` files are listed; all are counted."""

Figures = dict[str, Any]


class _Samples:
    """What is known of the steps of one class, field by field."""

    def __init__(self) -> None:
        self.count = 0
        self.values = {field: array("d") for field in FIELDS}

    def take(self, wall_s: float, cpu_s: float, others: Iterable[float | None]) -> None:
        self.count += 1
        known = (wall_s, cpu_s, max(0.0, wall_s - cpu_s), *others)
        for field, value in zip(FIELDS, known, strict=True):
            if value is not None:
                self.values[field].append(max(0.0, value))

    def add(self, other: _Samples) -> None:
        self.count += other.count
        for field, values in other.values.items():
            self.values[field].extend(values)

    def figures(self) -> Figures:
        summaries = {field: _summary(self.values[field]) for field in FIELDS}
        return {"count": self.count} | summaries


class _Totals:
    """Steps, time and clock of each worker, or of each job."""

    def __init__(self) -> None:
        self._sums: dict[object, list[float]] = {}

    def take(self, who: object, wall_s: float, cpu_s: float) -> None:
        sums = self._sums.setdefault(who, [0, 0.0, 0.0])
        sums[0] += 1
        sums[1] += wall_s
        sums[2] += cpu_s

    def figures(self) -> Figures:
        columns = list(zip(*self._sums.values(), strict=True)) or [(), (), ()]
        names = ("steps", "time", "clock")
        summaries = {name: _summary(column) for name, column in zip(names, columns, strict=True)}
        return {"count": len(self._sums)} | summaries


def collect(store: Store) -> Figures:
    """Return the figures of a tree, by class, by worker and by job, and for the whole run."""
    classes: dict[str, _Samples] = {}
    workers, jobs = _Totals(), _Totals()
    said: list[str] = []
    said_count = 0
    for label, issue, job, wall, cpu, memory, waited, estimate, words in _steps(store):
        wall_s, cpu_s = max(0.0, wall or 0.0), max(0.0, cpu or 0.0)
        if label not in classes:
            classes[label] = _Samples()
        classes[label].take(wall_s, cpu_s, (memory, waited, estimate))
        workers.take(issue, wall_s, cpu_s)
        jobs.take(job, wall_s, cpu_s)
        if words:
            said_count += 1
            if said_count <= MOST_SAID:
                said.append(words)
    whole = _Samples()
    for samples in classes.values():
        whole.add(samples)
    per_class = {label: classes[label].figures() for label in sorted(classes)}
    lost = _add_unsuccessful(store, per_class)
    (span,) = store.query("select min(at - coalesce(wall_s, 0)), max(at) from history")
    return {
        "run": {
            "total_time": max(0.0, (span[1] or 0.0) - (span[0] or 0.0)),
            **whole.figures(),
            "failed": lost["failed"],
            "lost": lost["lost"],
        },
        "classes": per_class,
        "workers": workers.figures(),
        "jobs": jobs.figures(),
        "said": said,
        "said_count": said_count,
    }


def _steps(store: Store) -> Iterator[tuple[Any, ...]]:
    """Yield what is known of every successful step, as last committed."""
    after = 0
    while True:
        rows = store.query(
            "select seq, event, label, issue, job, wall_s, cpu_s, memory_bytes, waited_s,"
            " estimate_s, detail from history where seq > ? order by seq limit ?",
            after,
            ROWS_AT_ONCE,
        )
        if not rows:
            return
        for row in rows:
            if row[1] == "done":
                yield row[2:]
        after = rows[-1][0]


def _add_unsuccessful(store: Store, per_class: dict[str, Figures]) -> dict[str, int]:
    """Add to each class how many attempts failed or were lost; return how many in all."""
    in_all = {"failed": 0, "lost": 0}
    rows = store.query(
        "select label, event, count(*), coalesce(sum(max(wall_s, 0)), 0) from history"
        " where event in ('failed', 'lost') group by label, event"
    )
    for label, event, count, wall_s in rows:
        entry = per_class.setdefault(label, _Samples().figures())
        entry[event] = {"count": count, "time": wall_s}
        in_all[event] += count
    return in_all


def _summary(values: Iterable[float]) -> dict[str, float] | None:
    """Return total, minimum, median, mean and maximum; None if nothing is known."""
    from statistics import median  # slow to import, and seldom asked for

    ordered = sorted(values)
    if not ordered:
        return None
    total = sum(ordered)
    return {
        "total": total,
        "min": ordered[0],
        "median": median(ordered),
        "mean": total / len(ordered),
        "max": ordered[-1],
    }


# ---- as text -----------------------------------------------------------------------------


def render(figures: Figures) -> str:
    """Return the figures as text, a line a class, at most 120 columns wide."""
    run = figures["run"]
    lines = [
        f"run: {run['total_time']:.1f} s in all; {run['count']} steps of "
        f"{figures['jobs']['count']} jobs done in {figures['workers']['count']} workers; "
        f"attempts failed: {run['failed']}, lost: {run['lost']}",
        "",
        f"{'class':<24}{'count':>8}{'failed':>8}{'lost':>6}"
        f"{'time med':>12}{'max':>12}{'clock':>12}{'wait':>12}{'memory max':>12}{'estimate':>12}",
    ]
    for label, entry in figures["classes"].items():
        lines.append(
            f"{_shown(label):<24}{entry['count']:>8}"
            f"{_unsuccessful(entry, 'failed'):>8}{_unsuccessful(entry, 'lost'):>6}"
            f"{_of(entry, 'time', 'median'):>12}{_of(entry, 'time', 'max'):>12}"
            f"{_of(entry, 'clock', 'total'):>12}{_of(entry, 'wait', 'total'):>12}"
            f"{_memory(entry):>12}{_of(entry, 'estimated', 'median'):>12}"
        )
    return "\n".join(lines)


def _shown(label: str) -> str:
    """Return a class's name so that it can do a terminal no harm."""
    return "".join(c if c.isprintable() else "?" for c in label[:23])


def _unsuccessful(entry: Figures, event: str) -> int:
    found: int = entry.get(event, {}).get("count", 0)
    return found


def _of(entry: Figures, field: str, which: str) -> str:
    found = entry[field]
    return "-" if found is None else f"{found[which]:.3g} s"


def _memory(entry: Figures) -> str:
    found = entry["memory"]
    return "unknown" if found is None else f"{found['max'] / 2**20:.0f} MiB"
