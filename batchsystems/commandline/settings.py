"""Section: a queue as a site file describes it, for the tables of all command-line schedulers.

Owns that one shape; loads pydantic, so only tables of adapters may import it. Read next:
../site/fields.py; dialect.py, whose Queue is made of it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from batchsystems.commandline.limits import Queue
from batchsystems.site.fields import Count, Period, Section, Some, Space, Truth, Word, key


class QueueTable(Section):
    """A queue or partition, and the most that one job may ask for in it."""

    name: Word = Field(alias="name", min_length=1, description="as the scheduler calls it")
    time_s: Period | None = key("max_time", None, "the longest time limit")
    memory_bytes: Space | None = key("max_memory", None, "the most memory of a node")
    cpus: Some | None = key("max_cpus", None, "the most processors of a node")
    gpus: Count | None = key("max_gpus", None, "the most gpus of a node; 0: it has none")
    preferred: Truth = key("preferred", False, "taken first by every job that fits")
    preemptible: Truth = key("preemptible", False, "taken last, and preempted jobs are reissued")


def _plain(tables: tuple[QueueTable, ...]) -> tuple[Queue, ...]:
    names = [table.name for table in tables]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PydanticCustomError("twice", "the queue {name} stands there twice", {"name": twice})
    return tuple(Queue(**table.model_dump()) for table in tables)


def _listed(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Queues = Annotated[tuple[QueueTable, ...], BeforeValidator(_listed), AfterValidator(_plain)]
"""Tables of queues, read as a tuple of dialect.Queue."""
