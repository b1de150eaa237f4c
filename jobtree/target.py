"""Target: what a researcher writes a workflow with.

Owns the API's words and the refusals that come at once; must do no I/O and no scheduling.
Read next: stack.py, which starts it; payload/serialize.py, how a Target becomes a Command.
"""

from __future__ import annotations

from _weakref import ref
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from types import BuiltinFunctionType, FunctionType
from typing import Any

from jobtree.core.job import Command, CommandKind, Requirements
from jobtree.errors import JobTreeError
from jobtree.payload.context import StepContext
from jobtree.payload.lazy_functions import refuse_lazy, refuse_unrun
from jobtree.payload.node import Node, TargetBase, node_of


class Target(TargetBase):
    """One step of a workflow: subclass it, call `super().__init__()`, override `run()`.

    time: an estimate (seconds, or "90m"); memory: bytes, or "2G"; cpu: whole processors; gpus:
    whole devices. None takes the tree's default. isolate: run in a process of its own.

    Attributes must be picklable. A step may run more than once, so run() must work from its
    inputs alone. Children run after run() has returned, in any order; the follow-on after all
    descendants have succeeded. Raises UsageError for values that mean nothing.
    """

    def __init__(
        self,
        time: float | str | None = None,
        memory: float | str | None = None,
        cpu: float | str | None = None,
        gpus: float | str | None = None,
        isolate: bool = False,
    ) -> None:
        requirements = _requirements(memory, cpu, gpus, time)
        self._jobtree = Node(requirements, isolate, ref(self))

    def run(self) -> None:
        """Do the step's work; override it. To fail, raise anything.

        An ordinary function: a generator or `async def` is refused, as nothing of it would run.
        """
        raise NotImplementedError(f"{type(self).__name__}.run() is not written")

    # ---- what comes after ----------------------------------------------------------------

    def addChildTarget(self, child: Target) -> None:
        """Run `child` after this step. Refused: one added before, or that cannot be pickled."""
        node = node_of(self)
        adopt(child, self)
        node.children.append(child)

    def addChildTargetFn(
        self,
        fn: Callable[..., object],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        time: float | str | None = None,
        memory: float | str | None = None,
        cpu: float | str | None = None,
        gpus: float | str | None = None,
        isolate: bool = False,
    ) -> None:
        """Run `fn(target, *args, **kwargs)` as a child; `target` is the Target it runs in.

        `fn` must be a function of a module (or of the script), not a nested one.
        """
        self.addChildTarget(FunctionTarget(fn, args, kwargs, time, memory, cpu, gpus, isolate))

    def addChildCommand(
        self,
        cmd: str,
        runTime: float | str | None = None,
        memory: float | str | None = None,
        cpu: float | str | None = None,
        gpus: float | str | None = None,
    ) -> None:
        """Run a shell command as a child; with JOB_FILE in it, it speaks that protocol."""
        from jobtree.payload.jobfile import protocol_command, shell_command, speaks_protocol

        make = protocol_command if speaks_protocol(cmd) else shell_command
        node_of(self).children.append(make(cmd, _requirements(memory, cpu, gpus, runTime)))

    def setFollowOnTarget(self, follow_on: Target) -> None:
        """Run `follow_on` after all descendants of this step. Refused: a second one."""
        node = node_of(self)
        if node.follow_on is not None:
            name = getattr(node.follow_on, "label", "") or _name(node.follow_on)
            raise JobTreeError(
                f"{type(self).__name__} has a follow-on already: {name}",
                code="JT406",
                fix="set the second one from the first one's run()",
            )
        adopt(follow_on, self)
        node.follow_on = follow_on

    def setFollowOnTargetFn(
        self,
        fn: Callable[..., object],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        time: float | str | None = None,
        memory: float | str | None = None,
        cpu: float | str | None = None,
        gpus: float | str | None = None,
        isolate: bool = False,
    ) -> None:
        """Run `fn(target, *args, **kwargs)` as the follow-on; see addChildTargetFn."""
        self.setFollowOnTarget(FunctionTarget(fn, args, kwargs, time, memory, cpu, gpus, isolate))

    def getChildren(self) -> list[Target]:
        """Return a copy of the list of child Targets added so far."""
        return [child for child in _opened(self).children if isinstance(child, Target)]

    def getFollowOn(self) -> Target | None:
        """Return the follow-on set so far, or None."""
        follow_on = _opened(self).follow_on
        return follow_on if isinstance(follow_on, Target) else None

    # ---- what was asked for --------------------------------------------------------------

    def getRunTime(self) -> float | None:
        """Return the time asked for, in seconds; None if the default is to do."""
        return node_of(self).requirements.time_s

    def getMemory(self) -> int | None:
        """Return the memory asked for, in bytes; None if the default is to do."""
        return node_of(self).requirements.memory_bytes

    def getCpu(self) -> int | None:
        """Return the processors asked for; None if the default is to do."""
        return node_of(self).requirements.cpus

    # ---- only inside run() ---------------------------------------------------------------

    def getAvailableMemory(self) -> int | None:
        """Return the memory really granted, in bytes; None if there is no limit."""
        return self._running("getAvailableMemory").granted.memory_bytes

    def getAvailableCpu(self) -> int | None:
        """Return the processors really granted; None if there is no limit."""
        return self._running("getAvailableCpu").granted.cpus

    def getLocalTempDir(self) -> str:
        """Return a directory on this node: empty now, removed after this step."""
        return self._running("getLocalTempDir").local.ask()

    def getGlobalTempDir(self) -> str:
        """Return a shared directory: this step and its follow-on see the same one."""
        return self._running("getGlobalTempDir").global_directory()

    def getAttempt(self) -> int:
        """Return the number of this attempt: it only grows, and is never used twice."""
        return self._running("getAttempt").attempt

    def getAttemptDir(self) -> str:
        """Return a shared directory that no other attempt at this job ever uses."""
        return self._running("getAttemptDir").attempt_directory()

    def publish(self, src: str | PathLike[str], dst: str | PathLike[str]) -> None:
        """Move `src` to `dst` once this step is committed: exactly once, whatever dies.

        Both are absolute; `src` exists (getAttemptDir() is the place for it), as does the
        directory of `dst`. Dependants start after the move.
        """
        self._running("publish").add_move(src, dst)

    def logToMaster(self, message: object) -> None:
        """Put a message into the master's log, when this step ends."""
        self._running("logToMaster").say(str(message))

    def _running(self, method: str) -> StepContext:
        context = node_of(self).context
        if context is None:
            raise JobTreeError(
                f"{type(self).__name__}.{method}() works only inside run()",
                code="JT407",
                why="what it tells is known only where and when the step runs",
            )
        return context


