"""Section: the table [slurm] of a site file.

Owns its keys; each field is one of SlurmSettings. Loads pydantic: only the reading of a site
file imports it. Read next: tables.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from batchsystems.commandline.settings import Queues
from batchsystems.site.fields import Names, Section, Some, Truth, Word, Words, key
from batchsystems.slurm.tables import DIRECTIVES, may_be_given


def _joined(names: tuple[str, ...]) -> str:
    for name in names:
        if not name or "," in name:
            raise PydanticCustomError("name", 'write one partition, or a list: ["a", "b"]')
    return ",".join(names)


def _checked(directives: tuple[str, ...]) -> tuple[str, ...]:
    for each in directives:
        if not may_be_given(each):
            raise PydanticCustomError("directive", "{why}", {"why": f"not {each!r}: {DIRECTIVES}"})
    return directives


class SlurmSection(Section):
    """Slurm."""

    partition: Annotated[Names, AfterValidator(_joined)] = key(
        "partition",
        "",
        "the only partition to use, or a list of those to choose from (default: Slurm's own, or "
        "another where that cannot hold a job)",
    )
    account: Word = key("account", "", "as sbatch --account")
    qos: Word = key("qos", "", "as sbatch --qos")
    constraint: Word = key("constraint", "", "as sbatch --constraint")
    reservation: Word = key("reservation", "", "as sbatch --reservation")
    cluster: Word = key("cluster", "", "as sbatch --clusters: another cluster of a federation")
    gres: Word = key("gres", "gpu", "what a gpu is called: gpu, or gpu:a100")
    memory: Literal["job", "cpu", "none"] = key(
        "memory", "job", "asked for by job (--mem), by cpu, or not at all where nodes are whole"
    )
    directives: Annotated[Words, AfterValidator(_checked)] = key(
        "directives", (), 'further options of sbatch: ["--licenses=matlab:1"]'
    )
    tasks: Some | None = key(
        "array_size", None, "the most tasks in one array (default: MaxArraySize, which is asked)"
    )
    accounting: Truth = key("accounting", True, "false where there is no sacct")
    queues: Queues = key(
        "queue", (), "one [[slurm.queue]] for each partition (default: Slurm is asked)"
    )

    @classmethod
    def conflicts(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Find partitions that are chosen, but not among those described."""
        described = [queue.name for queue in values.get("slurm.queue", ())]
        for name in (values.get("slurm.partition") or "").split(","):
            if described and name and name not in described:
                yield "slurm.partition", f"no [[slurm.queue]] describes the partition {name!r}"
