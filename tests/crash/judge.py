"""Is the tree right after all it went through? An independent look at files, rows and processes.

Owns the verdict; shares no code with the store or the master. Read next: trial.py.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from batchsystems.conformance.plugin import mentioning
from tests.crash import flow
from tests.integration.killing import processes_of, status

OWN_STATE = re.compile(
    r"jobtree\.json|tree(\.\d+)?\.db(-wal)?|environment\.(json|sh)|status\.json|control/bell|leases/\d+"
    r"|logs/j-[^/~]+|logs/failed/\d+\.\d+\.\d+"
)
"""What a finished tree consists of: its own state, and what steps printed."""

Step = tuple[int, int]


class Seen(NamedTuple):
    """A moment. adopted: the steps committed as done. started: how often each had begun."""

    adopted: set[Step]
    started: Counter[Step]


def starts(home: Path) -> tuple[Counter[Step], Counter[str]]:
    """Return how often each step began, by job and step, and by name."""
    steps: Counter[Step] = Counter()
    names: Counter[str] = Counter()
    audit = home / "audit"
    for line in audit.read_text().splitlines() if audit.exists() else ():
        _, name, job, step = line.split()
        names[name] += 1
        if job != "0":
            steps[int(job), int(step)] += 1
    return steps, names


def history(home: Path) -> dict[str, Counter[Step]]:
    """Return how often each event befell each step, from a copy: the tree's own is not touched."""
    copy = home / "copy.db"
    found: dict[str, Counter[Step]] = {"done": Counter(), "failed": Counter(), "lost": Counter()}
    databases = sorted((home / "tree").glob("tree*.db"), key=lambda path: len(path.name))
    if not databases:
        return found
    for suffix in ("", "-wal"):
        original = Path(f"{databases[-1]}{suffix}")
        if original.exists():
            shutil.copyfile(original, f"{copy}{suffix}")
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        for job, step, event in db.execute("select job, step, event from history"):
            found.setdefault(event, Counter())[job, step] += 1
    for left in home.glob("copy.db*"):
        left.unlink()
    return found


def look(home: Path) -> Seen:
    """Return what is committed and what has begun, at this moment."""
    adopted = set(history(home)["done"])
    return Seen(adopted, starts(home)[0])


def verdict(home: Path, moments: list[Seen], may_repeat: int) -> list[str]:
    """Return all that is wrong with a tree that ended; may_repeat: steps killed as they ran."""
    tree, wrong = home / "tree", []
    said = status(tree)
    if (said["state"], said["remaining"]) != ("done", 0):
        wrong.append(f"status says {said['state']}, {said['remaining']} left")
    result = home / "result"
    parts = result.read_text().split("\n") if result.exists() else []
    if parts != sorted(flow.step_names()):
        wrong.append(f"the result is wrong: {set(parts) ^ flow.step_names()}")
    for number in range(flow.PUBLISHED):
        if (home / f"published/publisher-{number}").read_text() != f"publisher-{number}":
            wrong.append(f"publisher-{number} published something else")
    events = history(home)
    steps, names = starts(home)
    for step, count in events["done"].items():
        if count > 1:
            wrong.append(f"step {step} was adopted {count} times")
    for moment in moments:
        again = {step for step in moment.adopted if steps[step] > moment.started[step]}
        if again:
            wrong.append(f"adopted steps ran again: {again}")
    for step, count in steps.items():
        known = sum(events[event][step] for event in events)
        if count > known:
            wrong.append(f"step {step} began {count} times, the tree knows of {known}")
    failures = sum(events["failed"].values())
    repeated = sum(names.values()) - len(names) - failures
    if repeated > may_repeat:
        again_names = {name for name, count in names.items() if count > 1}
        wrong.append(f"{repeated} steps were repeated, {may_repeat} may be: {again_names}")
    wrong += leftovers(home)
    return wrong


def leftovers(home: Path) -> list[str]:
    """Return the files and processes that should be gone."""
    tree = home / "tree"
    left = [str(p.relative_to(tree)) for p in tree.rglob("*") if not p.is_dir()]
    wrong = [f"left in the tree: {name}" for name in left if not OWN_STATE.fullmatch(name)]
    wrong += [f"left: {p.relative_to(tree)}/" for p in tree.glob("directories/*/*")]
    wrong += [f"left beside the tree: {p.name}" for p in home.glob("tree~*")]
    wrong += [f"left in the scratch directory: {p.name}" for p in (home / "tmp").iterdir()]
    wrong += [f"left: {p.name}" for p in (home / "published").iterdir() if "~" in p.name]
    running = processes_of(tree) or mentioning(home)
    return wrong + [f"left running: {pid} {line}" for pid, line in running.items()]
