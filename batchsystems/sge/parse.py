"""Grid Engine's answers: the one place where text about jobs is parsed. Pure, and never raises.

Owns what qsub, qstat and qdel print, as Grid Engine 8.1.9 was seen to (tests/data/sge). Read
next: dialect.py; accounting.py, pending.py and cluster.py, answers to other questions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree as ET

from batchsystems.commandline import reading
from batchsystems.commandline.answers import (
    Observation,
    Phase,
    QueryResult,
    Rejected,
    Rejection,
    Submitted,
    Unkilled,
)
from batchsystems.commandline.ids import IdFormat
from batchsystems.commandline.reading import epoch, first_match, ranges
from batchsystems.sge import tables
from batchsystems.transport.local import CommandResult

IDS = IdFormat(".", first_task=1)


# ---- submissions -----------------------------------------------------------------------------


def read_submission(ran: CommandResult) -> Submitted | Rejected:
    """Read qsub's answer: one line that is an id, and exit status 0; or a check's judgement."""
    return reading.read_submission(ran, r"(\d{1,12})(?:\.\d+-\d+:\d+)?", _judge)


def _judge(ran: CommandResult, has_id: bool) -> Rejected:
    if has_id or ran.status == 0:
        found = not has_id and re.search(r"^verification: found", ran.stdout, re.M)
        return Rejected(Rejection.UNCHECKED if found else Rejection.STRANGE, ran.words())
    if re.search(r"^verification: no suitable queues$", ran.stderr, re.M):
        reasons = re.findall(r"^(?:Unable to run job: )?Job \d+ (.+)$", ran.stderr, re.M)
        if not reasons or all(tables.UNJUDGED in reason for reason in reasons):
            return Rejected(Rejection.UNCHECKED, "its check cannot judge what is asked for")
        return Rejected(Rejection.PERMANENT, f"{tables.NEVER}: {some(reasons)}: {tables.LOWER}")
    kind, fix = first_match(tables.REFUSALS, ran.stderr, (Rejection.STRANGE, ""))
    if kind in (Rejection.PERMANENT, Rejection.REFUSED) and ran.status == tables.LATER_STATUS:
        return Rejected(Rejection.CROWDED, ran.words())
    return Rejected(kind, f"{ran.words()}: {fix}" if fix else ran.words())


def some(reasons: Sequence[str]) -> str:
    """Return the first few reasons, and how many more there are."""
    unique = list(dict.fromkeys(reason.strip() for reason in reasons))
    more = f"; and {len(unique) - 3} more" if len(unique) > 3 else ""
    return "; ".join(unique[:3]) + more


def read_kill(ran: CommandResult) -> Unkilled | None:
    """Read qdel's answer: a line for each job or task; its exit status is of the last."""
    said = f"{ran.stdout}\n{ran.stderr}".splitlines()
    if not ran.whole or any(tables.UNANSWERED.search(line) for line in said):
        return Unkilled("; ".join(line for line in said if line.strip()) or ran.words())
    if ran.status == 0:
        return None
    spared = [line.strip() for line in said if not tables.KILLED.search(line)]
    if not spared:
        return None
    told = [re.search(r'job(?:-array task)? "?(\d{1,12})', line) for line in spared]
    natives = frozenset(each[1] for each in told if each)
    return Unkilled("; ".join(spared[:3]), True, natives if all(told) else frozenset())


# ---- the queue -------------------------------------------------------------------------------


def read_queue(ran: CommandResult) -> QueryResult:
    """Read `qstat -xml`; what is not a whole document of jobs is no complete answer.

    An entry that cannot be read hides the job whose it may be, and no other.
    """
    if not ran.whole or ran.status != 0 or tables.UNANSWERED.search(ran.stderr):
        return QueryResult(why=ran.words())
    if re.search(r"<!(DOCTYPE|ENTITY)", ran.stdout):
        return QueryResult(why="qstat's answer is none of its own")
    entries = _entries(_UNPRINTABLE.sub("\ufffd", ran.stdout))
    if isinstance(entries, str):
        return QueryResult(why=f"qstat's answer is {entries}")
    observations: list[Observation] = []
    broken: set[str] = set()
    for entry in entries:
        found = _entry(entry) if isinstance(entry, ET.Element) else None
        if found is not None:
            observations += found
        elif isinstance(entry, str):  # not even its marks can be relied on
            broken.update(re.findall(r"[^\s<>]+", entry))
        else:
            broken.update((each.text or "").strip() for each in entry if each.tag in _MARKS)
    return QueryResult(observations, complete=True, broken=broken)


_MARKS = ("JB_job_number", "JB_name")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&#x?[01]?[0-9a-fA-F];")
"""What a name may have in it and a document may not."""


def _entries(text: str) -> list[ET.Element | str] | str:
    """Return the entries of a document, as text where one is broken; or what is wrong with all.

    A name with letters that should have been written otherwise breaks its entry alone, so long
    as each entry has its beginning and its end.
    """
    try:
        root = ET.fromstring(text)  # noqa: S314 - it declares no entities
    except ET.ParseError as error:
        pieces = re.split(r"<job_list\b([^<]*>.*?)</job_list>", text, flags=re.S)
        between = ["".join(pieces[0::2]), *pieces[1::2]]
        if any("<job_list" in piece or "</job_list" in piece for piece in between):
            return f"not whole: {error}"
        outside = _entries(between[0]) if len(between) > 1 else f"not whole: {error}"
        return outside if isinstance(outside, str) else [_piece(each) for each in between[1:]]
    if root.tag != "job_info" or [child.tag for child in root] != ["queue_info", "job_info"]:
        return "no list of jobs"
    for queue in root.iter("Queue-List"):  # with the defaults of `qstat -f`
        for entry in queue.iter("job_list"):
            ET.SubElement(entry, "queue_name").text = queue.findtext("name")
    return list(root.iter("job_list"))


def _piece(text: str) -> ET.Element | str:
    try:
        return ET.fromstring(f"<job_list{text}</job_list>")  # noqa: S314 - it declares no entities
    except ET.ParseError:
        return text


def _entry(entry: ET.Element) -> list[Observation] | None:
    """Read one job, one running task, or some waiting tasks of an array."""
    cells = {child.tag: child.text or "" for child in entry}
    number, name, word = (cells.get(tag, "") for tag in ("JB_job_number", "JB_name", "state"))
    tasks = ranges(cells.get("tasks", "1"))
    if not re.fullmatch(r"\d{1,12}", number) or not name or not word or not tasks or 0 in tasks:
        return None
    natives = [IDS.join(number, task - 1) for task in tasks] if "tasks" in cells else [number]
    times = (cells.get(tag, "") for tag in ("JB_submission_time", "JAT_start_time"))
    submitted, started = map(epoch, times)
    if submitted is None and started is None and "tickets" not in cells:
        return None  # with the defaults of `qstat -ext` no time is shown
    node = cells.get("queue_name", "").partition("@")[2]
    phase = _phase(word)
    why = f"it is held ({word})" if phase is Phase.WAITING and "h" in word else ""
    seen = Observation("", name, phase, word, why, submitted, node=node, started=started)
    return [replace(seen, native=native) for native in natives]


def _phase(word: str) -> Phase:
    """Return what a state's letters mean together; of several the first in the table counts."""
    if word.strip(tables.STATE_LETTERS):
        return Phase.UNKNOWN
    found = (phase for letters, phase in tables.STATES if set(word) & set(letters))
    return next(found, Phase.UNKNOWN)
