"""Grid Engine's answers: the one place where its text is parsed. Pure, and never raises.

Owns what qsub, qstat, qalter and qconf print, and the accounting file, as Grid Engine 8.1.9 was
seen to write them (tests/data/sge). Read next: dialect.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from batchsystems.commandline.answers import (
    Observation,
    Phase,
    QueryResult,
    Rejected,
    Rejection,
    Submitted,
    Unkilled,
)
from batchsystems.commandline.dialect import RecordKey
from batchsystems.interface import JobEnd, Reason
from batchsystems.sge.accounting import cut, key_cells
from batchsystems.sge.tables import (
    BY_SIGNAL,
    FAILURES,
    KILLED,
    LATER_STATUS,
    LIMIT_ENFORCED,
    LOWER,
    NEVER,
    REFUSALS,
    RERUN,
    RERUN_STATUS,
    RESCHEDULE_STATUS,
    STATE_LETTERS,
    UNANSWERED,
    UNJUDGED,
)
from batchsystems.transport.local import CommandResult

_MOST_TASKS = 10**6


# ---- submissions -----------------------------------------------------------------------------


def read_submission(ran: CommandResult) -> Submitted | Rejected:
    """Read qsub's answer: one line that is an id, and exit status 0; or a check's judgement."""
    if not ran.started:
        return Rejected(Rejection.OUTAGE, ran.words())
    lines = re.findall(r"^(\d{1,12})(?:\.\d+-\d+:\d+)?\n", ran.stdout, re.M)
    if ran.whole and ran.status == 0 and len(lines) == 1:
        return Submitted(lines[0])
    if not ran.whole or (ran.status or 0) < 0:
        return Rejected(Rejection.UNKNOWN, ran.words())
    if lines or ran.status == 0:
        found = not lines and re.search(r"^verification: found", ran.stdout, re.M)
        return Rejected(Rejection.UNCHECKED if found else Rejection.STRANGE, ran.words())
    judged = _judgement(ran.stderr)
    if judged is not None:
        return judged
    for pattern, kind, fix in REFUSALS:
        if re.search(pattern, ran.stderr, re.M):
            later = kind in (Rejection.PERMANENT, Rejection.REFUSED) and ran.status == LATER_STATUS
            words = f"{ran.words()}: {fix}" if fix and not later else ran.words()
            return Rejected(Rejection.CROWDED if later else kind, words)
    return Rejected(Rejection.STRANGE, ran.words())


def _judgement(text: str) -> Rejected | None:
    """Read what `-w v` says of a submission, None if it says nothing."""
    if not re.search(r"^verification: no suitable queues$", text, re.M):
        return None
    reasons = re.findall(r"^(?:Unable to run job: )?Job \d+ (.+)$", text, re.M)
    if not reasons or all(UNJUDGED in reason for reason in reasons):
        return Rejected(Rejection.UNCHECKED, "its check cannot judge what is asked for")
    return Rejected(Rejection.PERMANENT, f"{NEVER}: {_some(reasons)}: {LOWER}")


def _some(reasons: Sequence[str]) -> str:
    """Return the first few reasons, and how many more there are."""
    unique = list(dict.fromkeys(reason.strip() for reason in reasons))
    more = f"; and {len(unique) - 3} more" if len(unique) > 3 else ""
    return "; ".join(unique[:3]) + more


def read_kill(ran: CommandResult) -> Unkilled | None:
    """Read qdel's answer: a line for each job or task; its exit status is of the last."""
    said = f"{ran.stdout}\n{ran.stderr}".splitlines()
    if not ran.whole or any(UNANSWERED.search(line) for line in said):
        return Unkilled("; ".join(line for line in said if line.strip()) or ran.words())
    if ran.status == 0:
        return None
    spared = [line.strip() for line in said if not KILLED.search(line)]
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
    if not ran.whole or ran.status != 0 or UNANSWERED.search(ran.stderr):
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
    tasks = _tasks(cells["tasks"]) if "tasks" in cells else [None]
    if not re.fullmatch(r"\d{1,12}", number) or not name or not word or tasks is None:
        return None
    submitted, started = (
        _epoch(cells.get(tag)) for tag in ("JB_submission_time", "JAT_start_time")
    )
    if submitted is None and started is None and "tickets" not in cells:
        return None  # with the defaults of `qstat -ext` no time is shown
    node = cells.get("queue_name", "").partition("@")[2]
    phase, why = _phase(word)
    return [
        Observation(
            number if task is None else f"{number}.{task}",
            name,
            phase,
            word,
            why,
            submitted,
            node=node,
            started=started,
        )
        for task in tasks
    ]


