"""The block of progress on a terminal, redrawn once a second.

Owns its lines; decides no numbers. Read next: progress.py, which shows it.
"""

from __future__ import annotations

from rich.text import Text

from jobtree.report.plain import one_line
from jobtree.report.snapshot import Slowest, Snapshot, counts_of
from jobtree.units import format_time

BAR = 40
NAME = 24


def render(snapshot: Snapshot, elapsed_s: float, slowest: dict[str, Slowest], rows: int) -> Text:
    """Return the block: at most `rows` lines of classes, none wrapped."""
    name = snapshot["tree"].rpartition("/")[2]
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(one_line(name, 60), style="bold")
    text.append(f"  {snapshot['batch_system']}   elapsed {format_time(elapsed_s)}\n")
    _counts(text, snapshot)
    done, known = snapshot["done"], snapshot["done"] + snapshot["remaining"]
    filled = BAR * done // known if known else BAR
    text.append(f"  [{'#' * filled}{'-' * (BAR - filled)}]  {done} of {known} jobs known so far")
    classes = snapshot["classes"]
    live = {label: classes.get(label, {"done": 0, "mean_s": None}) for label in slowest}
    shown = live | dict(sorted(classes.items(), key=lambda item: -item[1]["done"]))
    if shown and rows > 1:
        text.append(f"\n  {'class':<{NAME}}{'done':>9}{'mean':>9}   slowest running", style="dim")
    for label in list(shown)[: max(0, rows - 1)]:
        mean = shown[label]["mean_s"]
        text.append(
            f"\n  {one_line(label, NAME - 1):<{NAME}}{shown[label]['done']:>9}"
            f"{'-' if mean is None else format_time(mean):>9}"
        )
        if label in slowest:
            job, node, lasted_s = slowest[label]
            text.append(f"   job {job}  {one_line(node, 20)}  {format_time(lasted_s)}")
    return text


def _counts(text: Text, snapshot: Snapshot) -> None:
    for name, count in counts_of(snapshot).items():
        if count or name not in ("moving", "failed"):
            style = "bold red" if name == "failed" else ""
            text.append(f"  {name} {count}", style=style)
    text.append("\n")
