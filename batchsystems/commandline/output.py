"""Output: what the end of a job's own output says of how it ended. Pure but for the reading.

Owns when that is worth a look; must not know a scheduler. Read next: reconcile.py.
"""

from __future__ import annotations

import re
from dataclasses import replace

from batchsystems.commandline.dialect import Dialect
from batchsystems.commandline.jobs import Job
from batchsystems.common.jobscript import NOT_LAUNCHED
from batchsystems.interface import JobEnd, Reason
from batchsystems.transport.local import Transport

TAIL_BYTES = 1 << 16
"""How much of the end of a job's output may be read."""


def is_doubtful(dialect: Dialect, end: JobEnd) -> bool:
    """Tell whether the output may say more of how a job ended than the scheduler does.

    Without cgroups a job killed for its memory looks as if killed by anybody.
    """
    killed = end.reason is Reason.FAILED and end.signal == 9
    return end.exit_status == NOT_LAUNCHED or (killed and bool(dialect.memory_words))


def tail_of(job: Job, transport: Transport) -> str:
    """Return the end of a job's output, "" if it cannot be read."""
    try:
        return transport.read(job.output or "", -TAIL_BYTES, TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""


def reread(dialect: Dialect, end: JobEnd, native: str, tail: str) -> JobEnd:
    """Return the end of a job whose output may say that it was killed for its memory."""
    words = dialect.memory_words.replace("{native}", re.escape(native))
    found = re.search(f"^.*{words}.*$", tail, re.M) if words else None
    if found is None:
        return end
    evidence = (*end.evidence, f"its output says: {found[0].strip()}")
    return replace(end, reason=Reason.OUT_OF_MEMORY, evidence=evidence)
