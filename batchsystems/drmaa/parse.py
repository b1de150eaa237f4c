"""What the process with a DRMAA session answers, and what that means. Pure, and never raises.

Owns the reading of acceptances, refusals, states and ends. Read next: session/session.py,
which writes them; tables.py, the tables.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping
from typing import Any

from batchsystems.commandline.answers import (
    Observation,
    Phase,
    QueryResult,
    Rejected,
    Rejection,
    Submitted,
    Unkilled,
)
from batchsystems.common.jobscript import NOT_LAUNCHED
from batchsystems.drmaa.session.job_info import ON_ERROR
from batchsystems.drmaa.session.journal import submission_of
from batchsystems.drmaa.tables import DENIALS, ERRORS, LATER, PHASES, UNREACHED
from batchsystems.interface import JobEnd, Reason
from batchsystems.transport.local import CommandResult

ENFORCED = (signal.SIGKILL, signal.SIGTERM, signal.SIGXCPU, signal.SIGUSR1, signal.SIGUSR2)
"""By these a cluster ends what exceeds a limit."""


def read_submission(ran: CommandResult) -> Submitted | Rejected:
    """Read the answer to a submission; of an array the id without its tasks."""
    if not ran.whole:
        return Rejected(Rejection.UNKNOWN, ran.words())
    if ran.status == 0:
        try:
            (key,) = json.loads(ran.stdout)["keys"]
        except (ValueError, KeyError, TypeError):
            return Rejected(Rejection.UNKNOWN, "its answer cannot be read")
        return Submitted(submission_of(key))
    words = _words(ran)
    kind = ERRORS.get(ran.stdout, Rejection.STRANGE)
    if kind is Rejection.STRANGE and (
        LATER.search(words) or re.search("time[d-]? ?out|failure", words)
    ):
        kind = Rejection.UNKNOWN
    if ran.stdout == "DrmCommunicationException" and UNREACHED.search(words):
        kind = Rejection.OUTAGE
    if kind is Rejection.PERMANENT and ran.stdout == "DeniedByDrmException":
        for pattern, denial, fix in DENIALS:
            if re.search(pattern, words):
                return Rejected(denial, f"{words}: {fix}" if fix else words)
        if LATER.search(words):
            return Rejected(Rejection.OUTAGE, words)
    return Rejected(kind, words)


def _words(ran: CommandResult) -> str:
    """Return what went wrong, for people: without the number of the library's error."""
    return re.sub(r"^code \d+: ", "", ran.words())


def read_kill(ran: CommandResult) -> Unkilled | None:
    """Read what came of a kill."""
    if ran.whole and ran.status == 0:
        return None
    refused = ran.whole and ERRORS.get(ran.stdout) is Rejection.PERMANENT
    return Unkilled(_words(ran), refused)


