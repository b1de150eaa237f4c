"""Slurm's answers: the one place where text about jobs is parsed. Pure, and never raises.

Owns what sbatch, squeue, sacct and scancel print, as Slurm 22.05 was seen to (tests/data/slurm).
A row that is none of a job that jobTree may have submitted is skipped, whatever its shape; one
that could be costs that job alone. Read next: dialect.py; cluster.py, answers about partitions.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import replace

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
from batchsystems.commandline.reading import first_match, fixed_rows
from batchsystems.interface import JobEnd, Reason
from batchsystems.slurm import tables
from batchsystems.transport.local import CommandResult

IDS = IdFormat("_", first_task=0)

QUEUE_FIELDS = (
    ("JobArrayID", 24),
    ("State", 16),
    ("exit_code", 12),
    ("SubmitTime", 20),
    ("TimeUsed", 14),
    ("NodeList", 40),
    ("Name", 80),
    ("Reason", 120),
)
"""Field and width; squeue pads and cuts to it, so that a damaged row shows."""

LAUNCH_SIGNAL = 53
"""What sacct gives as the signal of a job that Slurm could not launch."""

HISTORY_FIELDS = "JobID,State,ExitCode,Submit,ElapsedRaw,Partition,NodeList,JobName"

_HEAD = re.compile(r"(\d{1,12}(?:_\d{1,9})?)([+.])?")
"""How a row begins: with an id; what follows makes it a step or a part of a heterogeneous job."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_NODES = re.compile(r"None assigned|[\w.-]+(?:\[[\d,-]+\])?(?:,[\w.-]+(?:\[[\d,-]+\])?)*|")
_OURS = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,62}")
"""The names that batch jobs of ours have."""


def read_submission(ran: CommandResult) -> Submitted | Rejected:
    """Read sbatch's answer: one line that is an id, and exit status 0."""
    return reading.read_submission(ran, r"(?:Submitted batch job )?(\d{1,12})(?:;\S*)?", _judge)


def _judge(ran: CommandResult, has_id: bool) -> Rejected:
    """Tell what a failure means: by the controller's answer, else by sbatch's own words."""
    said = ran.stderr
    answers = re.findall(r"^sbatch: error: Batch job submission failed: (.*)$", said, re.M)
    if has_id or ran.status == 0:
        kind = Rejection.STRANGE
    elif not answers:
        kind = first_match(tables.CLIENT, said, Rejection.STRANGE)
    elif answers[-1].startswith(tables.POLICY):
        reasons = re.findall(r"^sbatch: error: (?:Reason: )?(\w+)$", said, re.M)
        kinds = (first_match(tables.LIMITS, reason, None) for reason in reasons)
        kind = next((each for each in kinds if each), Rejection.LIMIT)
    else:
        kind = first_match(tables.REFUSALS, answers[-1], Rejection.REFUSED)
    return Rejected(kind, ran.words())


def read_kill(ran: CommandResult) -> Unkilled | None:
    """Read scancel's answer: a line for each job that it could not end, and for nothing else.

    Its exit status is an error number cut to 8 bits, and 0 for what is not permitted.
    """
    if not ran.whole or tables.UNANSWERED.search(ran.stderr):
        return Unkilled(ran.words())
    told = re.findall(r"^scancel: error: Kill job error on job id (\S+): (.*)$", ran.stderr, re.M)
    spared = [(native, why) for native, why in told if not tables.GONE.search(why)]
    if spared:
        words = "; ".join(dict.fromkeys(why for _, why in spared))
        return Unkilled(words, refused=True, natives=frozenset(native for native, _ in spared))
    if (ran.status or 0) != 0 and not told and not tables.GONE.search(ran.stderr):
        return Unkilled(ran.words(), refused=True)
    return None


def read_queue(ran: CommandResult) -> QueryResult:
    """Read squeue's answer: complete from its heading to the end of a line.

    Versions that know no suffixes (19.05) print no bar behind a cell.
    """
    if not ran.whole or ran.status != 0 or tables.UNANSWERED.search(ran.stderr):
        return QueryResult(why=ran.words())
    for bar in ("|", ""):
        rows = fixed_rows(ran.stdout, [width for _, width in QUEUE_FIELDS], bar)
        for _, heading in rows:
            if heading and all(re.fullmatch("[A-Z_]+", cell) for cell in heading):
                if ran.stdout.endswith("\n"):
                    return _result((row, _queue_row(cells)) for row, cells in rows)
                break
    return QueryResult(why="squeue's answer is not whole")


def read_history(ran: CommandResult, preemptible: Collection[str]) -> QueryResult:
    """Read sacct's answer; of a requeued job the run submitted last comes to count."""
    if re.search(r"accounting storage is disabled", ran.stderr):
        return QueryResult(off=True, why="accounting is off")
    if not ran.whole or ran.status != 0 or tables.UNANSWERED.search(ran.stderr):
        return QueryResult(why=ran.words(), off=not ran.started)
    lines, heading = ran.stdout.split("\n"), HISTORY_FIELDS.replace(",", "|")
    if heading not in lines or lines[-1] != "":
        return QueryResult(why="sacct's answer is not whole")
    rows = lines[lines.index(heading) + 1 : -1]
    return _result((row, _history_row(_history_cells(row), preemptible)) for row in rows)


