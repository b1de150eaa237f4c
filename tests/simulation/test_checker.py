"""The checker rejects what it must: one good history, and what a hand can spoil in it.

Read next: checker.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.simulation.checker import check
from tests.simulation.evidence import BLUE, GREY, WHITE
from tests.simulation.world import Event

History = list[Event]
FIRST, LAST = 1_000_001, 1_000_002
A, B, C, D = "a.0", "b.0", "b.1", "c.0"


def job(
    number: int, colour: int, attempt: int, step: int, born: int = 0, done: int = 0
) -> tuple[int, ...]:
    return (number, 0 if number == 1 else 1, colour, attempt, step, born, done, 2, 60)


def committed(at: float, **known: object) -> Event:
    nothing: dict[str, object] = {
        "epoch": 1,
        "void": False,
        "began": at,
        "jobs": {},
        "removed": [],
        "rows": [],
        "issues": {},
        "forgotten": [],
    }
    return Event(at, "commit", nothing | known)


def step(at: float, issue: str, worker: str, node: int, number: int, attempt: int) -> History:
    """Return a worker's life: it claims, runs one step, publishes and goes."""
    what = {"worker": worker, "issue": issue, "node": node}
    which = {"job": number, "attempt": attempt, "step": int(node == 4)}
    line = {"issue": issue, "whole": True, **which}
    return [
        Event(at, "claim", {"worker": worker, "issue": issue, "won": True}),
        Event(at, "visible", line | {"line": "hello"}),
        Event(at, "started", what | which),
        Event(at + 1, "finished", what | which | {"ok": True, "goes_on": False, "own": True}),
        Event(at + 1, "visible", line | {"line": "done"}),
        Event(at + 1, "visible", line | {"line": "synced"}),
        Event(at + 2, "gone", {"worker": worker, "issue": issue, "how": "left with status 0"}),
    ]


def ordered(at: float, submission: str, *packs: list[tuple[int, int, int]]) -> History:
    order = {"epoch": 1, "submission": submission, "packs": list(packs)}
    submitted = [
        Event(at, "submitted", {"epoch": 1, "submission": submission, "index": index})
        for index in range(len(packs))
    ]
    return [Event(at, "order", order), *submitted]


def good() -> History:
    """A root with two children and a follow-on, the first child publishing an output."""
    steps = {
        1: (0, False, [2, 3], 4, False, 0),
        2: (1, False, [], 0, True, 0),
        3: (1, False, [], 0, False, 0),
        4: (1, True, [], 0, False, 0),
    }
    rows = [
        (1, 0, FIRST, "done", A),
        (2, 0, FIRST, "done", B),
        (3, 0, FIRST, "done", C),
        (1, 1, LAST, "done", D),
    ]
    return [
        Event(0, "plan", {"retries": 2, "steps": steps}),
        Event(0, "master", {"epoch": 1, "database": "tree.db"}),
        committed(1, jobs={1: job(1, GREY, FIRST, 0)}, issues={A: 0}),
        *ordered(1, "a", [(1, FIRST, 0)]),
        *step(2, A, "w1", 1, 1, FIRST),
        committed(
            5,
            jobs={1: job(1, BLUE, FIRST, 1, 2), 2: job(2, WHITE, 0, 0), 3: job(3, WHITE, 0, 0)},
            rows=rows[:1],
        ),
        Event(5, "end told", {"epoch": 1, "issue": A, "reason": "OK"}),
        committed(
            6,
            jobs={2: job(2, GREY, FIRST, 0), 3: job(3, GREY, FIRST, 0)},
            issues={B: 0, C: 0},
            forgotten=[A],
        ),
        Event(6, "withdrawn", {"epoch": 1, "submission": "a"}),
        *ordered(6, "b", [(2, FIRST, 0)], [(3, FIRST, 0)]),
        *step(7, B, "w2", 2, 2, FIRST),
        *step(7, C, "w3", 3, 3, FIRST),
        committed(
            10,
            jobs={1: job(1, BLUE, FIRST, 1, 2, 1), 2: job(2, 3, FIRST, 0)},
            removed=[3],
            rows=rows[1:3],
        ),
        Event(10, "moved", {"epoch": 1, "job": 2, "attempt": FIRST, "step": 0}),
        committed(11, jobs={1: job(1, WHITE, FIRST, 1, 2, 2)}, removed=[2]),
        committed(12, jobs={1: job(1, GREY, LAST, 1, 2, 2)}, issues={D: 0}, forgotten=[B, C]),
        Event(12, "withdrawn", {"epoch": 1, "submission": "b"}),
        *ordered(12, "c", [(1, LAST, 1)]),
        *step(13, D, "w4", 4, 1, LAST),
        committed(16, removed=[1], rows=rows[3:], forgotten=[D]),
        Event(16, "withdrawn", {"epoch": 1, "submission": "c"}),
        Event(17, "finished run", {"epoch": 1}),
        Event(
            18,
            "end",
            {
                "jobs": [],
                "rows": rows,
                "issues": [],
                "moves": [],
                "done": 3,
                "files": [],
                "bundles": [],
                "directories": [],
                "outputs": {"output 2": (2, FIRST, 0)},
                "alive": [],
            },
        ),
    ]