def read_poll(ran: CommandResult) -> QueryResult:
    """Read where all jobs are; the number of the answer is its mark.

    Of a job of which it says what cannot be read nothing was learnt; there is then no mark, so
    that what it says of ends is said again.
    """
    if not ran.whole or ran.status != 0:
        return QueryResult(why=_words(ran))
    try:
        said = json.loads(ran.stdout)
        jobs, number = list(said["jobs"]), int(said["number"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        return QueryResult(why=f"its answer cannot be read: {error!r}")
    observations: list[Observation] = []
    broken: set[str] = set()
    for job in jobs:
        try:
            observations.append(_observation(job))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            marks = job if isinstance(job, Mapping) else {}
            broken.update(str(marks.get(mark, "")) for mark in ("key", "name"))
    mark = "" if broken else str(number)
    return QueryResult(observations, complete=True, broken=broken, mark=mark)


def _observation(job: Mapping[str, Any]) -> Observation:
    key, name, word, at = str(job["key"]), str(job["name"]), str(job["state"]), float(job["at"])
    if "end" in job:
        end = read_end(job["end"])
        return Observation(key, name, Phase.ENDED, str(job["end"]["how"]), submitted=at, end=end)
    phase = PHASES.get(word, Phase.UNKNOWN) if word else Phase.WAITING
    why = "" if phase is Phase.RUNNING or word == "queued_active" else word
    return Observation(key, name, phase, word, why, submitted=at, started=job.get("started"))


# ---- ends ------------------------------------------------------------------------------------


def read_end(end: Mapping[str, Any]) -> JobEnd:
    """Return how a job ended. A record alone is no success beyond what the library says."""
    usage = _numbers(end.get("usage") or {})
    reason, status, number, evidence = _outcome(end, usage)
    wall_s = _wall(usage)
    memory = int(usage.get("maxvmem", 0.0)) or None
    return JobEnd(
        reason,
        status,
        number,
        memory_bytes=memory,
        cpu_s=usage.get("cpu") if wall_s is not None else None,
        wall_s=wall_s,
        evidence=(evidence,),
    )


_Outcome = tuple[Reason, int | None, int | None, str]


def _outcome(end: Mapping[str, Any], usage: Mapping[str, float]) -> _Outcome:
    how, killed = end.get("how"), bool(end.get("killed"))
    status = int(usage.get("exit_status", 0))
    if how == "exit":
        return _exited(int(end["status"]))
    if how == "signal":
        number = _signal(str(end.get("signal")))
        limit = _limit(end, usage) if number is None or number in ENFORCED else None
        if limit and not killed:
            return limit[0], None, number, limit[1]
        return Reason.FAILED, None, number, f"DRMAA says: ended by {end.get('signal')}"
    if how == "aborted":
        return _aborted(end, usage, killed, status)
    if how == "stuck" and status == ON_ERROR:
        said = "DRMAA says: aborted; it exited with 100, on which its cluster holds it in error"
        return Reason.FAILED, ON_ERROR, None, f"{said}: it was deleted there"
    if how == "stuck":
        said = "DRMAA says: aborted, and it stayed in the queue in error: it was deleted there"
        return Reason.LAUNCH_FAILED, None, None, f"{said}; its directory may not be on the node"
    if killed:
        return Reason.CANCELLED, None, None, "its end had been asked for, and it is gone"
    if how == "vanished":
        said = "DRMAA tells of its end, and nothing else: what is deleted while it waits ends so"
        return Reason.ENDED, None, None, said
    said = "the cluster does not know it any more, and DRMAA has no record of how it ended"
    return Reason.ENDED, None, None, said


def _exited(status: int) -> _Outcome:
    said = f"DRMAA says: exited with {status}"
    if status == NOT_LAUNCHED:
        more = "its directory or output file was not there on the node, or its command was not"
        return Reason.LAUNCH_FAILED, status, None, f"{said}: {more}"
    return (Reason.FAILED if status else Reason.OK), status, None, said


def _aborted(
    end: Mapping[str, Any], usage: Mapping[str, float], killed: bool, status: int
) -> _Outcome:
    """Judge what was ended from outside: by whom is not told."""
    if killed:
        return Reason.CANCELLED, None, None, "DRMAA says: aborted; its end had been asked for"
    limit = _limit(end, usage)
    if limit:
        return limit[0], None, int(signal.SIGKILL), limit[1]
    said = "DRMAA says: aborted; somebody, or a limit of its queue, has ended it"
    return Reason.CANCELLED, None, status - 128 if 128 < status < 193 else None, said


def _limit(end: Mapping[str, Any], usage: Mapping[str, float]) -> tuple[Reason, str] | None:
    """Tell which limit a job that was ended had reached, None if neither."""
    time_s, memory, wall_s = end.get("time_s"), end.get("memory_bytes"), _wall(usage)
    if time_s and wall_s is not None and wall_s >= time_s:
        return Reason.TIME_LIMIT, f"it was ended after {wall_s:.0f} s of {time_s:.0f} s"
    used = usage.get("maxvmem", 0.0)
    if memory and used >= 0.95 * memory:
        return Reason.OUT_OF_MEMORY, f"it was ended; it had used {used:.0f} of {memory} bytes"
    return None


def _wall(usage: Mapping[str, float]) -> float | None:
    began, ended = usage.get("start_time", 0.0), usage.get("end_time", 0.0)
    if 0 < began <= ended:
        return ended - began
    return usage.get("ru_wallclock") or None


def _numbers(usage: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for name, text in usage.items():
        if re.fullmatch(r"\d{1,18}(\.\d{1,9})?", str(text)):
            found[name] = float(text)
    return found


def _signal(name: str) -> int | None:
    try:
        return int(signal.Signals[name])
    except KeyError:
        return None
