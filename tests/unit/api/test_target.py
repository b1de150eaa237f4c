"""The API of Targets: what is refused, when, and in which words."""

from __future__ import annotations

import copy
import functools
import shutil
import sqlite3
import types
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

import jobtree
from jobtree import JobTreeError, Stack, Target, UsageError
from jobtree.core.job import CommandKind, Requirements
from jobtree.mailbox.bundles import BundleWriter, read_pickle
from jobtree.payload.context import LocalDirectory, StepContext, ThisProcess
from jobtree.payload.main_script import Script
from jobtree.payload.node import node_of
from jobtree.payload.serialize import restore_target, target_command
from jobtree.target import FunctionTarget
from tests.component.worker.worker_targets import (
    Call,
    WithoutInit,
    generate,
    run_coroutine,
    say,
    wait,
)


class Plain(Target):
    """Has what its keyword arguments say."""

    def __init__(self, **attributes: object) -> None:
        super().__init__()
        vars(self).update(attributes)


class WithState(Target):
    """Pickles only what it wants."""

    def __init__(self) -> None:
        super().__init__(memory="1G")
        self.lock = sqlite3.connect(":memory:")
        self.addChildTarget(Call("nothing"))

    def __getstate__(self) -> dict[str, object]:
        return {"kept": 1}


def refused(code: str) -> pytest.RaisesExc[JobTreeError]:
    return pytest.RaisesExc(JobTreeError, check=lambda error: error.code == code)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "bundles").mkdir()
    return tmp_path


def through_a_pickle(target: Target, tree: Path) -> Target:
    bundle = BundleWriter(str(tree), "b")
    command = target_command(target, bundle)
    bundle.close()
    assert command.pickle is not None
    restored = restore_target(str(tree), read_pickle(str(tree), command.pickle), Script(""))
    assert isinstance(restored, Target)
    return restored


def test_everything_public_is_there() -> None:
    for name in jobtree.__all__:
        assert getattr(jobtree, name) is not None
        assert name in dir(jobtree)
    with pytest.raises(AttributeError):
        _ = jobtree.nothing


def test_requirements_as_people_write_them() -> None:
    target = Target(time="90m", memory="2G", cpu=2, gpus=1)
    assert (target.getRunTime(), target.getMemory(), target.getCpu()) == (5400, 2**31, 2)
    assert node_of(target).requirements.gpus == 1
    assert (Target().getRunTime(), Target().getMemory(), Target().getCpu()) == (None, None, None)


