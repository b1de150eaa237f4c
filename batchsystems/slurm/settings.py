"""Settings: what a site or a user says of its Slurm, each declared once.

Owns the keys of the table [slurm]. Read next: ../site/fields.py, the kinds of values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from batchsystems.commandline.settings import QueueSettings
from batchsystems.site.fields import JOINED, TRUTH, WORD, WORDS, one_of

_OWNED = re.compile(
    r"--(parsable|wrap|wait|test-only|array|job-name|no-requeue|requeue|output|error|input"
    r"|open-mode|chdir|export|export-file|clusters|quiet|hold|dependency)\b|-[aJoeiDMWQHd]"
)


def _check_directives(directives: tuple[str, ...]) -> None:
    for each in directives:
        if not each.startswith("-") or _OWNED.match(each):
            raise ValueError(
                f"not {each!r}: give options of sbatch as --option=value; jobTree itself sets the "
                "job's name, array, output, directory, environment and requeueing"
            )


@dataclass(frozen=True, slots=True)
class SlurmSettings(QueueSettings):
    """Slurm."""

    chosen: ClassVar[str] = "partition"

    partition: str = JOINED(
        "",
        "the only partition to use, or a list of those to choose from (default: Slurm's own, or "
        "another where that cannot hold a job)",
    )
    account: str = WORD("", "as sbatch --account")
    qos: str = WORD("", "as sbatch --qos")
    constraint: str = WORD("", "as sbatch --constraint")
    reservation: str = WORD("", "as sbatch --reservation")
    cluster: str = WORD("", "as sbatch --clusters: another cluster of a federation")
    gres: str = WORD("gpu", "what a gpu is called: gpu, or gpu:a100")
    memory: str = one_of("job", "cpu", "none")(
        "job", "asked for by job (--mem), by cpu, or not at all where nodes are whole"
    )
    directives: tuple[str, ...] = WORDS(
        (), 'further options of sbatch: ["--licenses=matlab:1"]', check=_check_directives
    )
    accounting: bool = TRUTH(True, "false where there is no sacct")
