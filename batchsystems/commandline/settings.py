"""Settings: what those of all command-line schedulers share.

Owns the keys of queues and arrays; a scheduler's own are declared in its folder. Read next:
../site/fields.py, the kinds of values; limits.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from batchsystems.commandline.limits import Queue
from batchsystems.site.fields import SOME, tables
from batchsystems.site.sections import SchedulerSettings

QUEUES = tables(Queue)


def _each_once(queues: tuple[Queue, ...]) -> None:
    names = [queue.name for queue in queues]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"the queue {twice} stands there twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings(SchedulerSettings):
    """What a site says of a scheduler with queues and arrays."""

    chosen: ClassVar[str] = "queue"
    """The key that names the queues to use."""

    tasks: int | None = SOME(
        None, "the most tasks in one array (default: the scheduler is asked)", "array_size"
    )
    queues: tuple[Queue, ...] = QUEUES(
        (),
        "a table for each queue that jobTree is to choose from (default: the scheduler is asked, "
        "or chooses itself)",
        "queue",
        _each_once,
    )

    @classmethod
    def conflicts(cls, section: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the key, and what is wrong, of queues that are chosen and not described."""
        described = [queue.name for queue in values.get(f"{section}.queue", ())]
        key = f"{section}.{cls.chosen}"
        for name in (values.get(key) or "").split(","):
            if described and name and name not in described:
                yield key, f"no [[{section}.queue]] describes {name!r}"
