"""Section: the table [sge] of a site file.

Owns its keys; each field is one of SgeSettings. Loads pydantic: only the reading of a site
file imports it. Read next: tables.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from batchsystems.commandline.settings import Queues
from batchsystems.sge.tables import DIRECTIVES, RESOURCE, may_be_given
from batchsystems.site.fields import Names, Section, Some, Truth, Word, Words, key


def _joined(names: tuple[str, ...]) -> str:
    for name in names:
        if not name or "," in name:
            raise PydanticCustomError("name", 'write one queue, or a list: ["a.q", "b.q"]')
    return ",".join(names)


def _resources(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        _resource(name)
    return names


def _resource(name: str) -> str:
    if not RESOURCE.fullmatch(name):
        said = {"name": repr(name)}
        raise PydanticCustomError("resource", "{name} is no resource: qconf -sc lists them", said)
    return name


def _checked(directives: tuple[str, ...]) -> tuple[str, ...]:
    for each in directives:
        if not may_be_given(each):
            raise PydanticCustomError("directive", "{why}", {"why": f"not {each!r}: {DIRECTIVES}"})
    return directives


class SgeSection(Section):
    """Grid Engine: Sun's, Son of, Univa's, Altair's."""

    queue: Annotated[Names, AfterValidator(_joined)] = key(
        "use_queue",
        "",
        "the only queue to use, or a list of those to choose from (default: any that fits)",
    )
    project: Word = key("project", "", "as qsub -P")
    pe: Word = key(
        "pe",
        "",
        "the parallel environment of jobs of several processors (default: one whose "
        "allocation_rule is $pe_slots is looked for)",
    )
    memory: Annotated[Names, AfterValidator(_resources)] = key(
        "memory",
        ("h_vmem",),
        "the resource to ask for memory, or a list: h_vmem, mem_free, m_mem_free; [] for none",
    )
    memory_per: Literal["slot", "job"] = key(
        "memory_per", "slot", "what these are counted by: the slot, or the whole job"
    )
    gpu: Annotated[Word, AfterValidator(_resource)] = key("gpu", "gpu", "the resource of gpus")
    concurrent: Some | None = key(
        "concurrent_tasks", None, "how many tasks of one array run at once (default: all that can)"
    )
    check: Truth = key(
        "check", True, "have Grid Engine refuse what none of its queues could ever run (-w e)"
    )
    directives: Annotated[Words, AfterValidator(_checked)] = key(
        "directives", (), 'further options of qsub: ["-l exclusive=true"]'
    )
    tasks: Some | None = key(
        "array_size", None, "the most tasks in one array (default: max_aj_tasks, which is asked)"
    )
    accounting: Word = key(
        "accounting", "", 'the accounting file (default: the cell\'s); "none" where there is none'
    )
    queues: Queues = key(
        "queue", (), "one [[sge.queue]] for each queue that jobTree is to choose from itself"
    )

    @classmethod
    def conflicts(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Find queues that are chosen, but not among those described."""
        described = [queue.name for queue in values.get("sge.queue", ())]
        for name in (values.get("sge.use_queue") or "").split(","):
            if described and name and name not in described:
                yield "sge.use_queue", f"no [[sge.queue]] describes the queue {name!r}"
