"""Settings: what a site or a user says of its DRMAA library, each declared once.

Owns the keys of the table [drmaa]. Read next: ../site/fields.py, the kinds of values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from batchsystems.site.fields import NAMES, SOME, TRUTH, WORD, WORDS
from batchsystems.site.sections import SchedulerSettings

AMOUNT = re.compile(r"\{([^{}]*)\}")
_AMOUNTS = ("cpus", "memory_mib", "gpus", "time_s", "time_min")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _check_amounts(texts: tuple[str, ...]) -> None:
    for each in (each for text in texts for each in AMOUNT.findall(text)):
        if each not in _AMOUNTS:
            raise ValueError(f"not {{{each}}}: in braces may stand: {', '.join(_AMOUNTS)}")


def _check_variables(names: tuple[str, ...]) -> None:
    for name in names:
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a variable")


@dataclass(frozen=True, slots=True)
class DrmaaSettings(SchedulerSettings):
    """Any cluster with a DRMAA 1.0 library; [sge] or [slurm] tells what the one behind it wants."""

    library: str = WORD("", "the library's file (default: it is looked for; $DRMAA_LIBRARY_PATH)")
    contact: str = WORD(
        "", "which cluster, for a library that can reach several (default: its own)"
    )
    sge_root: str = WORD("", "SGE_ROOT, instead of the environment's")
    sge_cell: str = WORD("", "SGE_CELL, instead of the environment's")
    native: tuple[str, ...] = WORDS(
        (),
        'further native specifications: ["--mem={memory_mib}"]; also {cpus}, {gpus}, {time_s}, '
        "{time_min}; one whose amount a job does not ask for is left out",
        check=_check_amounts,
    )
    task_variables: tuple[str, ...] = NAMES(
        (),
        "variables in one of which a task of an array finds its number, from 1 (default: what "
        "Grid Engine, Slurm and LSF set; without any, jobs are submitted one by one)",
        check=_check_variables,
    )
    arrays: bool = TRUTH(True, "submit jobs alike as arrays")
    statuses: int = SOME(
        200,
        "the most jobs whose state is asked for, one by one, in one look",
        "statuses_per_look",
    )
