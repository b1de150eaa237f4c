"""Targets in transit: how a Target, and what hangs on it, becomes a Command and comes back.

Owns what is pickled of a Target; must not decide whether a pickle may be trusted (bundles).
Read next: ../worker/steps.py, which runs what comes out of here.

A pickle holds a Target, and where the pickles of what was added to it beforehand lie; or it holds
all of them in a flat list, the one to run first: a thousand of them need no deep recursion.
"""

from _weakref import ref
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from jobtree.core.job import Command, CommandKind, Pickle, command_from_wire
from jobtree.errors import JobTreeError
from jobtree.mailbox.bundles import BundleWriter, read_pickle
from jobtree.payload.context import ThisProcess
from jobtree.payload.environment import main_script
from jobtree.payload.main_script import Script
from jobtree.payload.node import Node, TargetBase, node_of
from jobtree.payload.pickling import dump, explain, load, refuse_without_script

if TYPE_CHECKING:
    from jobtree.payload.shared_objects import SharedObjects

_PLAIN = (str, int, float, bool, bytes, type(None), Node)


class Unreadable(Exception):
    """A pickle that the tree has on record cannot be read."""


class PickledLinks(NamedTuple):
    """How to restore those children and follow-on of a Target that are pickled already."""

    tree: str
    script: Script
    shared: list[Any]  # the objects that they share with the Target, as it has them now
    before: bytes  # the same pickled, before it ran

    def is_stale(self) -> bool:
        """Tell whether the shared objects were changed; True if that cannot be found out."""
        if not self.shared:
            return False
        try:
            return dump(self.shared) != self.before
        except Exception:  # noqa: BLE001 - pickling the Target will say why
            return True


def target_command(target: TargetBase, bundle: BundleWriter) -> Command:
    """Pickle a Target, and all added to it so far, into `bundle`; return the Command to run it.

    Each is pickled by itself, with the places of the others, so that none is pickled twice. If one
    holds a reference to another, all go into one pickle.
    Raises JobTreeError (JT401, JT404) naming what cannot be pickled, OSError.
    """
    targets, links = _flat(target)
    if len(targets) > 1:
        shared = _shared(targets)
        if shared is not None:
            return _apart(targets, links, shared, bundle)
    return _command(target, bundle.add(_pickled(target, (targets, links))))


def _command(target: TargetBase, where: Pickle) -> Command:
    node = node_of(target)
    return Command(
        CommandKind.TARGET, target._jobtree_label(), "", node.requirements, where, node.isolate
    )


def _shared(targets: list[TargetBase]) -> "SharedObjects | None":
    """Return what Targets share; None if one holds another, or cannot be pickled."""
    from jobtree.payload.shared_objects import shared_by

    try:
        shared = shared_by(targets)
    except Exception:  # noqa: BLE001 - pickling the Target will say why
        return None
    return None if any(isinstance(thing, TargetBase | Node) for thing in shared.things) else shared


def _apart(
    targets: list[TargetBase],
    links: list[tuple[Any, ...]],
    shared: "SharedObjects",
    bundle: BundleWriter,
) -> Command:
    """Pickle Targets each by itself, children and follow-ons before their parents."""
    from jobtree.payload.shared_objects import dump_apart

    common = bundle.add(_pickled(targets[0], shared.things)) if shared.things else None
    made: dict[int, list[object]] = {}
    command: Command | None = None
    for number in range(len(targets) - 1, -1, -1):
        target = targets[number]
        requirements, isolate, children, follow_on = links[number]
        below = [made.pop(child) if isinstance(child, int) else child for child in children]
        then = made.pop(follow_on) if isinstance(follow_on, int) else follow_on
        content = [target], [(requirements, isolate, below, then)]
        pickled = _checked(target, lambda content=content: dump_apart(content, shared))  # type: ignore[misc]
        if common is not None:
            pickled = dump((tuple(common), pickled))
        command = _command(target, bundle.add(pickled))
        made[number] = _wire(command)
    assert command is not None
    return command


def restore_target(tree: str, pickled: bytes, script: Script) -> TargetBase:
    """Return the Target of a pickle, with what was added to it beforehand.

    Raises Unreadable if the objects that it shares with others cannot be read.
    """
    return _restore(tree, pickled, script, None)


def _restore(tree: str, pickled: bytes, script: Script, shared: list[Any] | None) -> TargetBase:
    """Restore a Target. shared: the objects to share; None: those pickled beside it."""
    content, links = load(pickled, script)
    if isinstance(links, bytes):
        if shared is None:
            shared = load(_read(tree, Pickle(*content)), script)
        content, links = load(links, script, shared)
    targets: list[TargetBase] = content
    nodes = []
    for target, (requirements, isolate, _, _) in zip(targets, links, strict=True):
        node = Node(requirements, isolate, ref(target))
        target._jobtree = node
        nodes.append(node)

    def added(thing: Any) -> Any:
        if not isinstance(thing, int):
            return command_from_wire(thing)
        nodes[thing].adopted = True
        return targets[thing]

    for node, (_, _, children, follow_on) in zip(nodes, links, strict=True):
        if not children and follow_on is None:
            continue
        node.children = [added(child) for child in children]
        node.follow_on = None if follow_on is None else added(follow_on)
        if any(isinstance(c, Command) and c.pickle for c in (*node.children, node.follow_on)):
            common = shared or []
            node.pickled_links = PickledLinks(tree, script, common, dump(common))
    return targets[0]


