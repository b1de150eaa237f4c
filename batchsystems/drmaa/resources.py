"""What is asked of a cluster for a job, as its DRMAA library takes it. Pure.

Owns native specifications for each family of clusters; must not speak to a library.
Read next: dialect.py; ../sge/resources.py and ../slurm/resources.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from batchsystems.commandline.dialect import Request, Validation
from batchsystems.commandline.limits import Limits
from batchsystems.drmaa.settings import AMOUNT, DrmaaSettings
from batchsystems.drmaa.tables import Family
from batchsystems.interface import Resources
from batchsystems.sge import resources as sge_resources
from batchsystems.sge.settings import SgeSettings
from batchsystems.slurm import resources as slurm_resources
from batchsystems.slurm.settings import SlurmSettings


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
        checks = sge.check and request.check is not Validation.OFF
        words = ["-r", "n", "-w", "e" if checks else "n"]
        words += sge_resources.asking(sge, request, limits, sge.pe or "smp")
        words += sge.directives
    elif family.name == "slurm":
        # as slurm-drmaa reads them: these are options of sbatch, but not all are known to it
        words = ["--no-requeue", "--nodes=1", "--ntasks=1"]
        words += slurm_resources.asking(slurm, request, limits, "")
        words += slurm.directives
    words += filled(own, request.resources)
    return " ".join(words)


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