def _result(rows: Iterable[tuple[str, list[Observation] | None]]) -> QueryResult:
    """Take what was read of each row; what was not hides the job whose row it may be, no other."""
    observations: list[Observation] = []
    broken: set[str] = set()
    for row, found in rows:
        head = _HEAD.match(row)
        if found is not None:
            observations += found
        elif head is None or not head[2]:
            broken.update({head[1]} if head else ())
            broken.update(w for w in re.findall(r"[^\s|]+", row) if IDS.split(w) is None)
    return QueryResult(observations, complete=True, broken=broken)


def _queue_row(cells: list[str] | None) -> list[Observation] | None:
    if cells is None:
        return None
    native, word, code, submit, used, nodes, name, why = cells
    if IDS.split(native) is None or not re.fullmatch("[A-Z_]+", word):
        return None
    if not re.fullmatch(r"\d+(:\d+)?", code) or not _TIME.fullmatch(submit):
        return None
    status, colon, signal = code.partition(":")
    pair = int(status), int(signal or 0)
    if not colon:  # the raw word of wait()
        pair = int(code) >> 8 & 255, int(code) & 127
    said = f"squeue says {word} {pair[0]}:{pair[1]} {why}".strip()
    submitted, phase = reading.epoch(submit), _phase(word, why)
    ran_s, node = reading.seconds(used), _node(nodes)
    seen = Observation(native, name, phase, word, why, submitted, ran_s, node)
    return [replace(seen, end=_end(seen, pair, said))]


def _history_cells(line: str) -> list[str]:
    """Cut a row of sacct from both ends: a partition may have the separator in its name.

    So may the name of a job that is not ours, which is then cut from the left alone.
    """
    *front, rest = line.split("|", 5)
    back = rest.rsplit("|", 2)
    ours = len(back) == 3 and _NODES.fullmatch(back[1]) and _OURS.fullmatch(back[2])
    return [*front, *(back if ours else rest.split("|", 2))]


def _history_row(cells: list[str], preemptible: Collection[str]) -> list[Observation] | None:
    if len(cells) != HISTORY_FIELDS.count(",") + 1:
        return None
    native, said, code, submit, elapsed, partition, nodes, name = cells
    word, _, by = said.partition(" by ")
    status = re.fullmatch(r"(\d+):(\d+)|", code)
    natives = _natives(native)
    if not natives or status is None or not re.fullmatch("[A-Z_]+", word):
        return None
    if not _TIME.fullmatch(submit) or not re.fullmatch(r"\d*", elapsed):
        return None
    pair = int(status[1] or 0), int(status[2] or 0)
    evidence = f"sacct says {said} {code}"
    if word == "FAILED" and 0 < pair[0] < 128:
        evidence += f", which may stand for {pair[0] + 128}: it shows those less 128"
    if word == "FAILED" and pair == (0, 0):
        evidence += ", as it shows exit status 128"
    submitted, phase, ran_s = reading.epoch(submit), _phase(word, ""), float(elapsed or 0)
    seen = Observation("", name, phase, word, "", submitted, ran_s, _node(nodes))
    end = _end(seen, pair, evidence)
    if word == "CANCELLED" and by == "0" and partition in preemptible and end is not None:
        said = f"cancelled by root in the preemptible partition {partition}"
        end = replace(end, reason=Reason.PREEMPTED, evidence=(*end.evidence, said))
    return [replace(seen, native=each, end=end) for each in natives]


def _natives(native: str) -> list[str]:
    """Return the ids a row of sacct is about: `12`, `12_3`, or all of `12_[0-4,7%2]`."""
    if IDS.split(native) is not None:
        return [native]
    found = re.fullmatch(r"(\d{1,12})_\[([\d,-]{1,4096})(?:%\d+)?\]", native)
    tasks = reading.ranges(found[2]) if found else None
    return [IDS.join(found[1], task) for task in tasks] if found and tasks else []


def _phase(word: str, why: str) -> Phase:
    if word == "PENDING" and why in tables.STUCK_REASONS:
        return Phase.STUCK
    return Phase.ENDED if word in tables.ENDS else tables.STATES.get(word, Phase.UNKNOWN)


def _node(nodes: str) -> str:
    """Return the one node that is named, "" if it is none or several."""
    return nodes if re.fullmatch(r"[\w.-]+", nodes) else ""


def _end(seen: Observation, pair: tuple[int, int], said: str) -> JobEnd | None:
    """Return how a job ended that was seen with this exit status and signal."""
    reason, (status, signal) = tables.ENDS.get(seen.word), pair
    if reason is None:
        return None
    end = JobEnd(reason, node=seen.node, wall_s=seen.running_s, evidence=(said,))
    if reason is Reason.OK and pair == (0, 0):
        return replace(end, exit_status=0)
    if reason not in (Reason.OK, Reason.FAILED):
        return end
    if signal == LAUNCH_SIGNAL:
        told = "Slurm could not launch it: the directory of its output may be missing"
        return JobEnd(Reason.LAUNCH_FAILED, node=seen.node, evidence=(said, told))
    exited = None if signal or not status else status
    return replace(end, reason=Reason.FAILED, exit_status=exited, signal=signal or None)