def _read(tree: str, where: Pickle) -> bytes:
    try:
        return read_pickle(tree, where)
    except OSError as error:
        raise Unreadable(str(error)) from error


def unpickle_links(node: Node) -> None:
    """Restore the children and follow-on of a node that are pickled, and all below them."""
    nodes = [node]
    for each in nodes:  # grows as it goes
        pickled_links, each.pickled_links = each.pickled_links, None
        if pickled_links is None:
            continue

        def opened(thing: Any, pickled_links: PickledLinks = pickled_links) -> Any:
            if not isinstance(thing, Command) or thing.pickle is None:
                return thing
            pickled = _read(pickled_links.tree, thing.pickle)
            target = _restore(
                pickled_links.tree, pickled, pickled_links.script, pickled_links.shared
            )
            node_of(target).adopted = True
            nodes.append(node_of(target))
            return target

        each.children = [opened(child) for child in each.children]
        each.follow_on = opened(each.follow_on)


def handed_over(target: TargetBase, bundle: BundleWriter) -> tuple[list[Command], Command | None]:
    """Return the Commands of a Target's children and follow-on, now that it has run.

    Raises as target_command() does, and Unreadable.
    """
    node = node_of(target)
    if node.pickled_links is not None and node.pickled_links.is_stale():
        unpickle_links(node)
    children = [
        child if isinstance(child, Command) else target_command(child, bundle)
        for child in node.children
    ]
    follow_on = node.follow_on
    if follow_on is None or isinstance(follow_on, Command):
        return children, follow_on
    return children, target_command(follow_on, bundle)


def check_picklable(target: TargetBase) -> None:
    """Refuse a Target that cannot be pickled when it is added, not later (JT401, JT404)."""
    where = type(target).__module__
    by_name = where != "builtins" and (where != "__main__" or ThisProcess.in_worker)
    if by_name and _is_plain(target):
        return
    _pickled(target, ([target], []))


def _is_plain(target: TargetBase) -> bool:
    """Tell quickly whether a Target can surely be pickled, as most can."""
    if not _is_plain_class(type(target)):  # type: ignore[arg-type]  # a type has a hash
        return False
    return all(type(value) in _PLAIN for value in vars(target).values())


@lru_cache(256)
def _is_plain_class(kind: type[TargetBase]) -> bool:
    """Tell whether pickle does nothing special with the objects of a class."""
    if kind.__reduce_ex__ is not object.__reduce_ex__:
        return False
    if kind.__reduce__ is not object.__reduce__ or "." in kind.__qualname__:
        return False
    getstate = getattr(kind, "__getstate__", None)
    own = getstate is not getattr(object, "__getstate__", None)
    return not own and not hasattr(kind, "__getnewargs__")


def _flat(root: TargetBase) -> tuple[list[TargetBase], list[tuple[Any, ...]]]:
    """Return a Target and all below it; and of each its children and follow-on, by number."""
    targets: list[TargetBase] = [root]
    links: list[tuple[Any, ...]] = []
    for target in targets:  # grows as it goes
        node = node_of(target)
        children: list[object] = []
        for child in node.children:
            if isinstance(child, TargetBase):
                children.append(len(targets))
                targets.append(child)
            else:
                children.append(_wire(child))
        follow_on: object = None
        if isinstance(node.follow_on, Command):
            follow_on = _wire(node.follow_on)
        elif node.follow_on is not None:
            follow_on = len(targets)
            targets.append(node.follow_on)
        links.append((tuple(node.requirements), node.isolate, children, follow_on))
    return targets, links


def _wire(command: Command) -> list[object]:
    """Return a Command without its classes, as command_from_wire() takes it."""
    kind, label, text, requirements, where, isolate = command
    return [kind, label, text, list(requirements), where and list(where), isolate]


def _pickled(target: TargetBase, content: object) -> bytes:
    return _checked(target, lambda: dump(content))


def _checked(target: TargetBase, pickle: Callable[[], bytes]) -> bytes:
    """Return what `pickle` returns; if it fails, say so of `target`."""
    try:
        pickled = pickle()
    except Exception as error:
        raise _refusal(target, error) from error
    if b"__main__" in pickled and not ThisProcess.in_worker:
        refuse_without_script(pickled, main_script()[0])
    return pickled


def _refusal(target: TargetBase, error: Exception) -> JobTreeError:
    path, value = explain(target, "self")
    kind = type(value)
    prefix = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    name = prefix + kind.__qualname__
    if value is target:
        what = f"Target {target._jobtree_label()} cannot be pickled"
    else:
        article = "an" if name[0] in "aeiou" else "a"
        what = f"Target {target._jobtree_label()} cannot be pickled: {path} is {article} {name}"
    return JobTreeError(
        what,
        code="JT401",
        why=f"{type(error).__name__}: {error}"[:300],
        fix="open it inside run(), and store what it is made from (a path, a name) instead",
    )
