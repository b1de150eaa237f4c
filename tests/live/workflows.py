"""Workflows that several schedulers' tests run, and what must come of them whatever runs them.

Owns their scripts and what is to be seen in the files they write; must not know any scheduler.
Read next: trees.py; examples.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tests.live.engines import Engine
from tests.live.trees import LONGEST_S, Master, Run, Tree
from tests.live.waiting import eventually

E = TypeVar("E", bound=Engine)
R = TypeVar("R", bound=Run)

# ---- steps that end in every way -----------------------------------------------------------

ENDS_BODY = """
class Root(Target):
    def run(self):
        for status in STATUSES:
            self.addChildTarget(Leaves(status, False))
            self.addChildTarget(Leaves(status, True))
            note = f"echo shell{status} >>ran; "
            mark = f"mkdir shell{status} 2>/dev/null && exit {status}; true"
            self.addChildCommand(note + mark, runTime=60, memory="100M")
        for number in SIGNALS:
            self.addChildTarget(Shot(number))
class Leaves(Target):
    def __init__(self, status, at_once):
        super().__init__(memory="100M", time=60)
        self.status, self.at_once = status, at_once
    def run(self):
        name = f"{'exit' if self.at_once else 'raise'}{self.status}"
        note("ran", name)
        if first_time(name):
            if self.at_once:
                os._exit(self.status)
            sys.exit(self.status)
class Shot(Target):
    def __init__(self, number):
        super().__init__(memory="100M", time=60)
        self.number = number
    def run(self):
        name = f"shot{self.number}"
        note("ran", name)
        if first_time(name):
            os.kill(os.getpid(), self.number)
            time.sleep(60)
"""


def write_ends(tree: Tree, statuses: Sequence[int], signals: Sequence[int]) -> None:
    """Write steps that exit, are killed and kill themselves, each the first time only."""
    tree.write(f"STATUSES, SIGNALS = {statuses}, {signals}\n{ENDS_BODY}")


def assert_ends_were_told(
    tree: Tree, said: str, statuses: Sequence[int], signals: Sequence[int]
) -> None:
    """Fail unless each of them ran twice, and how it ended first was told as it was."""
    names = [f"{how}{status}" for how in ("raise", "exit", "shell") for status in statuses]
    names += [f"shot{number}" for number in signals]
    assert Counter(tree.lines("ran")) == dict.fromkeys(names, 2)
    for status in statuses:
        assert f"sys.exit({status})" in said
        assert f"exit status {status};" in said or f"exit status {status}:" in said
    assert "by signal 11" in said, "a step that kills its worker is charged"
    assert "by signal 9" in said


# ---- a level of jobs alike -----------------------------------------------------------------

LEVEL_BODY = """
class Root(Target):
    def run(self):
        for number in range(COUNT):
            self.addChildTarget(Leaf(number))
        self.setFollowOnTarget(Sum())
class Leaf(Target):
    def __init__(self, number):
        super().__init__(memory="100M", time=EXPECTED)
        self.number = number
    def run(self):
        note("ran", str(self.number))
class Sum(Target):
    def run(self):
        note("sum", str(sum(int(line) for line in open("ran"))))
"""


def write_level(tree: Tree, count: int, expected: float | None) -> None:
    """Write so many jobs alike, of which so many seconds are expected, and their follow-on."""
    tree.write(f"COUNT, EXPECTED = {count}, {expected}\n{LEVEL_BODY}")


def assert_level_ran_once(tree: Tree, count: int) -> None:
    """Fail unless each of them ran once, before the follow-on."""
    assert tree.lines("sum") == [str(sum(range(count)))]
    assert sorted(map(int, tree.lines("ran"))) == list(range(count))


# ---- jobs that wait for a gate ---------------------------------------------------------------

GATED_BODY = """
class Root(Target):
    def run(self):
        note("root", batch_id())
        wait_for("gate0")
        for number in range(COUNT):
            self.addChildTarget(Leaf(number))
        self.setFollowOnTarget(Sum())
class Leaf(Target):
    def __init__(self, number):
        super().__init__(memory="100M", time=60)
        self.number = number
    def run(self):
        note("began", batch_id())
        wait_for("gate")
        note("ran", str(self.number))
class Sum(Target):
    def __init__(self):
        super().__init__(memory="100M", time=60)
    def run(self):
        note("sum", str(len(open("ran").readlines())))
