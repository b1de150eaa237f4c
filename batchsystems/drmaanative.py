"""What is asked of a cluster for a job, as its DRMAA library takes it. Pure.

Owns native specifications for each family of clusters; must not speak to a library.
Read next: drmaa.py; sgeasking.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import ceil

from batchsystems.commandline.dialect import Check, Limits, Request
from batchsystems.drmaawords import AMOUNT, DrmaaSettings, Family
from batchsystems.interface import Resources
from batchsystems.sgeasking import asking
from batchsystems.sgewords import SgeSettings
from batchsystems.slurmwords import SlurmSettings


def native_specification(
    family: Family,
    own: DrmaaSettings,
    sge: SgeSettings,
    slurm: SlurmSettings,
    request: Request,
    limits: Limits,
) -> str:
    """Return the native specification of a submission: words, none of which needs quotes."""
    words: list[str] = []
    if family.name == "sge":
        checks = sge.check and request.check is not Check.OFF
        words = ["-r", "n", "-w", "e" if checks else "n"]
        words += asking(sge, request, limits, sge.pe or "smp")
        words += sge.directives
    elif family.name == "slurm":
        words = _for_slurm(slurm, request, limits)
    words += filled(own, request.resources)
    return " ".join(words)


def _for_slurm(own: SlurmSettings, request: Request, limits: Limits) -> list[str]:
    """Return options as slurm-drmaa reads them: those of sbatch, but not all."""
    asked = request.resources
    words = ["--no-requeue", "--nodes=1", "--ntasks=1", f"--cpus-per-task={asked.cpus}"]
    if asked.memory_bytes is not None and own.memory != "none":
        shared = asked.cpus if own.memory == "cpu" else 1
        option = "--mem-per-cpu" if own.memory == "cpu" else "--mem"
        words.append(f"{option}={max(1, ceil(asked.memory_bytes / 2**20 / shared))}")
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
    elif chosen is not None:
        words.append(f"--partition={chosen.name}")
    nodes = [node for node in request.avoid if re.fullmatch(r"[\w.-]+", node)]
    if nodes:
        words.append(f"--exclude={','.join(nodes)}")
    return [*words, *own.directives]


def filled(own: DrmaaSettings, asked: Resources) -> list[str]:
    """Return the site's own native specifications, those left out whose amount is not asked."""
    amounts: Mapping[str, int | None] = {
        "cpus": asked.cpus,
        "memory_mib": None
        if asked.memory_bytes is None
        else max(1, ceil(asked.memory_bytes / 2**20)),
        "gpus": asked.gpus or None,
        "time_s": None if asked.time_s is None else max(1, ceil(asked.time_s)),
        "time_min": None if asked.time_s is None else max(1, ceil(asked.time_s / 60)),
    }
    found = []
    for text in own.native:
        needed = [amounts[name] for name in AMOUNT.findall(text)]
        if None not in needed:
            found.append(AMOUNT.sub(lambda name: str(amounts[name[1]]), text))
    return found
