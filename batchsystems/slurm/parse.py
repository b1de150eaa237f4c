"""Slurm's answers: the one place where Slurm's text is parsed. Pure, and never raises.

Owns what sbatch, squeue, sacct and sinfo print, as Slurm 22.05 was seen to (tests/data/slurm).
A row that is none of a job that jobTree may have submitted is skipped, whatever its shape; one
that could be costs that job alone. Read next: dialect.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from batchsystems.commandline.dialect import (
    Observation,
    Phase,
    QueryResult,
    Queue,
    Rejected,
    Rejection,
    Submitted,
    Unkilled,
)
from batchsystems.interface import JobEnd, Reason
from batchsystems.slurm.reasons import CLIENT, GONE, POLICY, REFUSALS, UNANSWERED, submitting
from batchsystems.slurm.tables import ENDS, STATES, STUCK_REASONS
from batchsystems.transport.local import CommandResult

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

HISTORY_FIELDS = "JobID,State,ExitCode,Submit,ElapsedRaw,Partition,NodeList,JobName"
NATIVE = re.compile(r"(\d{1,12})(?:_(\d{1,9}))?")
_HEAD = re.compile(r"(\d{1,12}(?:_\d{1,9})?)([+.])?")
"""How a row begins: with an id; what follows makes it a step or a part of a heterogeneous job."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


# ---- whole answers ---------------------------------------------------------------------------


def read_submission(ran: CommandResult) -> Submitted | Rejected:
    """Read sbatch's answer: one line that is an id, and exit status 0."""
    if not ran.started:
        return Rejected(Rejection.OUTAGE, ran.words())
    lines = re.findall(r"^(?:Submitted batch job )?(\d{1,12})(?:;\S*)?\n", ran.stdout, re.M)
    if ran.whole and ran.status == 0 and len(lines) == 1:
        return Submitted(lines[0])
    if not ran.whole or (ran.status or 0) < 0:
        return Rejected(Rejection.UNKNOWN, ran.words())
    if lines or ran.status == 0:
        return Rejected(Rejection.STRANGE, ran.words())
    return Rejected(_refusal(ran.stderr), ran.words())


def _refusal(said: str) -> Rejection:
    """Tell what a failure means: by the controller's answer, else by sbatch's own words."""
    answers = re.findall(r"^sbatch: error: Batch job submission failed: (.*)$", said, re.M)
    if not answers:
        return next(
            (kind for words, kind in CLIENT if re.search(words, said, re.M)), Rejection.STRANGE
        )
    answer = answers[-1]
    if answer.startswith(POLICY):
        reasons = re.findall(r"^sbatch: error: (?:Reason: )?(\w+)$", said, re.M)
        return (
            next((submitting(each) for each in reasons if submitting(each)), None)
            or Rejection.LIMIT
        )
    return next((kind for words, kind in REFUSALS if re.search(words, answer)), Rejection.REFUSED)


def read_kill(ran: CommandResult) -> Unkilled | None:
    """Read scancel's answer: a line for each job that it could not end, and for nothing else.

    Its exit status is an error number cut to 8 bits, and 0 for what is not permitted.
    """
    if not ran.whole or UNANSWERED.search(ran.stderr):
        return Unkilled(ran.words())
    told = re.findall(r"^scancel: error: Kill job error on job id (\S+): (.*)$", ran.stderr, re.M)
    spared = [(native, why) for native, why in told if not GONE.search(why)]
    if spared:
        words = "; ".join(dict.fromkeys(why for _, why in spared))
        return Unkilled(words, refused=True, natives=frozenset(native for native, _ in spared))
    if (ran.status or 0) != 0 and not told and not GONE.search(ran.stderr):
        return Unkilled(ran.words(), refused=True)
    return None


