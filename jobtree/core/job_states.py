"""The colour machine: (job, event) -> the job's next state, and what is born of it. Pure.

Owns every rule by which a job changes colour; must not touch clock, file, log or scheduler.
Read next: issue_states.py, the same for issues. Begin with TABLE, at the end.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

from jobtree.core.job import Colour, Command, Job, next_attempt


class Budgets(NamedTuple):
    """What a job's budgets are refilled to."""

    retries: int
    rescues: int


class Issued(NamedTuple):
    """The job goes to the batch system."""

    epoch: int  # of the master that issues it


class StepDone(NamedTuple):
    """The current attempt's step succeeded, and its result was adopted."""

    child_count: int = 0
    child: Command | None = None  # the only child, if there is exactly one
    follow_on: Command | None = None
    goes_on: bool = False  # the worker runs the job's next step
    moves: bool = False  # outputs must be moved first: a Moved or a StepFailed follows
    has_directory: bool = False


class Moved(NamedTuple):
    """The outputs of the step that waited for it are in place."""

    done: StepDone


class StepFailed(NamedTuple):
    """The step failed by its own doing."""

    crashed: bool = False  # it took its process down
    has_directory: bool = False


class Faulted(NamedTuple):
    """The attempt was lost to something that is not the job's fault, as far as can be told."""

    isolate: bool = False  # the next one gets a process of its own, which will tell


class Exhausted(NamedTuple):
    """The step needs more than it was given: what to ask for next (0: as before)."""

    memory_bytes: int
    time_s: float


class Unstarted(NamedTuple):
    """The attempt ended before the job's next step began; nobody is charged."""


class ChildFinished(NamedTuple):
    """One of the job's children, and all below it, is finished."""


Event = Issued | StepDone | Moved | StepFailed | Faulted | Exhausted | Unstarted | ChildFinished
EVENTS: tuple[type, ...] = get_args(Event)


class Transition(NamedTuple):
    """What an event did. A DEAD job is removed, and its parent gets a ChildFinished."""

    job: Job  # as it is now
    births: int = 0  # how many children to bear below it


class ImpossibleEvent(Exception):
    """A job met an event that cannot happen in its colour: a bug, told with the job's story."""

    def __init__(self, job: Job, event: Event) -> None:
        super().__init__(
            f"job {job.id} is {job.colour.name.lower()} and met {type(event).__name__}: "
            f"this is a bug; {job} {event}"
        )


def step(job: Job, event: Event, budgets: Budgets) -> Transition:
    """Return what `event` makes of `job`. Raises ImpossibleEvent if the table lists no rule."""
    rule = TABLE[job.colour].get(type(event))
    if rule is None:
        raise ImpossibleEvent(job, event)
    return rule[1](job, event, budgets)


def first_job(job_id: int, parent: int, command: Command, budgets: Budgets) -> Job:
    """Return a newborn job."""
    return Job(
        id=job_id,
        parent=parent,
        colour=Colour.WHITE,
        stack=(command,),
        attempt=0,
        step=0,
        child_count=0,
        black_child_count=0,
        retries=budgets.retries,
        rescues=budgets.rescues,
        memory_bytes=0,
        time_s=0.0,
        isolate=False,
        has_directory=False,
    )


def _issue(job: Job, event: Issued, budgets: Budgets) -> Transition:
    attempt = next_attempt(job.attempt, event.epoch)
    return Transition(job._replace(colour=Colour.GREY, attempt=attempt))


def _finish_step(job: Job, event: StepDone, budgets: Budgets) -> Transition:
    if event.moves:
        black = job._replace(
            colour=Colour.BLACK, has_directory=job.has_directory or event.has_directory
        )
        return Transition(black)
    return _advance(job, event, budgets)


def _finish_move(job: Job, event: Moved, budgets: Budgets) -> Transition:
    return _advance(job, event.done, budgets)


