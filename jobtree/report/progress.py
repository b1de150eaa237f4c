"""Progress: what is told of a run while it goes on, and when it ends.

Owns when something is told: status file, block and lines; changes nothing of the run.
Read next: snapshot.py.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from shlex import quote

from jobtree import stats
from jobtree.core.issue_states import State
from jobtree.errors import LostTree, StoreError
from jobtree.master.run_state import RunState
from jobtree.report.console import PLAIN_ONLY, Terminal, logging_to, terminal
from jobtree.report.plain import one_line, plural
from jobtree.report.snapshot import Publisher, Slowest, Snapshot, counts_of
from jobtree.units import format_time

__all__ = ["Progress", "logging_to", "watching"]

log = logging.getLogger("jobtree")

EVERY_S = 1.0
DEAREST = 20
"""What takes long is repeated only after this many times as long."""

FIRST_LINE_S = 60.0
SPACING = 0.1
LONGEST_SPACING_S = 3600.0
"""Plain progress lines come after a minute, and then whenever a tenth of the age has passed."""

MOST_RUNNING = 300
"""With more workers than this, who is slowest would cost too much to find out."""

FAILURES_SHOWN = 10


class Progress:
    """Watches one run. turn() costs nothing to speak of while nothing is due."""

    def __init__(self, run: RunState, fresh: bool, is_ours: Callable[[], bool]) -> None:
        self._publisher = Publisher(run, is_ours)
        self._terminal: Terminal | None = terminal()
        self._began = now = run.clock.now()
        self._due = now
        self._line_due = now + FIRST_LINE_S
        self._complained = False
        log.info(
            "%s tree=%s batchSystem=%s done=%d remaining=%d",
            "started" if fresh else "restarted",
            run.directory,
            run.settings.batch_system,
            run.store.done,
            run.remaining(),
        )

    def turn(self, run: RunState) -> None:
        """Show where the run stands, if that is due; called after every turn."""
        now = run.clock.now()
        if now >= self._due:
            self.show(run, now)

    def show(self, run: RunState, now: float) -> None:
        """Show where the run stands, in each of the forms."""
        snapshot = self._publisher.take(run)
        self._publish(snapshot, now)
        if self._terminal is not None:
            self._draw(self._terminal, run, snapshot, now)
        if now >= self._line_due:
            age = now - self._began
            self._line_due = now + min(LONGEST_SPACING_S, max(FIRST_LINE_S, SPACING * age))
            log.info(progress_line(snapshot, age), extra=PLAIN_ONLY)
        after = run.clock.now()
        self._due = after + max(EVERY_S, DEAREST * (after - now))

    def finish(self, run: RunState) -> None:
        """Tell how the run ended."""
        now = run.clock.now()
        self.clear()
        if not run.remaining():
            state = "done"
        elif run.finished():
            state = "failed"
        else:
            state = "interrupted"
        snapshot = self._publisher.take(run, state)
        self._publish(snapshot, now)
        level = logging.INFO if state == "done" else logging.ERROR
        log.log(level, "%s", closing_words(snapshot, now - self._began, _still_alive(run)))
        if run.settings.stats:
            print(stats.render(stats.collect(run.store)), file=sys.stderr)  # noqa: T201

    def interrupt(self, run: RunState) -> None:
        """Leave word that the run ended before its time, as far as that can still be done."""
        self.clear()
        try:
            snapshot = self._publisher.take(run, "interrupted")
        except StoreError:
            return
        self._publisher.publish(snapshot, run.clock.now())

    def clear(self) -> None:
        """Remove the block from the terminal."""
        if self._terminal is not None:
            self._terminal.clear()

    def _publish(self, snapshot: Snapshot, now: float) -> None:
        trouble = self._publisher.publish(snapshot, now)
        if trouble and not self._complained:
            log.warning("the status file cannot be written: %s; the run goes on", trouble)
        self._complained = bool(trouble)

    def _draw(self, shown_on: Terminal, run: RunState, snapshot: Snapshot, now: float) -> None:
        from jobtree.report import block

        rows = max(0, shown_on.console.height - 6)
        slowest = _slowest(run, now)
        shown_on.draw(block.render(snapshot, now - self._began, slowest, min(rows, 12)))


@contextmanager
def watching(run: RunState, fresh: bool, is_ours: Callable[[], bool]) -> Iterator[Progress]:
    """Tell of a run from here to the end of the block, and then how it ended.

    is_ours: tells whether no other master has taken the tree.
    """
    progress = Progress(run, fresh, is_ours)
    try:
        yield progress
    except BaseException as error:
        progress.clear()
        if not isinstance(error, LostTree):  # the status file is another master's now
            progress.interrupt(run)
        raise
    progress.finish(run)


def progress_line(snapshot: Snapshot, age_s: float) -> str:
    """Return the plain line of progress."""
    counts = {name: n for name, n in counts_of(snapshot).items() if name != "moving"}
    return f"progress {' '.join(f'{name}={n}' for name, n in counts.items())} elapsed_s={age_s:.0f}"


def closing_words(snapshot: Snapshot, elapsed_s: float, alive: int) -> str:
    """Return how a run ended, and what to do now."""
    tree, done, remaining = quote(snapshot["tree"]), snapshot["done"], snapshot["remaining"]
    took = format_time(elapsed_s)
    if snapshot["state"] == "done":
        return f"all done: {plural(done, 'job')} in {took}; the tree is {tree}"
    if snapshot["state"] == "interrupted":
        going_on = f"; {plural(alive, 'batch job')} may still run" if alive else ""
        return (
            f"left after {took}: {plural(done, 'job')} done, {remaining} not{going_on}\n"
            f"    go on:         jobtree restart {tree}"
        )
    failed = snapshot["colours"]["red"]
    waiting = remaining - failed
    lines = [
        f"{plural(remaining, 'job')} of {done + remaining} not done: {failed} failed for good"
        + (f", {waiting} waiting for {'it' if failed == 1 else 'them'}" if waiting else "")
        + f" ({took})"
    ]
    shown = snapshot["failures"][:FAILURES_SHOWN]
    for entry in shown:
        lines.append(f"    job {entry['job']} {entry['class']}: {one_line(entry['why'])}")
    if failed > len(shown):
        lines.append(f"    and {failed - len(shown)} more: jobtree status --json {tree}")
    example = shown[0]["job"] if shown else "JOB"
    lines += [
        f"    see its log:   jobtree logs {example} {tree}",
        f"    try again:     jobtree restart {tree}",
    ]
    return "\n".join(lines)


def _still_alive(run: RunState) -> int:
    return sum(issue.state != State.ENDED for issue in run.issues.values())


def _slowest(run: RunState, now: float) -> dict[str, Slowest]:
    """Return, per class, which running step has taken longest."""
    running = [issue for issue in run.issues.values() if issue.state == State.RUNNING]
    if len(running) > MOST_RUNNING:
        return {}
    found: dict[str, Slowest] = {}
    for issue in running:
        start = run.mailbox.running(issue.name)
        job = None if start is None else run.store.get(start.job)
        if start is None or job is None or not job.stack or issue.started_at is None:
            continue
        lasted_s = max(0.0, now - issue.started_at - start.at_s)
        label = job.stack[-1].label
        if label not in found or lasted_s > found[label].lasted_s:
            found[label] = Slowest(job.id, issue.node, lasted_s)
    return found
