"""What is asked of Grid Engine for a job, as options of qsub. Pure.

Owns how amounts become -l, -pe, -q and -P, for qsub and for the native specifications of DRMAA;
must not know either. Read next: dialect.py, ../drmaa/resources.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import ceil

from batchsystems.commandline.dialect import Request
from batchsystems.commandline.limits import Limits
from batchsystems.sge import tables
from batchsystems.sge.settings import SgeSettings


def asking(own: SgeSettings, request: Request, limits: Limits, environment: str) -> list[str]:
    """Return the options. environment: the parallel environment, should one be needed."""
    asked = request.resources
    amounts = []
    if asked.time_s is not None:
        amounts.append(f"h_rt={max(1, ceil(asked.time_s))}")
    if asked.memory_bytes is not None:
        shared = asked.cpus if own.memory_per == "slot" else 1
        mebibytes = max(1, ceil(asked.memory_bytes / 2**20 / shared))
        amounts += [f"{resource}={mebibytes}M" for resource in own.memory]
    if asked.gpus:
        amounts.append(f"{own.gpu}={asked.gpus}")
    nodes = [node for node in request.avoid if re.fullmatch(r"[\w.-]+", node)]
    if nodes:
        amounts.append(f"h=!({'|'.join(nodes)})")
    words = ["-l", ",".join(amounts)] if amounts else []
    if asked.cpus > 1:
        words += ["-pe", environment, str(asked.cpus)]
    chosen = limits.choose(asked)
    if own.queue and ("," not in own.queue or chosen is None):
        words += ["-q", own.queue]
    elif chosen is not None:
        words += ["-q", chosen.name]
    return [*words, "-P", own.project] if own.project else words


def guard_lines() -> list[str]:
    """Return what ends a script at once that is being run again, or was killed.

    A shepherd that is told to kill a job between fork and setsid reaches nobody, and ignores
    every later kill (8.1.9): what it noted in its trace is then done here.
    """
    return [
        f'[ "${{RESTARTED:-0}}" = 0 ] || exit {tables.RERUN_STATUS}',
        f'grep -q "{tables.KILL_NOTED}" "$SGE_JOB_SPOOL_DIR/trace" 2>/dev/null && kill -9 $$',
    ]


def environment_lines(
    request: Request, index: str, setup: Sequence[str], unset: Iterable[str] = tables.NOT_INHERITED
) -> list[str]:
    """Return the lines of a script that make a job's environment themselves, and run it.

    But the gpus of a job that asked for some are those it has got, and a node's own variables
    are the node's.
    """
    others = tables.SHELL_S_OWN | tables.ALLOCATED if request.resources.gpus else tables.SHELL_S_OWN
    env = {name: value for name, value in request.env.items() if name not in tables.NODE_S_OWN}
    given = {name: value for name, value in request.given.items() if name not in others}
    absent = [name for name in unset if name not in request.env]
    lines = request.lines(index, setup, unset=absent, env=env, given=given)
    return [*lines[:-1], f"{lines[-1]} </dev/null"]


def is_plain(path: str) -> bool:
    """Tell whether qsub takes a path as it is: no variable, no host before a colon, no list."""
    return re.fullmatch(r"[\w./ +=%@-]+", path) is not None
