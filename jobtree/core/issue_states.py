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
    """Return what `news` makes of an issue in `state`: nothing if the table does not list it."""
    return TABLE[state].get(news) or Change(state)


_ACCEPTED = Change(State.QUEUED, (Action.KEEP_ID,))
_RUNS = Change(State.RUNNING)
_DONE = Change(State.PUBLISHED, (Action.COLLECT,))
_GONE = Change(State.VANISHED)
_OVER = Change(State.ENDED, (Action.COLLECT, Action.TIDY))
_REFUSED = Change(State.ENDED, (Action.FENCE, Action.RELEASE, Action.TIDY))
_KILLED = Change(State.KILLING, (Action.FENCE, Action.KILL))
_LOST = Change(State.ENDED, (Action.FENCE, Action.KILL, Action.COLLECT, Action.TIDY))
_CLOSED = Change(State.ENDED, (Action.TIDY,))
_KILL_AGAIN = Change(State.PUBLISHED, (Action.KILL,))

_UNANSWERED = {
    News.ACCEPTED: _ACCEPTED,
    News.REFUSED: _REFUSED,
    News.CLAIMED: _RUNS,
    News.PUBLISHED: _DONE,
    News.PRESENT: Change(State.QUEUED),
    News.ENDED: _OVER,
    News.OVERDUE: _LOST,
    News.KILL: _KILLED,
}

TABLE: dict[State, dict[News, Change]] = {
    State.SUBMITTING: {**_UNANSWERED, News.UNSURE: Change(State.AMBIGUOUS)},
    State.AMBIGUOUS: _UNANSWERED,
    State.QUEUED: {
        News.ACCEPTED: _ACCEPTED,
        News.REFUSED: _REFUSED,
        News.CLAIMED: _RUNS,
        News.PUBLISHED: _DONE,
        News.ABSENT: _GONE,
        News.ENDED: _OVER,
        News.KILL: _KILLED,
    },
    State.RUNNING: {
        News.ACCEPTED: Change(State.RUNNING, (Action.KEEP_ID,)),
        News.PUBLISHED: _DONE,
        News.ABSENT: _GONE,
        News.ENDED: _OVER,
        News.KILL: _KILLED,
    },
    State.PUBLISHED: {
        News.ACCEPTED: Change(State.PUBLISHED, (Action.KEEP_ID,)),
        News.ABSENT: _CLOSED,
        News.ENDED: _CLOSED,
        News.OVERDUE: _KILL_AGAIN,
        News.KILL: _KILL_AGAIN,
    },
    State.VANISHED: {
        News.ACCEPTED: Change(State.VANISHED, (Action.KEEP_ID,)),
        News.REFUSED: _REFUSED,
        News.PUBLISHED: _DONE,
        News.PRESENT: _RUNS,
        News.ENDED: _OVER,
        News.OVERDUE: _LOST,
        News.KILL: _KILLED,
    },
    State.KILLING: {
        News.ACCEPTED: Change(State.KILLING, (Action.KEEP_ID, Action.KILL)),
        News.REFUSED: _REFUSED,
        News.PUBLISHED: _DONE,
        News.ABSENT: _OVER,
        News.ENDED: _OVER,
        News.OVERDUE: _OVER,
        News.KILL: _KILLED,
    },
    State.ENDED: {},
}
"""What each piece of news makes of each state. What is not listed changes nothing."""
