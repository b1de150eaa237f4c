"""What is asked of Grid Engine for a job, as options of qsub. Pure.

Owns how amounts become -l, -pe, -q and -P, for qsub and for the native specifications of DRMAA;
must not know either. Read next: dialect.py, ../drmaa/resources.py.
"""

from __future__ import annotations

import re
from math import ceil

from batchsystems.commandline.dialect import Limits, Request
from batchsystems.sge.tables import ALLOCATED, SHELL_S_OWN, SgeSettings


def known_limits(own: SgeSettings) -> Limits:
    """Return what the settings tell of queues: of those alone that may be used."""
    wanted = own.queue.split(",") if own.queue else None
    queues = tuple(each for each in own.queues if wanted is None or each.name in wanted)
    return Limits(own.tasks, queues)


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


def given_words(request: Request) -> list[str]:
    """Return what `env` sets for a job's command, so that neither node nor scheduler overrules it.

    But the gpus of a job that asked for some are those it has got.
    """
    others = SHELL_S_OWN | ALLOCATED if request.resources.gpus else SHELL_S_OWN
    return [f"{name}={value}" for name, value in request.given.items() if name not in others]
