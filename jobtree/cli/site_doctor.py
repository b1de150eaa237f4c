"""`site doctor`: canary jobs, a table of what passed, and a remedy for what did not.

Owns the table, the JSON and the exit status; the examination is ../doctor's. Read next:
../doctor/examination.py.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from batchsystems import signals
from batchsystems.site import Site
from batchsystems.sitefiles import load_site
from jobtree.cli.main import INTERRUPTED
from jobtree.doctor.examination import Report, examine
from jobtree.doctor.grading import all_passed
from jobtree.doctor.model import CheckResult, ExaminationOptions, Grade
from jobtree.options import Settings, settings_in_force
from jobtree.report.console import is_terminal
from jobtree.report.plain import one_line, printable
from jobtree.units import parse_time
from jobtree.workflow import ended_by_signals

if TYPE_CHECKING:
    from rich.table import Table

SITE_PROBLEM = 3
QUICK_HOLD_S = 20.0
"""How long --quick holds too much memory: some schedulers take longer to see it."""

WIDTH = 100
FIRST_LINE_S, LINE_EVERY_S = 30.0, 60.0
STYLES = {
    Grade.PASSED: "green",
    Grade.WARNING: "yellow",
    Grade.FAILED: "bold red",
    Grade.SKIPPED: "dim",
}


@signals.expected()
def doctor(given: argparse.Namespace) -> int:
    """Examine the site; return 0 if all passed, 3 if not.

    Raises SiteError if the site file is wrong, BatchSystemError if nothing can be run at all.
    """
    site = load_site(given.site)
    settings = _settings(given, site)
    options = _options(given)
    _say(f"canary jobs run on {settings.batch_system}; {_how_long(given)}; Ctrl-C ends them")
    left: list[str] = []
    try:
        with ended_by_signals(_interrupt), _progress() as tell:
            report = examine(site, settings, options, tell, left.append)
    except KeyboardInterrupt:
        _say("interrupted" if left else "interrupted; no canary and no file of it is left")
        return INTERRUPTED
    finally:
        for complaint in left:
            _say(complaint)
    if given.json:
        print(json.dumps(_as_data(report, site), indent=1))
    else:
        _show(report, site)
    return 0 if all_passed(report.results) else SITE_PROBLEM


def _settings(given: argparse.Namespace, site: Site) -> Settings:
    named = {"batchSystem": given.batchSystem} if given.batchSystem else {}
    return settings_in_force(named, None, site)[0]


def _options(given: argparse.Namespace) -> ExaminationOptions:
    directory = os.path.abspath(os.path.expanduser(given.directory or "."))
    options = ExaminationOptions(directory, given.quick)
    if given.quick:
        options = options._replace(hold_memory_s=QUICK_HOLD_S)
    return options._replace(queue_s=parse_time(given.wait)) if given.wait else options


def _how_long(given: argparse.Namespace) -> str:
    return "about a minute" if given.quick else "some minutes, for the time limit is tried too"


# ---- while it lasts --------------------------------------------------------------------------


def _interrupt(_number: int) -> None:
    raise KeyboardInterrupt


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows what is waited for: always on a terminal, seldom in a log."""
    if not is_terminal():
        yield _sparse_log()
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    with console.status("") as shown:
        yield lambda text: shown.update(Text(one_line(text, max(40, console.width - 4))))


def _sparse_log() -> Callable[[str], None]:
    """Return a function that says what is waited for: first after a while, then now and then."""
    due = time.monotonic() + FIRST_LINE_S

    def tell(text: str) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            due = now + LINE_EVERY_S
            _say(text)

    return tell


def _say(text: str) -> None:
    with suppress(OSError):
        print(printable(text), file=sys.stderr)


# ---- what is shown ---------------------------------------------------------------------------


def _show(report: Report, site: Site) -> None:
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        from rich.console import Console

        Console(highlight=False).print(_table(report.results))
    else:
        print("\n".join(_plain_table(report.results)))
    print("\n".join(_below(report, site)))


def _table(results: Sequence[CheckResult]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("check", "", "what was seen"):
        table.add_column(heading, no_wrap=heading != "what was seen")
    for each in results:
        grade = Text(each.grade.value, style=STYLES[each.grade])
        table.add_row(each.check, grade, Text(one_line(each.seen, 400)))
    return table


def _plain_table(results: Sequence[CheckResult]) -> Iterator[str]:
    for each in results:
        yield f"{each.check:<16} {each.grade.value:<8} {one_line(each.seen, 400)}"


def _below(report: Report, site: Site) -> Iterator[str]:
    if report.measures:
        yield "\nmeasured"
    for name, seconds in report.measures.items():
        yield f"  {name:<40} {seconds:>8.2f} s"
    for each in report.results:
        if each.remedy:
            yield f"\n{each.check}: {each.grade.value}"
            yield from _wrapped(each.remedy)
            if each.keys:
                yield f"  in {_file(site)}: {', '.join(each.keys)}"
    grades = [each.grade for each in report.results]
    skipped, failed = grades.count(Grade.SKIPPED), grades.count(Grade.FAILED)
    also = f", {skipped} skipped" if skipped else ""
    outcome = f"{failed} failed" if failed else "all passed"
    yield f"\n{outcome}, of {len(grades)} checks{also}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        printable(text), WIDTH, initial_indent="  ", subsequent_indent="  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _file(site: Site) -> str:
    """Return where to change a key: the file that goes before all others."""
    return site.files[0] if site.files else "a site file (jobtree site init)"


def _as_data(report: Report, site: Site) -> dict[str, Any]:
    return {
        "passed": all_passed(report.results),
        "batch_system": report.system,
        "files": site.files,
        "checks": [
            {"check": each.check, "result": each.grade.value.lower(), "seen": each.seen}
            | {"remedy": each.remedy, "keys": each.keys}
            for each in report.results
        ],
        "measured_s": {name: round(s, 6) for name, s in report.measures.items()},
    }
