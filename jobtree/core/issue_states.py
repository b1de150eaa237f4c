"""The issue machine: what becomes of one batch job as news of it arrives. Pure.

Owns the states of an issue and what must be done at each change; must not touch clock, file,
log or scheduler. Read next: rescue.py, which decides when to act. Begin with TABLE, at the end.
"""

from enum import IntEnum
from typing import NamedTuple


class State(IntEnum):
    """Where an issue stands."""

    SUBMITTING = 0
    """its intent is committed; the scheduler may not have heard of it"""
    AMBIGUOUS = 1
    """the submission timed out: it may or may not have been accepted"""
    QUEUED = 2
    """the scheduler has it"""
    RUNNING = 3
    """a worker has claimed it"""
    PUBLISHED = 4
    """its worker has written all its results; the scheduler has not said it ended"""
    VANISHED = 5
    """absent from a complete answer, with no results"""
    KILLING = 6
    """its end was asked for, and its worker fenced"""
    ENDED = 7
    """nothing of it runs or counts any more"""


class News(IntEnum):
    """What can be learnt of an issue, or decided about it."""

    ACCEPTED = 0
    """the scheduler gave it an id"""
    REFUSED = 1
    """the scheduler will not take it, now or ever"""
    UNSURE = 2
    """the submission got no clear answer"""
    CLAIMED = 3
    """a worker has begun it"""
    PUBLISHED = 4
    """the worker's last line was read"""
    PRESENT = 5
    """the scheduler lists it"""
    ABSENT = 6
    """a complete answer of the scheduler does not list it"""
    ENDED = 7
    """the scheduler says how it ended"""
    OVERDUE = 8
    """the grace of the present state is over"""
    KILL = 9
    """someone wants it ended"""


class Action(IntEnum):
    """What the master must do when an issue changes state."""

    KEEP_ID = 0
    """record the scheduler's id"""
    COLLECT = 1
    """read the results to their end, adopt, and charge what is left of the pack"""
    RELEASE = 2
    """nothing of it is to run: adopt what it may have written, give its jobs back"""
    FENCE = 3
    """keep its worker from starting or publishing anything more"""
    KILL = 4
    """ask the scheduler to end it"""
    TIDY = 5
    """its files are needed no more"""


class Change(NamedTuple):
    """The next state, and what to do, in this order."""

    state: State
    actions: tuple[Action, ...] = ()


def advance(state: State, news: News) -> Change:
    """Return what `news` makes of an issue in `state`. Never raises: every cell is filled."""
    return TABLE[state, news]


_FENCE_KILL = (Action.FENCE, Action.KILL)
_COLLECT = (Action.COLLECT, Action.TIDY)

_S = State
_STAYS: dict[State, Change] = {state: Change(state) for state in State}
_KEPT = Change(_S.QUEUED, (Action.KEEP_ID,))
_RUNS = Change(_S.RUNNING)
_DONE = Change(_S.PUBLISHED, (Action.COLLECT,))
_GONE = Change(_S.VANISHED)
_OVER = Change(_S.ENDED, _COLLECT)
_REFUSED = Change(_S.ENDED, (Action.FENCE, Action.RELEASE, Action.TIDY))
_KILLED = Change(_S.KILLING, _FENCE_KILL)
_LOST = Change(_S.ENDED, (Action.FENCE, Action.KILL, Action.COLLECT, Action.TIDY))
_CLOSED = Change(_S.ENDED, (Action.TIDY,))

# One row a state, one entry a piece of news, in the order of News:
# accepted, refused, unsure, claimed, published, present, absent, ended, overdue, kill.
_ROWS: dict[State, tuple[Change, ...]] = {
    _S.SUBMITTING: (
        _KEPT,
        _REFUSED,
        Change(_S.AMBIGUOUS),
        _RUNS,
        _DONE,
        Change(_S.QUEUED),
        _STAYS[_S.SUBMITTING],
        _OVER,
        _LOST,
        _KILLED,
    ),
    _S.AMBIGUOUS: (
        _KEPT,
        _REFUSED,
        _STAYS[_S.AMBIGUOUS],
        _RUNS,
        _DONE,
        Change(_S.QUEUED),
        _STAYS[_S.AMBIGUOUS],
        _OVER,
        _LOST,
        _KILLED,
    ),
    _S.QUEUED: (
        _KEPT,
        _REFUSED,
        _STAYS[_S.QUEUED],
        _RUNS,
        _DONE,
        _STAYS[_S.QUEUED],
        _GONE,
        _OVER,
        _STAYS[_S.QUEUED],
        _KILLED,
    ),
    _S.RUNNING: (
        Change(_S.RUNNING, (Action.KEEP_ID,)),
        _STAYS[_S.RUNNING],
        _STAYS[_S.RUNNING],
        _STAYS[_S.RUNNING],
        _DONE,
        _STAYS[_S.RUNNING],
        _GONE,
        _OVER,
        _STAYS[_S.RUNNING],
        _KILLED,
    ),
    _S.PUBLISHED: (
        Change(_S.PUBLISHED, (Action.KEEP_ID,)),
        _STAYS[_S.PUBLISHED],
        _STAYS[_S.PUBLISHED],
        _STAYS[_S.PUBLISHED],
        _STAYS[_S.PUBLISHED],
        _STAYS[_S.PUBLISHED],
        _CLOSED,
        _CLOSED,
        Change(_S.PUBLISHED, (Action.KILL,)),
        Change(_S.PUBLISHED, (Action.KILL,)),
    ),
    _S.VANISHED: (
        Change(_S.VANISHED, (Action.KEEP_ID,)),
        _REFUSED,
        _STAYS[_S.VANISHED],
        _STAYS[_S.VANISHED],
        _DONE,
        _RUNS,
        _STAYS[_S.VANISHED],
        _OVER,
        _LOST,
        _KILLED,
    ),
    _S.KILLING: (
        Change(_S.KILLING, (Action.KEEP_ID, Action.KILL)),
        _REFUSED,
        _STAYS[_S.KILLING],
        _STAYS[_S.KILLING],
        _DONE,
        _STAYS[_S.KILLING],
        _OVER,
        _OVER,
        _OVER,
        _KILLED,
    ),
    _S.ENDED: (*[_STAYS[_S.ENDED]] * 10,),
}

TABLE: dict[tuple[State, News], Change] = {
    (state, news): change
    for state, changes in _ROWS.items()
    for news, change in zip(News, changes, strict=True)
}
"""What each piece of news makes of each state."""
