"""Probing: what a cluster reveals of itself, as the site file to begin with.

Owns the draft of a site file, its text, and the asking; must not know a scheduler.
Read next: slurm/probe.py, the first probe; registry.py, whose BUILT_IN names them all.
"""

from __future__ import annotations

import os
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from batchsystems.errors import BatchSystemError
from batchsystems.site.writing import write_value
from batchsystems.transport.local import Command, CommandResult, Transport

if TYPE_CHECKING:
    from batchsystems.site.fields import Key

WIDTH = 99
ANSWER_S = 60.0
"""How long one question may take: a login node may be slow, its controller slower."""


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


class Probe(ABC):
    """What can be found out about one kind of batch system. Reads text; starts nothing itself."""

    programs: ClassVar[tuple[str, ...]] = ()
    """If all of them are on PATH, this kind of batch system is here."""
    scrubbed: ClassVar[tuple[str, ...]] = ()
    scrubbed_names: ClassVar[frozenset[str]] = frozenset()
    kept: ClassVar[frozenset[str]] = frozenset()
    fixed: ClassVar[Mapping[str, str]] = {}
    """As of a Dialect: what of the environment would change the answers."""

    def questions(self, user: str) -> Mapping[str, tuple[str, ...]]:
        """Return the commands to ask, each by a name; all of them only look."""
        return {}

    @abstractmethod
    def draft(self, answers: Mapping[str, CommandResult]) -> Draft:
        """Return what the answers tell. Raises Unobtainable if they tell nothing at all."""


class NoProbe(Probe):
    """Of a batch system that nobody knows how to ask."""

    def __init__(self, name: str) -> None:
        self._name = name

    def draft(self, answers: Mapping[str, CommandResult]) -> Draft:
        """Return the frame alone."""
        keys = "Its keys: `jobtree site show --schema`, or else the arguments of its class."
        return Draft(
            self._name,
            f"the batch system {self._name}",
            (Table(self._name, remarks=(keys,)),),
            unknown=(f"anything: there is no probe for {self._name}",),
        )


# ---- asking ----------------------------------------------------------------------------------


def detect(probes: Mapping[str, Probe], transport: Transport) -> list[str]:
    """Return the names of the batch systems whose programs are on PATH, in the order given."""
    known = ((name, probe.programs) for name, probe in probes.items())
    return [name for name, programs in known if programs and not transport.missing(programs)]


def look(probe: Probe, transport: Transport, user: str) -> Draft:
    """Ask a cluster all that a probe wants to know.

    Raises BatchSystemError: JT200 without the probe's programs, JT210 if nothing answers.
    """
    lacking = transport.missing(probe.programs)
    if lacking:
        raise BatchSystemError(
            f"nothing can be asked here: there is no {', no '.join(lacking)}",
            why="these commands are not on PATH",
            fix="load the site's module for it, use a submit host, or name another batch system "
            "with --batchSystem",
        )
    env = _environment(probe)
    answers = {
        name: transport.run(Command("discover", argv, env=env, cwd="/"), ANSWER_S)
        for name, argv in probe.questions(user).items()
    }
    return probe.draft(answers)


def _environment(probe: Probe) -> dict[str, str]:
    """Return the environment in which answers are as parsers expect them."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if name in probe.kept
        or not (name in probe.scrubbed_names or name.startswith(probe.scrubbed or ("=",)))
    }
    return ours | {"LC_ALL": "C", "LANG": "C", "TZ": "UTC"} | dict(probe.fixed)


# ---- writing ---------------------------------------------------------------------------------


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


def _common(python: str) -> tuple[Table, ...]:
    return (
        Table(
            "worker",
            (
                Line("python", write_value(python), "this one; nodes must have it there", False),
                Line("scratch", write_value("$TMPDIR"), live=False),
                Line("setup", '["module load python/3.11"]', live=False),
            ),
            ("What runs on a node, around the jobs.",),
        ),
        Table(
            "limits",
            (Line("max_jobs", "1000", live=False),),
            ("How much of one tree may be out at once.",),
        ),
        Table(
            "pacing",
            tuple(
                Line(key, live=False)
                for key in ("submits_per_second", "queries_per_minute", "poll_interval")
            ),
            ("How much load one tree may put on the scheduler.",),
        ),
        Table(
            "retry",
            (Line("retry_count", "1", live=False), Line("memory_cap", '"500GB"', live=False)),
            ("How often to try again, and with how much more.",),
        ),
        Table(
            "locked",
            (Line("keys", '["pacing"]', "what users may not change", False),),
            live=False,
        ),
    )


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
