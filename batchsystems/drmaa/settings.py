"""Section: the table [drmaa] of a site file.

Owns its keys; each field is one of DrmaaSettings. Loads pydantic: only the reading of a site
file imports it. Read next: tables.py.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from batchsystems.drmaa.tables import AMOUNTS, VARIABLE, unknown_amounts
from batchsystems.site.fields import Names, Section, Some, Truth, Word, Words, key


def _variables(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not VARIABLE.fullmatch(name):
            said = {"name": repr(name)}
            raise PydanticCustomError("variable", "{name} is no name of a variable", said)
    return names


def _amounts(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if unknown := unknown_amounts(text):
            raise PydanticCustomError("amount", "{why}", {"why": f"not {unknown}: {AMOUNTS}"})
    return texts


class DrmaaSection(Section):
    """Any cluster with a DRMAA 1.0 library; [sge] or [slurm] tells what the one behind it wants."""

    library: Word = key(
        "library", "", "the library's file (default: it is looked for; $DRMAA_LIBRARY_PATH)"
    )
    contact: Word = key(
        "contact", "", "which cluster, for a library that can reach several (default: its own)"
    )
    sge_root: Word = key("sge_root", "", "SGE_ROOT, instead of the environment's")
    sge_cell: Word = key("sge_cell", "", "SGE_CELL, instead of the environment's")
    native: Annotated[Words, AfterValidator(_amounts)] = key(
        "native",
        (),
        'further native specifications: ["--mem={memory_mib}"]; also {cpus}, {gpus}, {time_s}, '
        "{time_min}; one whose amount a job does not ask for is left out",
    )
    task_variables: Annotated[Names, AfterValidator(_variables)] = key(
        "task_variables",
        (),
        "variables in one of which a task of an array finds its number, from 1 (default: what "
        "Grid Engine, Slurm and LSF set; without any, jobs are submitted one by one)",
    )
    arrays: Truth = key("arrays", True, "submit jobs alike as arrays")
    statuses: Some = key(
        "statuses_per_look", 200, "the most jobs whose state is asked for, one by one, in one look"
    )