def _phase(word: str) -> tuple[Phase, str]:
    """Return what a state's letters mean together, and why such a job waits.

    What is on its way to a host (t) counts as running: on a host that is lost it stays so.
    """
    if word.strip(STATE_LETTERS):
        return Phase.UNKNOWN, ""
    if "E" in word:
        return Phase.STUCK, ""
    if "q" in word or "w" in word:
        return Phase.WAITING, f"it is held ({word})" if "h" in word else ""
    if set(word) & set("sSTP"):
        return Phase.SUSPENDED, ""
    return (Phase.RUNNING, "") if set(word) & set("rt") else (Phase.UNKNOWN, "")


def _tasks(text: str) -> list[int | None] | None:
    """Unfold `3-6:1`, `4,6,9` and the like; None if it is nothing of that kind."""
    tasks: list[int | None] = []
    for part in text.split(","):
        found = re.fullmatch(r"([1-9]\d{0,8})(?:-([1-9]\d{0,8})(?::([1-9]\d{0,8}))?)?", part)
        if found is None:
            return None
        first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
        if (last - first) // step + len(tasks) > _MOST_TASKS:
            return None
        tasks += range(first, last + 1, step)
    return tasks


def _epoch(text: str | None) -> float | None:
    """Read a time that qstat printed under TZ=UTC; a fraction of a second is no matter."""
    try:
        told = datetime.fromisoformat((text or "").removesuffix("Z"))
    except ValueError:
        return None
    return told.replace(tzinfo=UTC).timestamp() if told.tzinfo is None else None


# ---- accounting ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Record:
    """One line of accounting: one run of a job or task, or a try at one."""

    native: str
    name: str
    node: str
    submitted: float
    started: float
    ended: float
    failed: int
    status: int
    wall_s: float
    cpu_s: float
    vmem_bytes: int
    used: bool
    category: str


def record_key(line: str) -> RecordKey | None:
    """Read whose line of accounting it is; None for comments and what is no record."""
    cells = key_cells(line)
    if cells is None or not re.fullmatch(r"\d{1,12}", cells[5]):
        return None
    times = [_time(cell) for cell in cells[8:11]]
    if None in times:
        return None
    return RecordKey(cells[5], cells[4], max(time for time in times if time is not None))


def is_damaged(line: str) -> bool:
    """Tell whether a line that has a key is no record that could be read."""
    return cut(line) is None


def read_records(lines: Sequence[str], virtual: bool) -> list[Observation]:
    """Read what accounting says of jobs that have left the queue, of each the last word.

    virtual: whether memory is counted as accounting does: address space, not what is resident.
    """
    runs: dict[tuple[str, str], list[_Record]] = {}
    for line in lines:
        record = _record(line)
        if record is not None:  # a name, too, as ids are used again
            runs.setdefault((record.native, record.name), []).append(record)
    return [_verdict(records, virtual) for records in runs.values()]


def _verdict(records: Sequence[_Record], virtual: bool) -> Observation:
    """Judge a job by its last record; by the one before if the last is of a mere rerun."""
    last = records[-1]
    if last.failed == 0 and last.status == RERUN_STATUS:
        last = next((each for each in records if each.failed in RERUN), last)
    submitted = max(each.submitted for each in records)
    word = f"failed {last.failed}, exit status {last.status}"
    return Observation(
        last.native,
        last.name,
        Phase.ENDED,
        word,
        submitted=submitted or None,
        running_s=last.wall_s,
        node=last.node,
        end=_end(last, virtual),
    )


def _record(line: str) -> _Record | None:
    key, cells = record_key(line), cut(line)
    if key is None or cells is None or cells[41] != "NONE":
        return None  # 41: a part of a parallel job; its master has a record of its own
    numbers = [_number(cells[i]) for i in (11, 12, 13, 14, 15, 21, 35, 36, 42)]
    times = [_time(cell) for cell in cells[8:11]]
    if None in numbers or not re.fullmatch(r"[\w.-]+", cells[1]):
        return None
    failed, status, wall_s, user_s, system_s, faults, task, cpu_s, vmem = (
        number or 0.0 for number in numbers
    )
    submitted, started, ended = (time or 0.0 for time in times)
    if status > 255 or any(number != int(number) for number in (failed, status, task)):
        return None
    return _Record(
        f"{key.submission}.{task:.0f}" if task else key.submission,
        key.name,
        cells[1],
        submitted,
        started,
        ended,
        int(failed),
        int(status),
        wall_s,
        cpu_s,
        int(vmem),
        any((wall_s, user_s, system_s, faults, cpu_s)),
        cells[39],
    )


