"""Targets set up beforehand: each is pickled once, and what they share stays shared."""

from __future__ import annotations

import os
import threading
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from jobtree import JobTreeError, Target
from jobtree.core.job import Command, CommandKind
from jobtree.mailbox.bundles import BundleWriter, read_pickle
from jobtree.payload.main_script import Script
from jobtree.payload.serialize import handed_over, restore_target, target_command

SAID: list[object] = []
SHARED = Namespace(seen=[])


class Step(Target):
    """Says what it has, and does what its class below wants."""

    def __init__(self, number: int, **attributes: object) -> None:
        super().__init__(time=number + 1)
        self.number = number
        vars(self).update(attributes)

    def run(self) -> None:
        SAID.append((self.number, tuple(getattr(self, "options", SHARED).seen)))


class Changes(Step):
    """Changes what it shares."""

    def run(self) -> None:
        super().run()
        self.options.seen.append(self.number)  # type: ignore[attr-defined]


class Looks(Step):
    """Looks at what comes after it, and changes that."""

    def run(self) -> None:
        follow_on = self.getFollowOn()
        assert isinstance(follow_on, Step)
        SAID.append((self.number, follow_on.number, [c.number for c in self.getChildren()]))  # type: ignore[attr-defined]
        follow_on.number += 100
        follow_on.addChildTarget(Step(77))


class Points(Step):
    """Has the step after it as an attribute too."""

    def run(self) -> None:
        SAID.append(self.number)
        self.later.number += 100  # type: ignore[attr-defined]


class Tree:
    """A directory of bundles, in which Targets run one after another."""

    def __init__(self, path: Path) -> None:
        (path / "bundles").mkdir()
        self.path = str(path)
        self.bundle = BundleWriter(self.path, "b")

    def written(self) -> int:
        return os.path.getsize(f"{self.path}/bundles/b")

    def run(self, root: Target) -> list[object]:
        """Run all, depth first, follow-ons last; return what was said."""
        SAID.clear()
        todo: list[Command] = [target_command(root, self.bundle)]
        while todo:
            command = todo.pop()
            if command.kind != CommandKind.TARGET:
                SAID.append(command.text)
                continue
            assert command.pickle is not None
            pickled = read_pickle(self.path, command.pickle)
            target = restore_target(self.path, pickled, Script(""))
            target.run()
            children, follow_on = handed_over(target, self.bundle)
            todo += [follow_on] if follow_on is not None else []
            todo += reversed(children)
        return list(SAID)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def chain(length: int, make: Callable[[int], Target]) -> Target:
    first = last = make(0)
    for number in range(1, length):
        following = make(number)
        last.setFollowOnTarget(following)
        last = following
    return first


def nest(length: int, make: Callable[[int], Target]) -> Target:
    first = last = make(0)
    for number in range(1, length):
        child = make(number)
        last.addChildTarget(child)
        last = child
    return first


@pytest.mark.parametrize("shape", [chain, nest])
@pytest.mark.parametrize("make", [Step, lambda number: Step(number, options=SHARED)])
def test_what_is_set_up_beforehand_is_written_once(
    tree: Tree, shape: Callable[..., Target], make: Callable[[int], Target]
) -> None:
    assert [said[0] for said in tree.run(shape(50, make))] == list(range(50))  # type: ignore[index]
    few = tree.written()
    assert [said[0] for said in tree.run(shape(400, make))] == list(range(400))  # type: ignore[index]
    assert tree.written() - few < 8.5 * few, "bytes grow as the number of steps does"


def test_a_step_that_changes_what_it_shares_changes_it_for_those_after_it(tree: Tree) -> None:
    options = Namespace(seen=[])
    said = tree.run(chain(4, lambda number: Changes(number, options=options)))
    assert said == [(0, ()), (1, (0,)), (2, (0, 1)), (3, (0, 1, 2))]


def test_a_change_after_a_step_that_changes_nothing(tree: Tree) -> None:
    options = Namespace(seen=[])
    first = Step(0, options=options)
    second, third = Changes(1, options=options), Step(2, options=options)
    first.setFollowOnTarget(second)
    second.setFollowOnTarget(third)
    assert tree.run(first)[2] == (2, (1,))


def test_what_comes_after_can_be_looked_at_and_changed(tree: Tree) -> None:
    first = Looks(0)
    follow_on = Step(1)
    follow_on.addChildTarget(Step(5))
    follow_on.setFollowOnTarget(Step(6))
    first.setFollowOnTarget(follow_on)
    first.addChildTarget(Step(2))
    first.addChildCommand("true")
    said = tree.run(first)
    assert said[0] == (0, 1, [2])
    assert [s if isinstance(s, str) else s[0] for s in said[1:]] == [2, "true", 101, 5, 77, 6]  # type: ignore[index]


def test_a_step_that_has_another_as_an_attribute_can_change_it(tree: Tree) -> None:
    later = Step(1)
    first = Points(0, later=later)
    first.setFollowOnTarget(later)
    later.setFollowOnTarget(Step(2))
    assert tree.run(first) == [0, (101, ()), (2, ())]


def test_a_second_follow_on_is_refused_though_the_first_is_pickled(tree: Tree) -> None:
    command = target_command(chain(3, Step), tree.bundle)
    assert command.pickle is not None
    target = restore_target(tree.path, read_pickle(tree.path, command.pickle), Script(""))
    assert isinstance(target, Target)
    with pytest.raises(JobTreeError, match="has a follow-on already: Step"):
        target.setFollowOnTarget(Step(9))


def test_what_cannot_be_pickled_is_named_wherever_it_stands(tree: Tree) -> None:
    options = Namespace(seen=[])
    first = chain(3, lambda number: Step(number, options=options))
    options.lock = threading.Lock()
    with pytest.raises(JobTreeError) as caught:
        target_command(first, tree.bundle)
    assert caught.value.code == "JT401"


def test_a_pickle_that_holds_all_together_is_still_read(tree: Tree) -> None:
    """As versions before wrote them, for every Target with something added."""
    from jobtree.payload.pickling import dump
    from jobtree.payload.serialize import _flat

    old = dump(_flat(chain(3, Step)))
    target = restore_target(tree.path, old, Script(""))
    assert isinstance(target, Target)
    follow_on = target.getFollowOn()
    assert isinstance(follow_on, Step)
    assert follow_on.number == 1
    children, then = handed_over(target, tree.bundle)
    assert children == []
    assert then is not None
