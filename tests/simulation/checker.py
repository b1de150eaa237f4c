"""The judge of a history: were the promises of docs/promises.md kept?

Owns the promises, said anew, and what must hold at the end: shares no code with the tree, the
store or the master, and reads nothing but the recorded events. Read next: evidence.py; conduct.py
and commits.py, which judge what comes before the end; test_checker.py, the histories to reject.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.simulation import commits, conduct
from tests.simulation.evidence import BLUE, RED, Data, Known, Row, Violation
from tests.simulation.world import Event


def _stuck(known: Known, data: Data) -> None:
    known.must(False, "P6", "the run does not end, though faults have stopped")


def _unswept(known: Known, data: Data) -> None:
    """At its end a run has left only what workers made that were given up long before."""
    needed = {f"bundles/{name}" for name in data["needed"]}
    left = [p for p in data["bundles"] if p not in needed | known.unkempt]
    known.must(not left, "files", f"unneeded until the last sweep: {left}")
    left = [j for j in data["directories"] if j not in known.late_directories]
    known.must(not left, "files", f"directories unneeded until the last sweep: {left}")


def _end(known: Known, data: Data) -> None:
    rows = [tuple(row) for row in data["rows"]]
    known.must(rows == known.history, "P1", "the tree's history is not what was committed")
    kept = {row[0]: Row(*row) for row in data["jobs"]}
    known.must(kept == known.jobs, "P1", "the tree's jobs are not what was committed")
    known.must(data["done"] == len(known.gone_jobs), "counts", f"{data['done']} jobs done")
    reds = [job for job, row in kept.items() if row.colour == RED]
    for row in kept.values():
        fine = row.colour == RED or (row.colour == BLUE and reds)
        known.must(bool(fine), "P6", f"the run ended with {row}")
    if not reds:
        missing = [node for node in known.steps if not known.is_settled(node)]
        known.must(not missing, "P1", f"the run ended well, but {missing} were never adopted")
    for node, which in known.adopted.items():
        if node and known.steps[node][4]:
            found = data["outputs"].get(f"output {node}")
            known.must(found == which, "P2", f"output {node} is {found}, adopted was {which}")
    known.must(not data["issues"], "P6", f"issues are left: {data['issues']}")
    known.must(not data["moves"], "P6", f"moves are left: {data['moves']}")
    known.must(not data["alive"], "P7", f"batch jobs outlive the run: {data['alive']}")
    needed = {f"bundles/{name}" for name in data["bundles"]} if kept else set()
    left = [path for path in data["files"] if path not in needed | known.late_files]
    known.must(not left, "files", f"files are left: {left}")
    stray = [j for j in data["directories"] if j not in kept and j not in known.late_directories]
    known.must(not stray, "files", f"directories of finished jobs are left: {stray}")


HEARERS: dict[str, Callable[[Known, Data], None]] = {
    "plan": conduct.plan,
    "master": conduct.master,
    "taken": conduct.taken,
    "order": conduct.order,
    "withdrawn": conduct.withdraw,
    "submitted": conduct.submitted,
    "fence": conduct.fence,
    "kill asked": Known.must_have_tree,
    "claim": conduct.claim,
    "gone": conduct.gone,
    "unseen": conduct.unseen,
    "started": conduct.started,
    "finished": conduct.finished,
    "returned": conduct.returned,
    "visible": conduct.visible,
    "pickle lost": conduct.pickle_lost,
    "directory": conduct.directory,
    "end told": conduct.end_told,
    "foreign killed": conduct.foreign_killed,
    "absence told": conduct.absence_told,
    "age told": conduct.age_told,
    "given up lives": conduct.given_up_lives,
    "finished run": conduct.finished_run,
    "not adopted": conduct.not_adopted,
    "late file": conduct.late_file,
    "unswept": _unswept,
    "commit": commits.commit,
    "moved": conduct.moved,
    "move failed": conduct.move_failed,
    "stuck": _stuck,
    "end": _end,
}


def check(history: Iterable[Event]) -> list[Violation]:
    """Return every broken promise of a history, oldest first."""
    known = Known()
    for event in history:
        known.now = event.at
        hearer = HEARERS.get(event.kind)
        if hearer is not None:
            hearer(known, event.data)
    return known.violations
