"""Section: the table [singleMachine] of a site file.

Owns its keys; each field is an option of SingleMachine. Loads pydantic: only the reading of a
site file imports it. Read next: ../site/fields.py.
"""

from __future__ import annotations

from batchsystems.site.fields import Count, Period, Section, Some, Space, key


class SingleMachineSection(Section):
    """This machine alone, for singleMachine and acidTest."""

    max_cpus: Some | None = key(
        "max_cpus", None, "processors to use (default: those this process may; --maxCpus wins)"
    )
    max_memory_bytes: Space | None = key(
        "max_memory", None, "memory to use, at most what the machine has (default: all)"
    )
    max_gpus: Count | None = key("max_gpus", None, "gpus to use (default: all)")
    grace_s: Period = key("grace", 5.0, "between asking a job to end and killing it")
