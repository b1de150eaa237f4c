"""Grid Engine's accounting file: how jobs ended. Pure, and never raises.

Owns what a record says, as Grid Engine 8.1.9 was seen to write it (tests/data/sge); where one field
of a line ends and the next begins is accounting_lines.py's. Read next: dialect.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from batchsystems.commandline.answers import Observation, Phase
from batchsystems.commandline.dialect import AccountingRecords, RecordKey
from batchsystems.interface import JobEnd, Reason
from batchsystems.sge import tables
from batchsystems.sge.accounting_lines import cut, key_cells
from batchsystems.sge.settings import SgeSettings


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


class SgeRecords(AccountingRecords):
    """The cell's accounting file, to which qmaster appends.

    Accounting counts memory as h_vmem does: address space, not what is resident.
    """

    def __init__(self, settings: SgeSettings) -> None:
        self.path = settings.accounting
        self._virtual = any(name.endswith("vmem") for name in settings.memory)

    def key(self, line: str) -> RecordKey | None:
        """Read whose line it is; None for comments and what is no record."""
        cells = key_cells(line)
        if cells is None or not re.fullmatch(r"\d{1,12}", cells[5]):
            return None
        times = [_time(cell) for cell in cells[8:11]]
        if None in times:
            return None
        return RecordKey(cells[5], cells[4], max(time for time in times if time is not None))

    def damaged(self, line: str) -> bool:
        """Tell whether a line that has a key is no record that could be read."""
        return cut(line) is None

    def parse(self, lines: Sequence[str]) -> list[Observation]:
        """Read what accounting says of jobs that have left the queue, of each the last word."""
        runs: dict[tuple[str, str], list[_Record]] = {}
        for line in lines:
            record = _record(line, self.key(line))
            if record is not None:  # a name, too, as ids are used again
                runs.setdefault((record.native, record.name), []).append(record)
        return [_verdict(records, self._virtual) for records in runs.values()]


def _verdict(records: Sequence[_Record], virtual: bool) -> Observation:
    """Judge a job by its last record; by the one before if the last is of a mere rerun."""
    last = records[-1]
    if last.failed == 0 and last.status == tables.RERUN_STATUS:
        last = next((each for each in records if each.failed in tables.RERUN), last)
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


def _record(line: str, key: RecordKey | None) -> _Record | None:
    cells = cut(line)
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
    text = tables.FAILURES[record.failed][0] if record.failed in tables.FAILURES else "not known"
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
    if failed == tables.LIMIT_ENFORCED:
        reason, more = _limit(record)
        return reason, None, 9, more
    if failed in tables.BY_SIGNAL and status > 128:
        return Reason.FAILED, None, status - 128, ""
    reason = tables.FAILURES[failed][1] if failed in tables.FAILURES else Reason.ENDED
    if reason is Reason.PREEMPTED and status == tables.RESCHEDULE_STATUS:
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