def read_queue(ran: CommandResult) -> QueryResult:
    """Read squeue's answer: complete from its heading to the end of a line."""
    if not ran.whole or ran.status != 0 or UNANSWERED.search(ran.stderr):
        return QueryResult(why=ran.words())
    lines = ran.stdout.split("\n")
    for first, line in enumerate(lines):
        for bar in ("|", ""):
            if lines[-1] == "" and _is_heading(_cells(line, bar)):
                rows = _rows(lines[first + 1 : -1], bar)
                return _listing(rows, lambda row: _queue_row(_cells(row, bar)))  # noqa: B023
    return QueryResult(why="squeue's answer is not whole")


def _is_heading(cells: list[str] | None) -> bool:
    return cells is not None and all(re.fullmatch("[A-Z_]+", cell) for cell in cells)


def _rows(lines: Sequence[str], bar: str) -> Iterator[str]:
    """Put rows together again that a line break in a job's name has broken: by their width."""
    at = 0
    while at < len(lines):
        row, end = lines[at], at + 1
        while len(row) < _width(bar) and end < len(lines):
            row, end = f"{row}\n{lines[end]}", end + 1
        whole = end == at + 1 or _cells(row, bar) is not None
        yield row if whole else lines[at]
        at = end if whole else at + 1


def _listing(lines: Iterable[str], read: Callable[[str], list[Observation] | None]) -> QueryResult:
    """Read each line; what cannot be read hides the job whose row it may be, and no other."""
    observations: list[Observation] = []
    broken: set[str] = set()
    for line in lines:
        found, head = read(line), _HEAD.match(line)
        if found is not None:
            observations += found
        elif head is None or not head[2]:
            broken.update({head[1]} if head else ())
            broken.update(w for w in re.findall(r"[^\s|]+", line) if not NATIVE.fullmatch(w))
    return QueryResult(observations, complete=True, broken=broken)


def read_history(ran: CommandResult, preemptible: Collection[str]) -> QueryResult:
    """Read sacct's answer; of a requeued job the run submitted last comes to count."""
    if re.search(r"accounting storage is disabled", ran.stderr):
        return QueryResult(off=True, why="accounting is off")
    if not ran.whole or ran.status != 0 or UNANSWERED.search(ran.stderr):
        return QueryResult(why=ran.words(), off=not ran.started)
    lines, heading = ran.stdout.split("\n"), HISTORY_FIELDS.replace(",", "|")
    if heading not in lines or lines[-1] != "":
        return QueryResult(why="sacct's answer is not whole")

    def read(line: str) -> list[Observation] | None:
        return _history_row(_history_cells(line), preemptible)

    return _listing(lines[lines.index(heading) + 1 : -1], read)


def _history_cells(line: str) -> list[str]:
    """Cut a row of sacct from both ends: a partition may have the separator in its name.

    So may the name of a job that is not ours, which is then cut from the left alone.
    """
    *front, rest = line.split("|", 5)
    back = rest.rsplit("|", 2)
    ours = len(back) == 3 and _NODES.fullmatch(back[1]) and _OURS.fullmatch(back[2])
    return [*front, *(back if ours else rest.split("|", 2))]


_NODES = re.compile(r"None assigned|[\w.-]+(?:\[[\d,-]+\])?(?:,[\w.-]+(?:\[[\d,-]+\])?)*|")
_OURS = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,62}")
"""The names that batch jobs of ours have."""


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
    pair = (int(status[1] or 0), int(status[2] or 0))
    node = nodes if re.fullmatch(r"[\w.-]+", nodes) else ""
    wall_s = float(elapsed or 0)
    evidence = f"sacct says {said} {code}"
    if word == "FAILED" and 0 < pair[0] < 128:
        evidence += f", which may stand for {pair[0] + 128}: it shows those less 128"
    if word == "FAILED" and pair == (0, 0):
        evidence += ", as it shows exit status 128"
    end = _end(word, pair, node, evidence, wall_s)
    if word == "CANCELLED" and by == "0" and partition in preemptible and end is not None:
        said = f"cancelled by root in the preemptible partition {partition}"
        end = replace(end, reason=Reason.PREEMPTED, evidence=(*end.evidence, said))
    submitted, phase = _epoch(submit), _phase(word, "")
    return [
        Observation(each, name, phase, word, "", submitted, wall_s, node, end) for each in natives
    ]


