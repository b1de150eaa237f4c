"""Draft: a site file to begin with, and its text. Pure.

Owns the tables that every draft has, and how it is written; must not know a scheduler, nor ask.
Read next: ../probe.py, whose answers a draft is made of.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from batchsystems.site.sections import SECTIONS
from batchsystems.site.writing import write_value

if TYPE_CHECKING:
    from batchsystems.site.fields import Key

WIDTH = 99


class Line(NamedTuple):
    """A key of a site file.

    value: as it is written there; "" for the key's default. why: what speaks for it; None for
    what the key means. live: False writes it as a comment, an example or what holds without it.
    """

    key: str
    value: str = ""
    why: str | None = None
    live: bool = True


class Table(NamedTuple):
    """A table of a site file. name: `slurm`, or `slurm.queue[]` for one of several."""

    name: str
    lines: tuple[Line, ...] = ()
    remarks: tuple[str, ...] = ()
    live: bool = True


class Draft(NamedTuple):
    """A site file to be. about: the cluster, in words; unknown: what it did not reveal."""

    batch_system: str
    about: str
    tables: tuple[Table, ...] = ()
    remarks: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


PACKED = Table(
    "jobs",
    (
        Line(
            "job_time",
            '"10m"',
            "short jobs share batch jobs up to this: centres ask for 10 to 30 minutes",
        ),
    ),
    ("What jobs get.",),
)
"""What every cluster likes: few batch jobs, and none that is over at once."""


def write_draft(draft: Draft, keys: Mapping[str, Key], python: str, when: str) -> str:
    """Return the text of the site file. keys: the schema's; python: the path of this one."""
    lines = _head(draft, when)
    lines += ["", "schema = 1", f"batch_system = {write_value(draft.batch_system)}"]
    for table in _with_common(draft.tables, python):
        lines += ["", *_table(table, keys)]
    return "\n".join(lines) + "\n"


def _head(draft: Draft, when: str) -> list[str]:
    said = (
        f"{draft.about}, as a site file of jobTree, written by `jobtree site init` on {when} from "
        "what was to be found out. A line that begins with # is a remark, an example, or what "
        "holds without it. After changes: `jobtree site check FILE`, then `jobtree site doctor "
        "--site FILE`. All keys: `jobtree site show --schema`."
    )
    lines = _comment(said[0].upper() + said[1:])
    for remark in draft.remarks:
        lines += ["#", *_comment(remark)]
    if draft.unknown:
        lines += ["#", "# Not found out:"]
        for each in draft.unknown:
            lines += _comment(each, "# - ", "#   ")
    return lines


def _with_common(tables: Iterable[Table], python: str) -> Iterator[Table]:
    """Yield the tables of a draft, and those that every site file should show."""
    common = {table.name: table for table in _common(python)}
    for table in tables:
        keys = {line.key for line in table.lines}
        more = common.pop(table.name).lines if table.name in common else ()
        yield table._replace(lines=(*table.lines, *(m for m in more if m.key not in keys)))
    yield from common.values()


def _common(python: str) -> Iterator[Table]:
    lines = {
        "worker": (
            Line("python", write_value(python), "this one; nodes must have it there", False),
            Line("scratch", write_value("$TMPDIR"), live=False),
            Line("setup", '["module load python/3.11"]', live=False),
        ),
        "limits": (Line("max_jobs", "1000", live=False),),
        "pacing": tuple(
            Line(key, live=False)
            for key in ("submits_per_second", "queries_per_minute", "poll_interval")
        ),
        "retry": (
            Line("retry_count", "1", live=False),
            Line("memory_cap", '"500GB"', live=False),
        ),
    }
    yield from (Table(name, each, (SECTIONS[name],)) for name, each in lines.items())
    lock = Line("keys", '["pacing"]', "what users may not change", False)
    yield Table("locked", (lock,), live=False)


def _table(table: Table, keys: Mapping[str, Key]) -> Iterator[str]:
    for remark in table.remarks:
        yield from _comment(remark)
    name = table.name
    head = f"[[{name.removesuffix('[]')}]]" if name.endswith("[]") else f"[{name}]"
    yield head if table.live else f"# {head}"
    for line in table.lines:
        yield from _line(line, keys.get(f"{name}.{line.key}"), table.live)


def _line(line: Line, about: Key | None, live: bool) -> list[str]:
    value = line.value or (about.written if about else "")
    why = (about.meaning if about else "") if line.why is None else line.why
    text = f"{'' if live and line.live else '# '}{line.key} = {value}"
    beside = f"{text:<30} # {_flat(why)}"
    if not why:
        return [text]
    return [beside] if len(beside) <= WIDTH else [*_comment(why), text]


def _comment(text: str, first: str = "# ", more: str = "# ") -> list[str]:
    return textwrap.wrap(
        _flat(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=more,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _flat(text: str) -> str:
    """Return text that can stand in a comment: on one line, without control characters."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