def _advance(job: Job, done: StepDone, budgets: Budgets) -> Transition:
    """Pop the command that ran, push what it left, refill the budgets, and choose the colour."""
    stack = job.stack[:-1]
    if done.follow_on is not None:
        stack = (*stack, done.follow_on)
    births = done.child_count
    if done.child is not None and births == 1:
        stack = (*stack, done.child)
        births = 0
    children = job.child_count + births
    goes_on = done.goes_on and stack and not births
    colour = job.colour if goes_on else _resting(children, job.black_child_count, stack)
    # spelled out whole, as most of a job's life passes here: _replace takes three times as long
    after = Job(
        job.id,
        job.parent,
        colour,
        stack,
        job.attempt,
        job.step + 1,
        children,
        job.black_child_count,
        budgets.retries,
        budgets.rescues,
        memory_bytes=0,
        time_s=0.0,
        isolate=False,
        has_directory=job.has_directory or done.has_directory,
    )
    return Transition(after, births)


def _resting(children: int, black_children: int, stack: tuple[Command, ...]) -> Colour:
    """Return the colour of a job none of whose steps runs: blue, white or dead."""
    if black_children < children:
        return Colour.BLUE
    return Colour.WHITE if stack else Colour.DEAD


def _fail(job: Job, event: StepFailed, budgets: Budgets) -> Transition:
    job = job._replace(
        isolate=job.isolate or event.crashed,
        has_directory=job.has_directory or event.has_directory,
    )
    if job.retries > 0:
        return Transition(job._replace(colour=Colour.WHITE, retries=job.retries - 1))
    return Transition(job._replace(colour=Colour.RED))


def _fault(job: Job, event: Faulted, budgets: Budgets) -> Transition:
    job = job._replace(isolate=job.isolate or event.isolate)
    if job.rescues > 0:
        return Transition(job._replace(colour=Colour.WHITE, rescues=job.rescues - 1))
    return Transition(job._replace(colour=Colour.RED))


def _escalate(job: Job, event: Exhausted, budgets: Budgets) -> Transition:
    if job.rescues <= 0:
        return Transition(job._replace(colour=Colour.RED))
    return Transition(
        job._replace(
            colour=Colour.WHITE,
            rescues=job.rescues - 1,
            memory_bytes=max(job.memory_bytes, event.memory_bytes),
            time_s=max(job.time_s, event.time_s),
            isolate=True,
        )
    )


def _hand_back(job: Job, event: Unstarted, budgets: Budgets) -> Transition:
    return Transition(job._replace(colour=Colour.WHITE))


def _count_child(job: Job, event: ChildFinished, budgets: Budgets) -> Transition:
    black = job.black_child_count + 1
    colour = _resting(job.child_count, black, job.stack)
    return Transition(job._replace(colour=colour, black_child_count=black))


Rule = tuple[str, Callable[[Job, Any, Budgets], Transition]]

_FAILS: Rule = ("white with one retry fewer, or red", _fail)

TABLE: dict[Colour, dict[type, Rule]] = {
    Colour.WHITE: {
        Issued: ("grey, next attempt", _issue),
        StepFailed: ("red: it asks for more than it may ever get", _fail),
    },
    Colour.GREY: {
        StepDone: (
            "grey if it goes on; black while outputs move; else blue, white or dead",
            _finish_step,
        ),
        StepFailed: _FAILS,
        Faulted: ("white with one rescue fewer, or red", _fault),
        Exhausted: ("white asking for more, one rescue fewer, or red", _escalate),
        Unstarted: ("white, nobody charged", _hand_back),
    },
    Colour.BLUE: {ChildFinished: ("blue; after the last child white or dead", _count_child)},
    Colour.BLACK: {Moved: ("blue, white or dead", _finish_move), StepFailed: _FAILS},
    Colour.RED: {},
    Colour.DEAD: {},
}
"""What each event makes of each colour: a phrase for people, and the rule.

What is not listed is impossible. A restart is no event of one job: see Store.refill().
"""
