"""The colour machine: (job, event) -> the job's next state, and what is born of it. Pure.

Owns every rule by which a job changes colour; must not touch clock, file, log or scheduler.
Read next: issue_states.py, the same for issues. Begin with TABLE, at the end.
"""

from collections.abc import Callable
from typing import NamedTuple

from jobtree.core.job import Colour, Command, Job, next_attempt


class Budgets(NamedTuple):
    """What a job's budgets are refilled to."""

    retries: int
    rescues: int


class Issued(NamedTuple):
    """The job goes to the batch system, under the master of this epoch."""

    epoch: int


class StepDone(NamedTuple):
    """The current attempt's step succeeded, and its result was adopted.

    child: the only child, if there is exactly one. child_count: how many there are.
    goes_on: the worker runs the job's next step. moves: outputs must be moved before the tree
    may go on; a Moved or MoveFailed follows.
    """

    child_count: int = 0
    child: Command | None = None
    follow_on: Command | None = None
    goes_on: bool = False
    moves: bool = False
    has_directory: bool = False


class Moved(NamedTuple):
    """The outputs of the step that waited for it are in place."""

    done: StepDone


class StepFailed(NamedTuple):
    """The step failed by its own doing. crashed: it took its process down."""

    crashed: bool = False
    has_directory: bool = False


class Faulted(NamedTuple):
    """The attempt was lost to something that is not the job's fault, as far as can be told.

    isolate: the next one gets a process of its own, which will tell.
    """

    isolate: bool = False


class Exhausted(NamedTuple):
    """The step needs more than it was given: what to ask for next (0: as before)."""

    memory_bytes: int
    time_s: float


class Unstarted(NamedTuple):
    """The attempt ended before the job's next step began; nobody is charged."""


class ChildFinished(NamedTuple):
    """One of the job's children, and all below it, is finished."""


class Refilled(NamedTuple):
    """The run was restarted, or the user asked for another try."""


Event = (
    Issued
    | StepDone
    | Moved
    | StepFailed
    | Faulted
    | Exhausted
    | Unstarted
    | ChildFinished
    | Refilled
)

EVENTS: tuple[type, ...] = (
    Issued,
    StepDone,
    Moved,
    StepFailed,
    Faulted,
    Exhausted,
    Unstarted,
    ChildFinished,
    Refilled,
)


class Transition(NamedTuple):
    """What an event did: the job as it is now, and how many children to bear below it.

    A DEAD job is removed, and its parent gets a ChildFinished.
    """

    job: Job
    births: int = 0


class ImpossibleEvent(Exception):
    """A job met an event that cannot happen in its colour: a bug, told with the job's story."""

    def __init__(self, job: Job, event: Event) -> None:
        super().__init__(
            f"job {job.id} is {job.colour.name.lower()} and met {type(event).__name__}: "
            f"this is a bug; {job} {event}"
        )


def step(job: Job, event: Event, budgets: Budgets) -> Transition:
    """Return what `event` makes of `job`. Raises ImpossibleEvent for a cell marked so."""
    return TABLE[job.colour, type(event)][1](job, event, budgets)


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


def _impossible(job: Job, event: Event, budgets: Budgets) -> Transition:
    raise ImpossibleEvent(job, event)


def _issue(job: Job, event: Event, budgets: Budgets) -> Transition:
    assert isinstance(event, Issued)
    attempt = next_attempt(job.attempt, event.epoch)
    return Transition(job._replace(colour=Colour.GREY, attempt=attempt))


def _finish_step(job: Job, event: Event, budgets: Budgets) -> Transition:
    assert isinstance(event, StepDone)
    if event.moves:
        black = job._replace(
            colour=Colour.BLACK, has_directory=job.has_directory or event.has_directory
        )
        return Transition(black)
    return _advance(job, event, budgets)


def _finish_move(job: Job, event: Event, budgets: Budgets) -> Transition:
    assert isinstance(event, Moved)
    return _advance(job, event.done, budgets)


