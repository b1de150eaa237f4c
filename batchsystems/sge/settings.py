"""Settings: what a site or a user says of its Grid Engine, each declared once.

Owns the keys of the table [sge]. Read next: ../site/fields.py, the kinds of values.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import ClassVar

from batchsystems.commandline.settings import QueueSettings
from batchsystems.site.fields import JOINED, NAMES, SOME, TRUTH, WORD, WORDS, one_of

RESOURCE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")

_OWNED = frozenset(
    f"-{name}"
    for name in (
        *("@", "b", "c", "C", "ckpt", "clear", "cwd", "e", "h", "help", "hold_jid", "hold_jid_ad"),
        *("i", "inherit", "j", "N", "now", "o", "r", "S", "shell", "sync", "t", "tc", "terse"),
        *("V", "verify", "w", "wd", "xml"),
    )
)


def _check_resource(*names: str) -> None:
    for name in names:
        if not RESOURCE.fullmatch(name):
            raise ValueError(f"{name!r} is no resource: qconf -sc lists them")


def _check_directives(directives: tuple[str, ...]) -> None:
    for each in directives:
        try:
            words = shlex.split(each)
        except ValueError:  # a quotation is not closed
            words = []
        if not words or not words[0].startswith("-") or not _OWNED.isdisjoint(words):
            raise ValueError(
                f"not {each!r}: give options of qsub, such as -l exclusive=true; jobTree itself "
                "sets the job's name, tasks, output, directory, shell, environment and whether it "
                "is run again"
            )


@dataclass(frozen=True, slots=True)
class SgeSettings(QueueSettings):
    """Grid Engine: Sun's, Son of, Univa's, Altair's."""

    chosen: ClassVar[str] = "use_queue"

    queue: str = JOINED(
        "",
        "the only queue to use, or a list of those to choose from (default: any that fits)",
        "use_queue",
    )
    project: str = WORD("", "as qsub -P")
    pe: str = WORD(
        "",
        "the parallel environment of jobs of several processors (default: one whose "
        "allocation_rule is $pe_slots is looked for)",
    )
    memory: tuple[str, ...] = NAMES(
        ("h_vmem",),
        "the resource to ask for memory, or a list: h_vmem, mem_free, m_mem_free; [] for none",
        check=lambda names: _check_resource(*names),
    )
    memory_per: str = one_of("slot", "job")(
        "slot", "what these are counted by: the slot, or the whole job"
    )
    gpu: str = WORD("gpu", "the resource of gpus", check=_check_resource)
    concurrent: int | None = SOME(
        None, "how many tasks of one array run at once (default: all that can)", "concurrent_tasks"
    )
    check: bool = TRUTH(
        True, "have Grid Engine refuse what none of its queues could ever run (-w e)"
    )
    directives: tuple[str, ...] = WORDS(
        (), 'further options of qsub: ["-l exclusive=true"]', check=_check_directives
    )
    accounting: str = WORD(
        "", 'the accounting file (default: the cell\'s); "none" where there is none'
    )