def find(history: History, kind: str, **known: object) -> int:
    return next(
        at
        for at, event in enumerate(history)
        if event.kind == kind and all(event.data.get(key) == value for key, value in known.items())
    )


def without(kind: str, **known: object) -> Callable[[History], None]:
    return lambda history: history.__delitem__(find(history, kind, **known))


def altered(kind: str, which: dict[str, object], **now: object) -> Callable[[History], None]:
    def alter(history: History) -> None:
        at = find(history, kind, **which)
        event = history[at]
        history[at] = event._replace(data=event.data | now)

    return alter


def earlier(kind: str, which: dict[str, object], than: str) -> Callable[[History], None]:
    """Move an event before the first one of another kind."""

    def shift(history: History) -> None:
        event = history.pop(find(history, kind, **which))
        history.insert(find(history, than), event)

    return shift


def a_twin_claims(history: History) -> None:
    at = find(history, "started", node=1)
    history.insert(at, Event(2.5, "claim", {"worker": "w9", "issue": A, "won": True}))


def a_dependant_starts_early(history: History) -> None:
    life = [history.pop(find(history, "started", node=4))]
    history[find(history, "moved") : find(history, "moved")] = life


def adopted_twice(history: History) -> None:
    at = find(history, "commit", began=11)
    history[at] = committed(
        11, jobs={1: job(1, WHITE, FIRST, 1, 2, 2)}, removed=[2], rows=[(2, 0, FIRST, "done", B)]
    )


def a_mate_pays(history: History) -> None:
    at = find(history, "commit", began=5)
    event = history[at]
    paid = (*job(1, BLUE, FIRST, 1, 2)[:7], 1, 60)
    history[at] = event._replace(data=event.data | {"jobs": event.data["jobs"] | {1: paid}})


def the_user_pays_for_a_node(history: History) -> None:
    at = find(history, "commit", began=6)
    lost = [(1, 0, FIRST, "failed", A)]
    history[at] = history[at]._replace(data=history[at].data | {"rows": lost})


def given_up_unread(history: History) -> None:
    at = find(history, "commit", began=10)
    history[at] = committed(
        10, jobs={2: job(2, WHITE, FIRST, 0), 3: job(3, GREY, FIRST, 0)}, forgotten=[B]
    )


def a_lost_master_acts(history: History) -> None:
    at = find(history, "order", submission="b")
    history.insert(at, Event(6, "master", {"epoch": 2, "database": "tree.2.db"}))


def an_attempt_shrinks(history: History) -> None:
    at = find(history, "order", submission="c")
    history[at] = history[at]._replace(data=history[at].data | {"packs": [[(1, FIRST - 1, 1)]]})


def reissued_unfenced(history: History) -> None:
    for kind, known in (("withdrawn", {"submission": "a"}), ("end told", {"issue": A})):
        without(kind, **known)(history)
    at = find(history, "finished", node=1)
    history[at] = history[at]._replace(data=history[at].data | {"goes_on": True})