def _advance(job: Job, done: StepDone, budgets: Budgets) -> Transition:
    """Pop the command that ran, push what it left, refill, and settle the colour."""
    stack = job.stack[:-1]
    if done.follow_on is not None:
        stack = (*stack, done.follow_on)
    births = done.child_count
    if done.child is not None and births == 1:
        stack = (*stack, done.child)
        births = 0
    children = job.child_count + births
    goes_on = done.goes_on and stack and not births
    colour = (
        job.colour if goes_on else _colour_between_steps(children, job.black_child_count, stack)
    )
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


def _colour_between_steps(children: int, black_children: int, stack: tuple[Command, ...]) -> Colour:
    """Return the colour a black job goes on to: blue, white or dead."""
    if black_children < children:
        return Colour.BLUE
    return Colour.WHITE if stack else Colour.DEAD


def _fail(job: Job, event: Event, budgets: Budgets) -> Transition:
    assert isinstance(event, StepFailed)
    job = job._replace(
        isolate=job.isolate or event.crashed,
        has_directory=job.has_directory or event.has_directory,
    )
    if job.retries > 0:
        return Transition(job._replace(colour=Colour.WHITE, retries=job.retries - 1))
    return Transition(job._replace(colour=Colour.RED))


def _fault(job: Job, event: Event, budgets: Budgets) -> Transition:
    assert isinstance(event, Faulted)
    job = job._replace(isolate=job.isolate or event.isolate)
    if job.rescues > 0:
        return Transition(job._replace(colour=Colour.WHITE, rescues=job.rescues - 1))
    return Transition(job._replace(colour=Colour.RED))


def _escalate(job: Job, event: Event, budgets: Budgets) -> Transition:
    assert isinstance(event, Exhausted)
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


def _hand_back(job: Job, event: Event, budgets: Budgets) -> Transition:
    return Transition(job._replace(colour=Colour.WHITE))


def _count_child(job: Job, event: Event, budgets: Budgets) -> Transition:
    black = job.black_child_count + 1
    colour = _colour_between_steps(job.child_count, black, job.stack)
    return Transition(job._replace(colour=colour, black_child_count=black))


def _refill(job: Job, event: Event, budgets: Budgets) -> Transition:
    return Transition(job._replace(retries=budgets.retries, rescues=budgets.rescues))


def _revive(job: Job, event: Event, budgets: Budgets) -> Transition:
    return Transition(_refill(job, event, budgets).job._replace(colour=Colour.WHITE))


Rule = tuple[str, Callable[[Job, Event, Budgets], Transition]]

_NEVER: Rule = ("impossible", _impossible)
_REFILL: Rule = ("refill budgets, same colour", _refill)

# One row a colour, one entry an event, in the order of EVENTS.
_ROWS: dict[Colour, tuple[Rule, ...]] = {
    Colour.WHITE: (
        ("grey, next attempt", _issue),
        _NEVER,
        _NEVER,
        ("red: it asks for more than it may ever get", _fail),
        *[_NEVER] * 4,
        _REFILL,
    ),
    Colour.GREY: (
        _NEVER,
        ("grey if it goes on; black while outputs move; else blue, white or dead", _finish_step),
        _NEVER,
        ("white with one retry fewer, or red", _fail),
        ("white with one rescue fewer, or red", _fault),
        ("white asking for more, one rescue fewer, or red", _escalate),
        ("white, nobody charged", _hand_back),
        _NEVER,
        _REFILL,
    ),
    Colour.BLUE: (
        *[_NEVER] * 7,
        ("blue; after the last child white or dead", _count_child),
        _REFILL,
    ),
    Colour.BLACK: (
        _NEVER,
        _NEVER,
        ("blue, white or dead", _finish_move),
        ("white with one retry fewer, or red", _fail),
        *[_NEVER] * 4,
        _REFILL,
    ),
    Colour.RED: (
        *[_NEVER] * 8,
        ("white, budgets refilled", _revive),
    ),
    Colour.DEAD: (*[_NEVER] * 9,),
}

TABLE: dict[tuple[Colour, type], Rule] = {
    (colour, event): rule
    for colour, rules in _ROWS.items()
    for event, rule in zip(EVENTS, rules, strict=True)
}
"""What each event makes of each colour: a phrase for people, and the rule."""
