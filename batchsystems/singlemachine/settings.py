"""Settings: what a site says of this machine, for singleMachine and acidTest.

Owns the keys of the table [singleMachine]; each field is an option of SingleMachine. Read next:
../site/fields.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from batchsystems.site.fields import COUNT, SOME, SPACE
from batchsystems.site.sections import SchedulerSettings


@dataclass(frozen=True, slots=True)
class SingleMachineSettings(SchedulerSettings):
    """This machine alone, for singleMachine and acidTest."""

    max_cpus: int | None = SOME(
        None, "processors to use (default: those this process may; --maxCpus wins)"
    )
    max_memory_bytes: int | None = SPACE(
        None, "memory to use, at most what the machine has (default: all)", "max_memory"
    )
    max_gpus: int | None = COUNT(None, "gpus to use (default: all)")