def taken(**now: object) -> Callable[[History], None]:
    """Have the tree taken from a master that lives."""
    fair = {"epoch": 2, "looks": False, "copying": True, "living": True}
    told = fair | {"unchanged_s": 60.0, "at_work_s": 60.0} | now
    return lambda history: history.append(Event(90, "taken", told))


def happens(kind: str, **told: object) -> Callable[[History], None]:
    """Return what adds an event that must not be."""
    return lambda history: history.append(Event(90, kind, dict(told)))


BAD: dict[str, tuple[Callable[[History], None], str]] = {
    "a result nobody wrote": (without("finished", node=3), "P3"),
    "a result adopted twice": (adopted_twice, "P2"),
    "a result not yet on disk": (without("visible", issue=C, line="synced"), "P1"),
    "a result left unread": (given_up_unread, "P1"),
    "a twin with the same claim": (a_twin_claims, "P4"),
    "an attempt that shrinks": (an_attempt_shrinks, "attempts grow"),
    "an order before its commit": (earlier("order", {"submission": "a"}, "commit"), "P1"),
    "a submission before its commit": (earlier("submitted", {"submission": "a"}, "commit"), "P1"),
    "a dependant before the move": (a_dependant_starts_early, "P2"),
    "reissued without a fence": (reissued_unfenced, "P4"),
    "a retry paid without a failure": (a_mate_pays, "charges"),
    "a retry paid for a lost node": (the_user_pays_for_a_node, "charges"),
    "a master without the tree acts": (a_lost_master_acts, "P5"),
    "a move of what was not adopted": (altered("moved", {}, attempt=LAST), "P2"),
    "children nobody bore": (
        altered("commit", {"began": 6}, jobs={7: job(7, WHITE, 0, 0)}),
        "counts",
    ),
    "an adopted step lost at the end": (altered("end", {}, rows=[]), "P1"),
    "a file left at the end": (altered("end", {}, files=["orders/c"]), "files"),
    "a batch job that outlives the run": (altered("end", {}, alive=[D]), "P7"),
    "a job unfinished at the end": (altered("end", {}, jobs=[job(1, WHITE, LAST, 1)]), "P6"),
    "a tree taken by what only looks": (taken(looks=True), "lease"),
    "a tree taken while its lease is renewed": (taken(unchanged_s=59.0), "lease"),
    "a tree taken while its master works": (taken(at_work_s=5.0), "lease"),
    "a tree taken without a copy": (taken(copying=False), "lease"),
    "another's batch job killed": (happens("foreign killed", native="7"), "P7"),
    "a job that is shown taken for gone": (happens("absence told", native="7"), "P3"),
    "a job older than it is there": (happens("age told", native="7"), "P8"),
    "a job given up and left to run": (happens("given up lives", native="7"), "P7"),
    "an order run by a job of a tree before": (
        happens("claim", worker="predecessor1", issue=A, won=True),
        "P4",
    ),
    "no end": (lambda history: history.append(Event(99, "stuck", {"epoch": 1})), "P6"),
}


def test_a_good_history_is_accepted() -> None:
    assert check(good()) == []


def test_a_tree_left_alone_for_a_minute_may_be_taken() -> None:
    history = good()
    taken()(history)
    assert check(history) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_rejected(name: str) -> None:
    spoil, promise = BAD[name]
    history = good()
    spoil(history)
    assert promise in {violation.promise for violation in check(history)}, check(history)


def woken_late(how: str) -> History:
    """Return the good history, in which a worker wakes up after the run, claims, and goes so."""
    history = good()
    late = [
        Event(17.2, "claim", {"worker": "w9", "issue": A, "won": True}),
        Event(17.5, "gone", {"worker": "w9", "issue": A, "how": how}),
    ]
    history[-1:-1] = late
    altered("end", {}, files=[f"claims/{A}"])(history)
    return history


def test_a_worker_killed_when_nobody_is_left_may_leave_its_claim() -> None:
    assert check(woken_late("killed")) == []
    assert [each.promise for each in check(woken_late("left with status 75"))] == ["files"]