def _end(record: _Record, virtual: bool) -> JobEnd:
    """Return how a job ended, by `failed` and `exit_status` together: both count."""
    text = FAILURES[record.failed][0] if record.failed in FAILURES else "not known"
    said = f"failed {record.failed} ({text})" if record.failed else "failed 0"
    evidence = f"accounting says {said}, exit status {record.status} on {record.node}"
    reason, status, signal, more = _outcome(record)
    return JobEnd(
        reason,
        status,
        signal,
        record.node,
        memory_bytes=record.vmem_bytes or None if virtual else None,
        cpu_s=record.cpu_s if record.used else None,
        wall_s=record.wall_s if record.used else None,
        evidence=(evidence, more) if more else (evidence,),
    )


_Outcome = tuple[Reason, int | None, int | None, str]
"""Reason, exit status, signal, and what else is to be said."""


def _outcome(record: _Record) -> _Outcome:
    failed, status = record.failed, record.status
    if failed == 0 and status == 0 and not record.used:
        more = "nothing was used: a forced deletion leaves such a record"
        return Reason.ENDED, None, None, more
    if failed == 0:
        return (Reason.FAILED if status else Reason.OK), status, None, ""
    if failed == LIMIT_ENFORCED:
        reason, more = _limit(record)
        return reason, None, 9, more
    if failed in BY_SIGNAL and status > 128:
        return Reason.FAILED, None, status - 128, ""
    reason = FAILURES[failed][1] if failed in FAILURES else Reason.ENDED
    if reason is Reason.PREEMPTED and status == RESCHEDULE_STATUS:
        more = "with which a job asks Grid Engine to run it again; it was not run again"
        return Reason.FAILED, status, None, more
    if reason is Reason.PREEMPTED and not record.ended:
        return Reason.NODE_FAILED, None, None, "its host was lost"
    if reason is Reason.FAILED:
        return (reason, status, None, "") if status else (Reason.ENDED, None, None, "")
    return reason, None, None, ""


def _limit(record: _Record) -> tuple[Reason, str]:
    """Tell which limit was enforced, from what the job had asked for and used."""
    asked = re.search(r"\bh_rt=(\d{1,9}(?::\d{1,9}){0,3})", record.category)
    if asked is None and "h_vmem=" not in record.category:
        return Reason.FAILED, "it had asked for no limit: it was one of its queue's"
    limit_s = _duration(asked[1]) if asked else None
    if limit_s is not None and record.wall_s >= limit_s:
        return Reason.TIME_LIMIT, f"it ran {record.wall_s:.0f} s of {limit_s:.0f} s"
    return Reason.OUT_OF_MEMORY, f"it used {record.vmem_bytes} bytes, and its time was not up"


def _duration(text: str) -> float:
    """Read seconds, or hours, minutes and seconds."""
    seconds = 0.0
    for part in text.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,18}(?:\.\d{1,9})?", text) else None


def _time(text: str) -> float | None:
    """Read a time of accounting, in seconds or, as some versions write it, milliseconds."""
    if not re.fullmatch(r"\d{1,13}", text):
        return None
    return int(text) / 1000 if len(text) == 13 else float(text)


# ---- reasons for waiting ---------------------------------------------------------------------


def read_details(ran: CommandResult) -> Mapping[str, str]:
    """Read `qstat -j`: what is said of why each job waits, or what put it into error."""
    found: dict[str, str] = {}
    for section in re.split(r"^=+\n", ran.stdout if ran.whole else "", flags=re.M):
        number = re.search(r"^job_number:\s+(\d{1,12})$", section, re.M)
        if number is None:
            continue
        errors = re.findall(
            r"^error reason\s+\d+:\s+(?:\S+ \S+ \[\d+:\d+\]: )?(.+)$", section, re.M
        )
        reasons = errors or sorted(_scheduling(section), key=_generality)
        if reasons:
            found[number[1]] = _some(reasons)
    return found


def _scheduling(section: str) -> Iterator[str]:
    """Return the lines of the scheduler's own reasons, if it collects them."""
    info = re.search(r"^scheduling info:[ \t]+(.+(?:\n[ \t]+.+)*)", section, re.M)
    for line in info[1].split("\n") if info else ():
        if "information is turned off" not in line:
            yield line.strip()


def _generality(reason: str) -> bool:
    """Tell whether a reason is the cell's rather than the job's: the job's are told first."""
    return re.search(r"^queue instance|^All queues dropped", reason) is not None


def read_checks(ran: CommandResult) -> Mapping[str, str]:
    """Read `qalter -w v`: the jobs that no queue could ever run, even if all were idle."""
    reasons: dict[str, list[str]] = {}
    said = f"{ran.stdout}\n{ran.stderr}" if ran.whole else ""
    for number, reason in re.findall(r"^Job (\d{1,12}) (.+)$", said, re.M):
        reasons.setdefault(number, []).append(reason)
    return {
        number: f"{NEVER}: {_some(told)}"
        for number, told in reasons.items()
        if not all(UNJUDGED in reason for reason in told)
    }