# ---- rows and cells --------------------------------------------------------------------------


def _width(bar: str) -> int:
    return sum(width + len(bar) for _, width in QUEUE_FIELDS)


def _cells(line: str, bar: str) -> list[str] | None:
    """Cut a line of squeue at its fixed widths; None if it does not fit them.

    bar: what stands behind each cell: nothing in versions that know no suffixes (19.05).
    """
    if len(line) != _width(bar):
        return None
    cells, at = [], 0
    for _, width in QUEUE_FIELDS:
        if not line.startswith(bar, at + width):
            return None
        cells.append(line[at : at + width].rstrip())
        at += width + len(bar)
    return cells


def _queue_row(cells: list[str] | None) -> list[Observation] | None:
    if cells is None:
        return None
    native, word, code, submit, used, nodes, name, why = cells
    if not NATIVE.fullmatch(native) or not re.fullmatch("[A-Z_]+", word):
        return None
    if not re.fullmatch(r"\d+(:\d+)?", code) or not _TIME.fullmatch(submit):
        return None
    if ":" in code:
        status, _, signal = code.partition(":")
        pair = (int(status), int(signal))
    else:  # the raw word of wait()
        pair = (int(code) >> 8 & 255, int(code) & 127)
    running_s = read_seconds(used)
    node = nodes if re.fullmatch(r"[\w.-]+", nodes) else ""
    end = _end(word, pair, node, f"squeue says {word} {pair[0]}:{pair[1]} {why}".strip(), running_s)
    submitted, phase = _epoch(submit), _phase(word, why)
    return [Observation(native, name, phase, word, why, submitted, running_s, node, end)]


def _phase(word: str, why: str) -> Phase:
    if word in ENDS:
        return Phase.ENDED
    if word == "PENDING" and why in STUCK_REASONS:
        return Phase.STUCK
    return STATES.get(word, Phase.UNKNOWN)


def _end(
    word: str, pair: tuple[int, int], node: str, evidence: str, wall_s: float | None
) -> JobEnd | None:
    """Return how a job ended that is in this state with this exit status and signal."""
    reason = ENDS.get(word)
    if reason is None:
        return None
    status, signal = pair
    if reason is Reason.OK and pair != (0, 0):
        reason = Reason.FAILED
    if reason is Reason.OK:
        return JobEnd(reason, 0, None, node, wall_s=wall_s, evidence=(evidence,))
    if reason is Reason.FAILED and signal == 53:
        told = "Slurm could not launch it: the directory of its output may be missing"
        return JobEnd(Reason.LAUNCH_FAILED, node=node, evidence=(evidence, told))
    if reason is Reason.FAILED:
        return JobEnd(
            reason,
            exit_status=None if signal or not status else status,
            signal=signal or None,
            node=node,
            wall_s=wall_s,
            evidence=(evidence,),
        )
    return JobEnd(reason, node=node, wall_s=wall_s, evidence=(evidence,))


def _natives(native: str) -> list[str]:
    """Return the ids a row of sacct is about: `12`, `12_3`, or all of `12_[0-4,7%2]`."""
    if NATIVE.fullmatch(native):
        return [native]
    found = re.fullmatch(r"(\d{1,12})_\[([\d,-]{1,4096})(?:%\d+)?\]", native)
    if found is None:
        return []
    natives: list[str] = []
    for part in found[2].split(","):
        ends = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
        if ends is None or int(ends[2] or ends[1]) - int(ends[1]) > 10**6:
            return []
        natives += [f"{found[1]}_{i}" for i in range(int(ends[1]), int(ends[2] or ends[1]) + 1)]
    return natives


