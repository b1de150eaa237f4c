"""The data of a tree: Job, Command, Requirements, Colour. Plain, frozen, no behaviour.

Must import nothing but the standard library's light modules: workers start with it.
Named tuples, because one is its own JSON array and half the size of a dataclass.
Read next: job_states.py, where a job changes colour.
"""

from enum import IntEnum
from typing import Any, NamedTuple

ATTEMPTS_PER_EPOCH = 1_000_000
"""An attempt is epoch * ATTEMPTS_PER_EPOCH + count: it only grows, across masters too."""


class Colour(IntEnum):
    """Where a job stands."""

    WHITE = 0
    """ready"""
    GREY = 1
    """issued to the batch system"""
    BLUE = 2
    """waits for its children"""
    BLACK = 3
    """its step is done, its outputs are being moved"""
    RED = 4
    """failed for good"""
    DEAD = 5
    """finished, forgotten by the tree"""


class CommandKind:
    """What a command is: how a worker runs it."""

    TARGET = "target"
    """a pickled Target"""
    SHELL = "shell"
    """an ordinary shell command"""
    PROTOCOL = "jobfile"
    """a shell command that speaks the JOB_FILE protocol"""


class Requirements(NamedTuple):
    """What a command needs; None means the tree's default."""

    memory_bytes: int | None = None
    cpus: int | None = None  # whole processors
    gpus: int | None = None  # whole devices
    time_s: float | None = None  # an estimate

    def resolve(self, defaults: "Requirements") -> "Requirements":
        """Fill what is unset from `defaults`."""
        memory_bytes, cpus, gpus, time_s = self
        return Requirements(
            defaults.memory_bytes if memory_bytes is None else memory_bytes,
            defaults.cpus if cpus is None else cpus,
            defaults.gpus if gpus is None else gpus,
            defaults.time_s if time_s is None else time_s,
        )


class Pickle(NamedTuple):
    """Where a pickled Target lies: a range of a bundle file, and the digest it must have."""

    bundle: str
    offset: int
    length: int
    digest: str


class Command(NamedTuple):
    """One thing to run: an element of a job's stack, or an unborn child."""

    kind: str  # see CommandKind
    label: str  # the Target's class, or the shell command's first word: run times go by it
    text: str  # the shell command; "" for a Target
    requirements: Requirements
    pickle: Pickle | None = None
    isolate: bool = False  # it wants a process of its own


def command_from_wire(wire: list[Any]) -> Command:
    """Rebuild a Command from the JSON array it was written as."""
    kind, label, text, requirements, where, isolate = wire
    return Command(
        kind,
        label,
        text,
        Requirements(*requirements),
        None if where is None else Pickle(*where),
        isolate,
    )


class Job(NamedTuple):
    """One node of the tree."""

    id: int
    parent: int  # 0 for the root
    colour: Colour
    stack: tuple[Command, ...]  # the last runs next; a command's index is its depth
    attempt: int  # the current one, see ATTEMPTS_PER_EPOCH; 0 before the first
    step: int  # how many steps have succeeded
    child_count: int  # born since the start
    black_child_count: int  # of these finished
    retries: int  # left of the user's budget
    rescues: int  # left of the budget for faults that are not the job's
    memory_bytes: int  # what the request was raised to; 0: not raised
    time_s: float  # the same
    isolate: bool  # its next step gets a process of its own
    has_directory: bool  # a directory of its own may exist on disk


def attempt_count(attempt: int) -> int:
    """Return which of the job's attempts this is, counted from 1: what people are shown."""
    return attempt % ATTEMPTS_PER_EPOCH


def next_attempt(attempt: int, epoch: int) -> int:
    """Return the number of the attempt after `attempt`, under the master of `epoch`."""
    return epoch * ATTEMPTS_PER_EPOCH + attempt % ATTEMPTS_PER_EPOCH + 1