class FunctionTarget(Target):
    """A Target that calls a function: `fn(target, *args, **kwargs)`."""

    def __init__(
        self,
        fn: Callable[..., object],
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        time: float | str | None,
        memory: float | str | None,
        cpu: float | str | None,
        gpus: float | str | None,
        isolate: bool,
    ) -> None:
        super().__init__(time, memory, cpu, gpus, isolate)
        _check_function(fn)
        refuse_lazy(fn)
        if isinstance(args, str | bytes):
            raise JobTreeError(
                f"args of {_name(fn)} must be a tuple or a list, not {type(args).__name__}",
                code="JT409",
                fix="for one argument write  args=(value,)",
            )
        self.fn, self.args, self.kwargs = fn, tuple(args), dict(kwargs or {})

    def _jobtree_label(self) -> str:
        return _name(self.fn)

    def run(self) -> None:
        """Call the function."""
        refuse_unrun(self.fn(self, *self.args, **self.kwargs), self.fn)


def _opened(target: Target) -> Node:
    """Return the node of a Target, all that hangs on it being Targets again."""
    node = node_of(target)
    if node.pickled_links is not None:
        from jobtree.payload.serialize import unpickle_links

        unpickle_links(node)
    return node


def adopt(target: Target, parent: Target | None) -> None:
    """Refuse what cannot come after `parent` (None: what cannot be a root), else mark it."""
    if not isinstance(target, Target):
        raise JobTreeError(
            f"a Target is wanted, not {target!r:.80} ({type(target).__name__})",
            code="JT408",
            fix="a function goes to addChildTargetFn, a command to addChildCommand",
        )
    node = node_of(target)
    if node.adopted or target is parent or node.context is not None:
        raise JobTreeError(
            f"{type(target).__name__} is part of the workflow already",
            code="JT405",
            why="a Target is one job; it runs once",
            fix="make a new Target for each job",
        )
    refuse_lazy(target.run)
    from jobtree.payload.serialize import check_picklable

    check_picklable(target)
    node.adopted = True


def _requirements(memory: object, cpu: object, gpus: object, time: object) -> Requirements:
    """Return what is asked for; workers whose Targets ask for nothing need no parser."""
    if memory is cpu is gpus is time is None:
        return Requirements()
    from jobtree.units import parse_requirements

    return parse_requirements(memory, cpu, gpus, time)


def _check_function(fn: object) -> None:
    name = getattr(fn, "__qualname__", "")
    ordinary = isinstance(fn, FunctionType | BuiltinFunctionType) and fn.__module__
    if ordinary and "." not in name and name != "<lambda>":
        return
    kind = "a function of a module" if ordinary else f"a {type(fn).__name__}"
    if "<lambda>" in name:
        kind = "a lambda"
    elif "<locals>" in name:
        kind = "a nested function"
    elif "." in name:
        kind = "a method"
    raise JobTreeError(
        f"{_name(fn)} cannot be a Target: it is {kind}",
        code="JT409",
        why="workers find functions by module and name",
        fix="use a function defined at the top level of a module or of the script",
    )


def _name(thing: object) -> str:
    return str(getattr(thing, "__qualname__", type(thing).__name__))


# Node: trees of versions before find it here.
__all__ = ["Command", "FunctionTarget", "CommandKind", "Node", "Target", "adopt", "node_of"]