@pytest.mark.parametrize("wants", [{"memory": "lots"}, {"time": "soon"}, {"cpu": 0}, {"cpu": 1.5}])
def test_requirements_that_mean_nothing(wants: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Target(**wants)  # type: ignore[arg-type]


def test_run_must_be_written() -> None:
    with pytest.raises(NotImplementedError, match=r"Target\.run"):
        Target().run()


# ---- refused when added ------------------------------------------------------------------


def test_init_forgotten() -> None:
    with refused("JT403"):
        WithoutInit().addChildTarget(Call("nothing"))
    with refused("JT403"):
        Target().addChildTarget(WithoutInit())
    with pytest.raises(JobTreeError, match="WithoutInit"):
        Stack(WithoutInit())


def test_added_twice() -> None:
    parent, child = Target(), Call("nothing")
    parent.addChildTarget(child)
    for add in (parent.addChildTarget, parent.setFollowOnTarget, Target().addChildTarget):
        with refused("JT405"):
            add(child)
    with refused("JT405"):
        Stack(child)
    with refused("JT405"):
        parent.addChildTarget(parent)


def test_a_second_follow_on() -> None:
    target = Target()
    target.setFollowOnTarget(Call("nothing"))
    with refused("JT406"):
        target.setFollowOnTarget(Call("nothing"))
    with refused("JT406"):
        target.setFollowOnTargetFn(say)


def test_not_a_target() -> None:
    with refused("JT408"):
        Target().addChildTarget("echo")  # type: ignore[arg-type]


def test_what_cannot_be_pickled_is_named() -> None:
    class Holder:
        pass

    connection = sqlite3.connect(":memory:")
    db = Plain()  # any object with attributes
    vars(db)["conn"] = connection
    with pytest.raises(JobTreeError, match=r"self\.db\.conn is a sqlite3\.Connection") as error:
        Target().addChildTarget(Plain(db=db, name="x"))
    assert error.value.code == "JT401"
    assert "inside run()" in error.value.fix
    with pytest.raises(JobTreeError, match=r"self\.things\[1\]\['f'\] is a function"):
        Target().addChildTarget(Plain(things=[1, {"f": lambda: 1}]))
    with refused("JT401"):
        Stack(Plain(generator=(n for n in [1])))
    connection.close()


def test_a_local_class_is_refused() -> None:
    class Local(Target):
        pass

    with refused("JT401"):
        Target().addChildTarget(Local())


def nested() -> object:
    def inner(target: Target) -> None: ...

    return inner


@pytest.mark.parametrize(
    "fn",
    [lambda _: None, nested(), Plain.run, Plain().run, functools.partial(say), Plain, "say", None],
)
def test_functions_that_workers_cannot_find(fn: object) -> None:
    with refused("JT409"):
        Target().addChildTargetFn(fn)  # type: ignore[arg-type]


class Generator(Target):
    def run(self) -> Iterator[int]:  # type: ignore[override]
        yield 1


class Async(Target):
    async def run(self) -> None:  # type: ignore[override]
        pass


class AsyncGenerator(Target):
    async def run(self) -> AsyncIterator[int]:  # type: ignore[override]
        yield 1


class Inherits(Async):
    pass


class OldCoroutine(Target):
    @types.coroutine
    def run(self) -> Iterator[int]:  # type: ignore[override]
        yield 1


@pytest.mark.parametrize("kind", [Generator, Async, AsyncGenerator, Inherits, OldCoroutine])
def test_a_run_of_which_no_line_would_run_is_refused(kind: type[Target]) -> None:
    for add in (Target().addChildTarget, Target().setFollowOnTarget, Stack):
        with pytest.raises(JobTreeError, match=r"run\(\) cannot be a step") as error:
            add(kind())
        assert error.value.code == "JT460"
        assert "inside run()" in error.value.fix


@pytest.mark.parametrize("fn", [generate, wait])
def test_a_function_of_which_no_line_would_run_is_refused(fn: Callable[..., object]) -> None:
    for add in (Target().addChildTargetFn, Target().setFollowOnTargetFn):
        with refused("JT460"):
            add(fn)


def test_a_run_that_does_its_asynchronous_work_itself_is_taken() -> None:
    Target().addChildTarget(Call("run_coroutine"))
    Target().addChildTargetFn(run_coroutine)


def test_one_string_is_no_list_of_arguments() -> None:
    with refused("JT409"):
        Target().addChildTargetFn(say, "word")


def test_a_copy_starts_with_nothing_added() -> None:
    parent, template = Target(), Plain(x=1)
    template.addChildTarget(Call("nothing"))
    for make in (copy.copy, copy.deepcopy):
        twin = make(template)
        assert twin.getChildren() == []
        parent.addChildTarget(twin)
    parent.addChildTarget(template)
    assert len(parent.getChildren()) == 3


# ---- what comes out ----------------------------------------------------------------------


def test_functions_keep_what_they_ask_for() -> None:
    target = Target()
    target.addChildTargetFn(say, ["hi"], memory="1G", cpu=2, time="1m", gpus=1, isolate=True)
    (child,) = target.getChildren()
    assert node_of(child).requirements == Requirements(2**30, 2, 1, 60.0)
    assert node_of(child).isolate
    target.addChildTargetFn(shutil.copy, ("a", "b"))


def test_a_function_gets_its_target_first(capsys: pytest.CaptureFixture[str]) -> None:
    FunctionTarget(say, (), {"words": "hi"}, None, None, None, None, False).run()
    assert capsys.readouterr().out == "hi\n"


def test_commands() -> None:
    target = Target()
    target.addChildCommand("sort x", runTime="5m", memory="1G", cpu=2)
    target.addChildCommand("grow JOB_FILE")
    plain, protocol = node_of(target).children
    assert (plain.kind, protocol.kind) == (CommandKind.SHELL, CommandKind.PROTOCOL)  # type: ignore[union-attr]
    assert plain.requirements == Requirements(2**30, 2, None, 300.0)  # type: ignore[union-attr]
    assert target.getChildren() == []


def test_lists_are_copies() -> None:
    target, child = Target(), Call("nothing")
    target.addChildTarget(child)
    target.getChildren().clear()
    assert target.getChildren() == [child]
    assert target.getFollowOn() is None


@pytest.mark.parametrize(
    "method",
    ["getLocalTempDir", "getGlobalTempDir", "getAttempt", "getAttemptDir", "getAvailableMemory",
     "getAvailableCpu"],
)  # fmt: skip
def test_only_inside_run(method: str) -> None:
    with pytest.raises(JobTreeError, match=rf"Call\.{method}\(\) works only inside run"):
        getattr(Call("nothing"), method)()
    with refused("JT407"):
        Call("nothing").logToMaster("x")
    with refused("JT407"):
        Call("nothing").publish("/a", "/b")


# ---- in transit --------------------------------------------------------------------------


def test_what_was_added_before_comes_along(tree: Path) -> None:
    root = Call("nothing", memory="1G")
    first = root
    for number in range(3000):  # deep, and no deep recursion
        following = Call("say", number)
        first.setFollowOnTarget(following)
        first = following
    root.addChildCommand("echo", memory="1K")
    child = Call("nothing", cpu=2)
    child.addChildTarget(Call("nothing"))
    root.addChildTarget(child)
    back = through_a_pickle(root, tree)
    assert back.getMemory() == 2**30
    assert back.getChildren()[0].getCpu() == 2
    assert len(back.getChildren()[0].getChildren()) == 1
    assert node_of(back).children[0].text == "echo"  # type: ignore[union-attr]
    depth, at = 0, back
    while (then := at.getFollowOn()) is not None:
        depth, at = depth + 1, then
    assert depth == 3000
    with refused("JT405"):
        back.addChildTarget(back.getChildren()[0])


def test_a_targets_own_getstate_loses_nothing_of_ours(tree: Path) -> None:
    back = through_a_pickle(WithState(), tree)
    assert vars(back)["kept"] == 1
    assert back.getMemory() == 2**30
    assert len(back.getChildren()) == 1


def test_a_child_may_know_its_parent(tree: Path) -> None:
    parent = Plain()
    child = Plain(parent=parent)
    vars(parent)["child"] = child
    parent.addChildTarget(child)
    back = through_a_pickle(parent, tree)
    assert back.getChildren() == [vars(back)["child"]]


# ---- publish -----------------------------------------------------------------------------


def test_publish_says_at_once_what_is_wrong(tmp_path: Path) -> None:
    local = LocalDirectory(str(tmp_path / "local"))
    context = StepContext(str(tmp_path), 1, 1, 0, 0, Requirements(), local)
    made = tmp_path / "made"
    made.touch()
    inside = Path(local.ask()) / "x"
    inside.touch()
    to = str(tmp_path / "to")
    for source, destination, why in (
        ("made", to, "absolute"),
        (str(made), "to", "absolute"),
        (str(tmp_path / "absent"), to, "does not exist"),
        (str(made), "/absent/to", "directory does not exist"),
        (str(made), str(tmp_path), "is a directory"),
        (str(inside), to, "local temp dir"),
    ):
        with pytest.raises(JobTreeError, match=why):
            context.add_move(source, destination)
    context.add_move(str(made), to)
    with pytest.raises(JobTreeError, match="before"):
        context.add_move(str(made), to)
    assert context.publish == [[str(made), to]]


def test_messages_are_bounded(tmp_path: Path) -> None:
    local = LocalDirectory(str(tmp_path / "local"))
    context = StepContext(str(tmp_path), 1, 1, 0, 0, Requirements(), local)
    for _ in range(1000):
        context.say("x" * 1000)
    assert len(context.messages) < 70
    assert "dropped" in context.messages[-1]


def test_a_worker_never_starts_a_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThisProcess, "in_worker", True)
    with pytest.raises(JobTreeError, match="imported the script") as error:
        Stack(Call("nothing")).startJobTree(None)  # type: ignore[arg-type]
    assert error.value.code == "JT402"
    assert 'if __name__ == "__main__":' in error.value.fix