def read_seconds(text: str) -> float | None:
    """Read `D-HH:MM:SS`, `MM:SS` and what lies between; None for anything else."""
    found = re.fullmatch(r"(?:(\d{1,6})-)?(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2})", text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(each or 0) for each in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _epoch(text: str) -> float | None:
    """Read a time that Slurm printed under TZ=UTC."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


SHAPES = "%R|%l|%c|%m|%G|%M|%P|%p|%a|%r|%B"
"""What sinfo is to tell of the nodes of each partition, a line for each shape of them."""

_SHAPE = re.compile(
    r"(?P<name>.+)\|(?P<limit>[^|]*)\|(?P<cpus>\d+)\+?\|(?P<memory>\d+)\+?\|(?P<gres>[^|]*)"
    r"\|(?P<preempts>[^|]*)\|(?P=name)(?P<default>\*?)\|(?P<tier>\d+)\|(?P<state>[^|]*)"
    r"\|(?P<root>[^|]*)\|(?P<most>[^|]*)"
)


def read_partitions(text: str, gres: str) -> tuple[Queue, ...]:
    """Read sinfo's answer; a row that cannot be read is left out.

    Where tiers differ, those of the highest are preempted by nobody. Above the default's tier jobs
    may push others out, if any can be pushed out at all.
    """
    rows = [row for line in text.splitlines() if (row := _SHAPE.fullmatch(line))]
    tiers = {int(row["tier"]) for row in rows}
    usual = min((int(row["tier"]) for row in rows if row["default"]), default=0)
    preempted = {row["name"] for row in rows if row["preempts"] not in ("OFF", "")}
    if len(tiers) > 1:
        preempted -= {row["name"] for row in rows if int(row["tier"]) == max(tiers)}
    return tuple(_partition(row, gres, usual, preempted) for row in rows)


def _partition(row: re.Match[str], gres: str, usual: int, preempted: Collection[str]) -> Queue:
    """Read a row of sinfo: the shape of some nodes of a partition."""
    pattern = rf"(?:^|,){re.escape(gres)}(?::[^:,(]+)?:(\d+)"
    cpus = int(row["cpus"])
    return Queue(
        row["name"],
        min(cpus, int(row["most"])) if re.fullmatch(r"\d{1,9}", row["most"]) else cpus,
        int(row["memory"]) * 2**20,
        sum(int(count) for count in re.findall(pattern, row["gres"])),
        read_seconds(row["limit"]),
        preferred=bool(row["default"]),
        preemptible=row["name"] in preempted,
        pushes=bool(preempted) and int(row["tier"]) > usual,
        tier=int(row["tier"]),
        closed=row["state"] != "up" or row["root"] == "yes",
    )


def close_partitions(text: str, queues: Iterable[Queue], account: str, qos: str) -> list[Queue]:
    """Return the queues, those closed that `scontrol show partition` says are not for everybody.

    One that is for some accounts or QOS is open to a user who names one of them; the default is
    open to one who names none.
    """
    told = {}
    for line in text.splitlines():
        words = dict(re.findall(r"(\w+)=(\S*)", line))
        told[words.get("PartitionName", "")] = words
    return [_closed(queue, told.get(queue.name, {}), account, qos) for queue in queues]


def _closed(queue: Queue, words: Mapping[str, str], account: str, qos: str) -> Queue:
    closed = queue.closed
    for kind, own in (("Accounts", account), ("Qos", qos)):
        allowed, denied = words.get(f"Allow{kind}", "ALL"), words.get(f"Deny{kind}", "")
        others = allowed.upper() != "ALL" and own not in allowed.split(",")
        closed = closed or (others and not (queue.preferred and not own))
        closed = closed or (own != "" and own in denied.split(","))
    few = words.get("MinNodes", "")
    closed = closed or (few.isdecimal() and int(few) > 1)
    most = words.get("MaxMemPerNode", "")
    memory_bytes = queue.memory_bytes
    if memory_bytes is not None and re.fullmatch(r"\d{1,12}", most):
        memory_bytes = min(memory_bytes, int(most) * 2**20)
    return replace(queue, closed=closed, memory_bytes=memory_bytes)
