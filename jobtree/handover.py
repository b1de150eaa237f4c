"""Targets in transit: how a Target, and what hangs on it, becomes a Command and comes back.

Owns what is pickled of a Target; must not decide whether a pickle may be trusted (bundles).
Read next: steps.py, which runs what comes out of here.

A pickle holds the Target and, flat, all that was added to it before its run: the first is the
one to run. Flat, so that a chain of a thousand follow-ons is no deep recursion.
"""

from __future__ import annotations

from _weakref import ref
from typing import Any

from jobtree.context import Process
from jobtree.environment import main_script
from jobtree.errors import JobTreeError
from jobtree.job import Command, Kind, Requirements, command_from_wire
from jobtree.mailbox.bundles import BundleWriter
from jobtree.pickling import dump, explain, load, refuse_without_script
from jobtree.script import Script
from jobtree.target import FunctionTarget, Node, Target, label_of, node_of

_PLAIN = (str, int, float, bool, bytes, type(None), Node)


def target_command(target: Target, bundle: BundleWriter) -> Command:
    """Pickle a Target, and all added to it so far, into `bundle`; return the Command to run it.

    Raises JobTreeError (JT401, JT404) naming what cannot be pickled, OSError.
    """
    node = node_of(target)
    pickled = _pickled(target, _flat(target))
    where = bundle.add(pickled)
    return Command(Kind.TARGET, label_of(target), "", node.requirements, where, node.isolate)


def restore_target(pickled: bytes, script: Script) -> Target:
    """Return the Target of a pickle, with what was added to it before."""
    targets, links = load(pickled, script)
    nodes = []
    for target, (requirements, isolate, _, _) in zip(targets, links, strict=True):
        node = Node(Requirements(*requirements), isolate, ref(target))
        target._jobtree = node
        nodes.append(node)
    for node, (_, _, children, follow_on) in zip(nodes, links, strict=True):
        for child in children:
            if isinstance(child, int):
                node.children.append(targets[child])
                nodes[child].adopted = True
            else:
                node.children.append(command_from_wire(child))
        if follow_on is not None:
            node.follow_on = targets[follow_on]
            nodes[follow_on].adopted = True
    restored: Target = targets[0]
    return restored


def check_picklable(target: Target) -> None:
    """Refuse a Target that cannot be pickled, at the line that adds it (JT401, JT404)."""
    where = type(target).__module__
    by_name = where != "builtins" and (where != "__main__" or Process.in_worker)
    if by_name and _is_plain(target):
        return
    _pickled(target, ([target], []))


def _is_plain(target: Target) -> bool:
    """Tell whether nothing in a Target can fail to be pickled: most are so, and it is quick."""
    kind = type(target)
    if kind is FunctionTarget or kind.__reduce_ex__ is not object.__reduce_ex__:
        return False
    if kind.__reduce__ is not object.__reduce__ or "." in kind.__qualname__:
        return False
    getstate = getattr(kind, "__getstate__", None)
    if getstate is not getattr(object, "__getstate__", None) or hasattr(kind, "__getnewargs__"):
        return False
    return all(type(value) in _PLAIN for value in vars(target).values())


def _flat(root: Target) -> tuple[list[Target], list[tuple[Any, ...]]]:
    """Return a Target and all below it, and per Target what hangs on it, by number."""
    targets: list[Target] = [root]
    links: list[tuple[Any, ...]] = []
    for target in targets:  # grows as it goes
        node = node_of(target)
        children: list[object] = []
        for child in node.children:
            if isinstance(child, Target):
                children.append(len(targets))
                targets.append(child)
            else:
                children.append(_wire(child))
        follow_on = None
        if node.follow_on is not None:
            follow_on = len(targets)
            targets.append(node.follow_on)
        links.append((tuple(node.requirements), node.isolate, children, follow_on))
    return targets, links


def _wire(command: Command) -> list[object]:
    """Return a Command without its classes, as command_from_wire() takes it."""
    kind, label, text, requirements, where, isolate = command
    return [kind, label, text, list(requirements), where and list(where), isolate]


def _pickled(target: Target, content: tuple[list[Target], list[tuple[Any, ...]]]) -> bytes:
    try:
        pickled = dump(content)
    except Exception as error:
        raise _refusal(target, error) from error
    if b"__main__" in pickled and not Process.in_worker:
        refuse_without_script(pickled, main_script()[0])
    return pickled


def _refusal(target: Target, error: Exception) -> JobTreeError:
    path, value = explain(target, "self")
    kind = type(value)
    prefix = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    name = prefix + kind.__qualname__
    if value is target:
        what = f"Target {label_of(target)} cannot be pickled"
    else:
        article = "an" if name[0] in "aeiou" else "a"
        what = f"Target {label_of(target)} cannot be pickled: {path} is {article} {name}"
    return JobTreeError(
        what,
        code="JT401",
        why=f"{type(error).__name__}: {error}"[:300],
        fix="open it inside run(), and store what it is made from (a path, a name) instead",
    )
