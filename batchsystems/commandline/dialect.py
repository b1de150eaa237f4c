"""Dialect: what a scheduler with commands is to supply: eight methods and some data.

Owns the shape of that, and of what a dialect may supply beside; must not hold a clock, a process
or a thread. Read next: answers.py, what parsers return; ../slurm/dialect.py; factory.py, which
makes a batch system of a dialect.
"""

from __future__ import annotations

import enum
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from batchsystems.commandline.answers import Observation, QueryResult, Rejected, Submitted, Unkilled
from batchsystems.commandline.ids import IdFormat
from batchsystems.commandline.limits import LITTLE, Limits
from batchsystems.commandline.settings import QueueSettings
from batchsystems.common.default_files import Defaults
from batchsystems.common.jobscript import job_lines
from batchsystems.interface import Resources
from batchsystems.site.sections import SchedulerSettings
from batchsystems.transport.local import Command, CommandResult


class Validation(enum.Enum):
    """What is to be done of a scheduler's check whether a submission can ever run."""

    ON = "on"
    """Submit it if the check finds nothing, where there is a check."""
    WHY = "why"
    """Submit nothing, and have the reasons told."""
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Request:
    """One submission to make."""

    name: str
    """What the scheduler is to call it."""
    command: tuple[str, ...]
    """Its element INDEX stands for the index."""
    resources: Resources
    size: int | None
    """None for a single job, else an array of so many tasks, numbered as the scheduler likes."""
    first: int
    """The index of the first task, which the command has to add to its own."""
    cwd: str
    """Absolute."""
    env: Mapping[str, str]
    """The job's environment, harmless to the scheduler's commands."""
    output: str | None = None
    avoid: tuple[str, ...] = ()
    """Nodes on which it is not to run."""
    check: Validation = Validation.ON
    given: Mapping[str, str] = field(default_factory=dict)
    """What the caller gave with the job under names that a scheduler or a node uses itself: for
    the job's command alone, whose value it is to be whatever they say."""
    private_env: str | None = None
    """See JobSpec."""

    def index(self, variable: str, first_task: int = 0) -> str:
        """Return the task's index as a word of the shell: a number, or what counts by a variable.

        variable: in which a task finds its number; first_task: that of an array's first.
        """
        if self.size is None:
            return str(self.first)
        return f'"$(({variable} + {self.first - first_task}))"'

    def lines(self, index: str, setup: Sequence[str], **more: Any) -> list[str]:
        """Return the lines of a script that run the command in its directory.

        index: see above. more: see jobscript.job_lines().
        """
        own = {"private_env": self.private_env, "given": self.given}
        return job_lines(self.command, self.cwd, index, setup=setup, **(own | more))

    def script(self, settings: SchedulerSettings, index: str, **more: Any) -> str:
        """Return the whole script, for a scheduler that asks for nothing else in one."""
        return "\n".join([f"#!{settings.shell}", *self.lines(index, settings.setup, **more), ""])


class ClusterQueries:
    """Questions about a cluster's limits, whose answers become Limits. Pure."""

    def discover(
        self, limits: Limits, tasks: int, asked: Resources = LITTLE
    ) -> tuple[Command, ...]:
        """Return what is worth asking before so many tasks that ask for this are submitted.

        Each command is run once, whatever comes of it.
        """
        return ()

    def capacity(self, limits: Limits) -> tuple[Command, ...]:
        """Return what tells how many jobs of limits.user run at once.

        They are run once in a while, for as long as anybody wants to know.
        """
        return ()

    def parse(self, command: Command, ran: CommandResult, limits: Limits) -> Limits:
        """Add what the answer to one of these tells; what cannot be read is not known."""
        return limits

    def impossible(self, asked: Resources, limits: Limits) -> str:
        """Say why a job can never run here, "" if it can or nothing is known."""
        return limits.impossible(asked)


