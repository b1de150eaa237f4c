"""What is asked of Slurm for a job, as options of sbatch. Pure.

Owns how amounts become options, for sbatch and for the native specifications of DRMAA; must not
know either. Read next: dialect.py, ../drmaa/resources.py.
"""

from __future__ import annotations

import re
from math import ceil

from batchsystems.commandline.dialect import Request
from batchsystems.commandline.limits import Limits
from batchsystems.slurm.settings import SlurmSettings


def asking(own: SlurmSettings, request: Request, limits: Limits, mebibytes: str) -> list[str]:
    """Return the options. mebibytes: the unit's letter, where amounts of memory have one.

    Nodes to avoid are named without their domains, as Slurm knows them.
    """
    asked = request.resources
    words = [f"--cpus-per-task={asked.cpus}"]
    if asked.memory_bytes is not None and own.memory != "none":
        shared = asked.cpus if own.memory == "cpu" else 1
        option = "--mem-per-cpu" if own.memory == "cpu" else "--mem"
        words.append(f"{option}={max(1, ceil(asked.memory_bytes / 2**20 / shared))}{mebibytes}")
    if asked.time_s is not None:
        words.append(f"--time={max(1, ceil(asked.time_s / 60))}")
    if asked.gpus:
        words.append(f"--gres={own.gres}:{asked.gpus}")
    for name in ("account", "qos", "constraint", "reservation"):
        if getattr(own, name):
            words.append(f"--{name}={getattr(own, name)}")
    chosen = limits.choose(asked)
    if own.partition and ("," not in own.partition or chosen is None):
        words.append(f"--partition={own.partition}")
    elif chosen is not None and (own.queues or not chosen.preferred):
        words.append(f"--partition={chosen.name}")
    short = dict.fromkeys(node.partition(".")[0] for node in request.avoid)
    nodes = [node for node in short if re.fullmatch(r"[\w-]+", node)]
    return [*words, f"--exclude={','.join(nodes)}"] if nodes else words
