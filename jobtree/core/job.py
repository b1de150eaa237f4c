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
    """its step is done"""
    RED = 4
    """its step failed; with no retries left, for good"""
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
    """What a command needs; None means the tree's default.

    memory_bytes; cpus: whole processors; gpus: whole devices; time_s: an estimate in seconds.
    """

    memory_bytes: int | None = None
    cpus: int | None = None
    gpus: int | None = None
    time_s: float | None = None

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
    """One thing to run: an element of a job's stack, or an unborn child.

    label: the Target's class, or the shell command's first word: measured run times go by it.
    text: the shell command ("" for a Target). isolate: wants a process of its own.
    """

    kind: str
    label: str
    text: str
    requirements: Requirements
    pickle: Pickle | None = None
    isolate: bool = False


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
    """One node of the tree.

    parent: 0 for the root. stack: commands, the last runs next; its index is the command's
    depth. attempt: the current one (see ATTEMPTS_PER_EPOCH), 0 before the first. step: how many
    steps have succeeded. child_count, black_child_count: born, and finished, since the start.
    retries, rescues: what is left of the user's budget, and of the one for faults that are not
    the job's. memory_bytes, time_s: what escalation raised the request to (0: not escalated).
    has_directory: a directory of its own may exist on disk.
    """

    id: int
    parent: int
    colour: Colour
    stack: tuple[Command, ...]
    attempt: int
    step: int
    child_count: int
    black_child_count: int
    retries: int
    rescues: int
    memory_bytes: int
    time_s: float
    isolate: bool
    has_directory: bool


def attempt_count(attempt: int) -> int:
    """Return which of the job's attempts this is, counted from 1: what people are shown."""
    return attempt % ATTEMPTS_PER_EPOCH


def next_attempt(attempt: int, epoch: int) -> int:
    """Return the number of the attempt after `attempt`, under the master of `epoch`."""
    return epoch * ATTEMPTS_PER_EPOCH + attempt % ATTEMPTS_PER_EPOCH + 1