class Dialect(ABC):
    """How one scheduler is spoken to: eight methods, data, and objects for what it alone needs.

    All of it is pure: a dialect does not change, and its parsers never raise.
    """

    name: ClassVar[str] = ""
    settings_class: ClassVar[type[Any]] = SchedulerSettings
    """What a site says of it: a dataclass whose fields declare keys (../site/fields.py)."""
    programs: ClassVar[tuple[str, ...]] = ()
    """Without these on PATH the scheduler cannot be used at all."""
    ids = IdFormat()
    arrays = True
    by_name = False
    """Whether queue() can ask for some names alone."""
    remedies: Sequence[tuple[str, str]] = ()
    """Patterns of reasons for waiting, and what the first that is found means."""
    hopeless: str = "(?!)"
    """A pattern of reasons for waiting that only a person can end."""
    memory_words: str = ""
    """A pattern of what a job's output says that was killed for its memory; {native} is its id."""

    scrubbed: tuple[str, ...] = ()
    """Prefixes of variables that an enclosing job leaves, which would act on a new one."""
    scrubbed_names: frozenset[str] = frozenset()
    """Variables of that kind whose names are too common to be told by a prefix."""
    kept: frozenset[str] = frozenset()
    """Variables of those prefixes that only say where the scheduler is, or what users wish."""
    fixed: Mapping[str, str] = {}
    """Variables that the commands are given whose answers are read."""
    node_s_own: frozenset[str] = frozenset()
    """Variables in which a job has what its node says, unless they were given with it."""

    defaults: ClassVar[UserDefaults | None] = None
    cluster: ClusterQueries = ClusterQueries()
    pending: PendingQueries | None = None
    records: AccountingRecords | None = None

    known = Limits()
    """What the settings tell of the limits."""

    def __init__(self, settings: Any = None, told: Any = None) -> None:
        self.settings = self.settings_class() if settings is None else settings
        self.told = told
        """What files of defaults ask for, as `defaults` has read them."""
        if isinstance(self.settings, QueueSettings):
            self.known = Limits(self.settings.tasks, self.settings.queues)

    @abstractmethod
    def submit(self, request: Request, limits: Limits) -> Command:
        """Return the command that submits it."""

    @abstractmethod
    def parse_submit(self, ran: CommandResult) -> Submitted | Rejected:
        """Read its answer. Whatever is not clear is Rejection.UNKNOWN or Rejection.STRANGE."""

    @abstractmethod
    def queue(self, names: Sequence[str] = ()) -> Command:
        """Return the one command that tells of all jobs of this user.

        names: of submissions of these names alone, for a dialect with by_name.
        """

    @abstractmethod
    def parse_queue(self, ran: CommandResult) -> QueryResult:
        """Read its answer."""

    @abstractmethod
    def kill(self, natives: Sequence[str]) -> Command:
        """Return the command that ends these jobs, tasks and whole arrays."""

    @abstractmethod
    def parse_kill(self, ran: CommandResult) -> Unkilled | None:
        """Return None if the request arrived, or there is nothing left to be ended."""

    def history(self, natives: Sequence[str], names: Sequence[str], since: float) -> Command | None:
        """Return the command that tells of jobs no longer queued; None if there is none.

        natives: ids of submissions, without tasks; if there are none, names: what submissions are
        called. since: epoch seconds, before which none of them was submitted.
        """
        return None

    def parse_history(self, ran: CommandResult, limits: Limits) -> QueryResult:
        """Read its answer: of several records of a job, the newest comes last."""
        return QueryResult(off=True)

    # -- what some schedulers can do beside --------------------------------------------------------

    def kill_named(self, name: str) -> Command | None:
        """Return the command that ends this user's submission of that name, None if none can."""
        return None

    def queue_after(self, mark: str) -> Command:
        """Return queue(), for a scheduler to be told that its answer with this mark was heard."""
        return self.queue()

    # -- what follows from the data ----------------------------------------------------------------

    def uses(self, name: str) -> bool:
        """Tell whether a variable of this name acts on the scheduler's commands."""
        return name in self.scrubbed_names or name.startswith(self.scrubbed or ("=",))

    def remedy(self, why: str) -> str:
        """Say in plain words what a reason for waiting means, "" if there is nothing to add."""
        return next((text for pattern, text in self.remedies if re.search(pattern, why)), "")

    def is_hopeless(self, why: str) -> bool:
        """Tell whether a job that waits for this reason will never run by itself."""
        return re.search(self.hopeless, why) is not None


# ---- what one scheduler alone needs ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a user's variables and files of defaults ask for."""

    settings: Any
    """The settings, with the user's wishes where these leave a thing open."""
    told: Any = None
    """What the dialect is to do about the rest."""
    followed: Sequence[str] = ()
    """The wishes that count for jobs, as the user is told."""
    others: Sequence[str] = ()
    """Those that do not."""


class UserDefaults(ABC):
    """Defaults of users and sites that a scheduler's commands obey. Pure."""

    @abstractmethod
    def files(self, env: Mapping[str, str]) -> Sequence[str]:
        """Return where such files may be, in the order in which they count."""

    @abstractmethod
    def read(self, settings: Any, env: Mapping[str, str], files: Sequence[Defaults]) -> Wishes:
        """Read them. Raises BatchSystemError (JT250) for what cannot be undone."""


class PendingQueries(ABC):
    """Questions why jobs wait, where the queue's answer does not say. Pure."""

    @abstractmethod
    def commands(self, natives: Sequence[str]) -> tuple[Command, ...]:
        """Return the commands that tell why these submissions wait; () if there are none."""

    @abstractmethod
    def parse(self, command: Command, ran: CommandResult) -> Mapping[str, str]:
        """Read the answer to one of them: the reason of each submission that has one."""


@dataclass(frozen=True, slots=True)
class RecordKey:
    """Whose record a line of a scheduler's file is."""

    submission: str
    name: str
    newest: float
    """The latest time in it, epoch seconds."""


class AccountingRecords(ABC):
    """A file to which a scheduler appends a line for each job that ended, or try at one. Pure."""

    path: str

    @abstractmethod
    def key(self, line: str) -> RecordKey | None:
        """Read at little cost whose line it is; None if it is no record."""

    @abstractmethod
    def parse(self, lines: Sequence[str]) -> list[Observation]:
        """Read the lines of some jobs, in the order of the file; leave out what is damaged."""

    def damaged(self, line: str) -> bool:
        """Tell whether parse() can make nothing of a job's line: that is then told."""
        return False