"""


def write_gated(tree: Tree, count: int) -> None:
    """Write a root that waits for gate0, and so many leaves that wait for `gate`."""
    tree.write(f"COUNT = {count}\n{GATED_BODY}")


def assert_all_once(tree: Tree, count: int, runs: int | None = None) -> None:
    """Fail unless every leaf ran once, in so many batch jobs as there should be."""
    assert sorted(map(int, tree.lines("ran"))) == list(range(count))
    assert tree.lines("sum") == [str(count)]
    tree.ended_runs(count if runs is None else runs, "Leaf")


# ---- masters and trees that are killed with many jobs out ------------------------------------

MANY_BODY = """
class Root(Target):
    def run(self):
        for number in range(COUNT):
            self.addChildTarget(Leaf(number))
        self.setFollowOnTarget(Sum())
class Leaf(Target):
    def __init__(self, number):
        super().__init__(memory="100M", time=60)
        self.number = number
    def run(self):
        note("began", str(self.number))
        wait_for("late" if self.number % 4 else "early")
        note("ran", str(self.number))
class Sum(Target):
    def run(self):
        note("sum", str(sum(int(line) for line in open("ran"))))
"""


def kill_a_master_and_restart(tree: Tree[E, R], count: int) -> list[R]:
    """Kill a master with so many jobs out; fail unless the next one adopts all and each runs once.

    Three quarters of them, to be more than can run at once, wait until it has. Returns the runs.
    """
    tree.write(f"COUNT = {count}\n{MANY_BODY}")
    master = tree.start()
    tree.wait_queued(count, "Leaf")
    tree.wait_for_lines("began", 8)
    master.kill()
    tree.open("early")
    ended_meanwhile = len(tree.wait_for_lines("ran", 4))
    heir = tree.restart()
    heir.wait_for_word("adopted ")
    adopted = int(heir.said.partition("adopted ")[2].split()[0])
    assert adopted >= count, heir.said
    print(f"adopted {adopted}; {ended_meanwhile} had ended while there was no master")
    assert tree.queued("Leaf", tree.running)
    assert tree.queued("Leaf", tree.waiting)
    tree.open("late")
    tree.assert_done(heir.end())
    assert_level_ran_once(tree, count)
    return tree.ended_runs(count, "Leaf")


KILLED_WITHIN_S = 60.0


def start_and_await_running(tree: Tree, count: int, at_once: int) -> Master:
    """Start jobs that run until they are killed; return once as many of them do as can at once.

    That is when they have begun: those whose workers have yet to will find the fence, and end.
    """
    before = len(tree.lines("began"))
    tree.write(f"COUNT = {count}\n{MANY_BODY}")
    master = tree.start()
    tree.wait_queued(count, "Leaf")
    tree.wait_for_lines("began", before + at_once)
    assert tree.queued("Leaf", tree.waiting)
    return master


def kill(tree: Tree) -> None:
    """Kill a tree; fail unless soon none of its batch jobs is in the queue."""
    asked = time.monotonic()
    killed = tree.verb("kill").end()
    took_s = time.monotonic() - asked
    print(f"killed in {took_s:.1f} s")
    assert killed.status == 0, killed.said
    assert tree.queued() == []
    assert took_s < KILLED_WITHIN_S


def go_on_after_kill(tree: Tree, count: int) -> None:
    """Go on with a tree that was killed; fail unless each of its jobs comes to its end once."""
    for gate in ("early", "late"):
        tree.open(gate)
    tree.assert_done(tree.restart().end())
    assert_level_ran_once(tree, count)


def kill_with_and_without_a_master(tree: Tree, count: int, at_once: int) -> None:
    """Kill a tree of so many jobs while its master lives, and again when it has died."""
    master = start_and_await_running(tree, count, at_once)
    kill(tree)
    assert master.end().status == 1
    start_and_await_running(tree, count, at_once).kill()
    kill(tree)
    go_on_after_kill(tree, count)


def kill_while_the_scheduler_is_away(
    tree: Tree,
    count: int,
    at_once: int,
    stop: Callable[[], Any],
    start: Callable[[], Any],
) -> None:
    """Kill a tree whose scheduler cannot be reached: it says what is open, and ends it later.

    A scheduler that has just returned may take longer than is waited for: then again.
    """
    master = start_and_await_running(tree, count, at_once)
    stop()
    told = tree.verb("kill").end()
    assert told.status == 4, told.said
    assert "could not be confirmed" in told.said
    assert len([line for line in told.said.splitlines() if line.startswith("  j-Leaf-")]) == count
    assert master.end().status == 1
    start()
    assert len(tree.queued("Leaf")) == count, "nothing of it has ended by itself"
    began = tree.lines("began")
    assert len(began) == at_once
    again = "its end, asked for again"
    eventually(again, lambda: tree.verb("kill").end().status == 0, limit_s=LONGEST_S)
    assert tree.queued() == []
    assert tree.lines("began") == began, "what was to be killed began nothing more"
    go_on_after_kill(tree, count)
