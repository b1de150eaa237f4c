"""The simulator's worker against the real one: given the same orders, they say the same.

The real one is a process on a real tree; times, usages, hosts and logs are left out of what is
compared. Read next: acted.py, what steps do here; worker.py, the simulator's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from batchsystems.interface import JobEnd, JobSpec
from jobtree.core.job import Command, Pickle, Requirements
from jobtree.mailbox import PROTOCOL, layout
from jobtree.mailbox.bundles import digest, read_pickle
from jobtree.mailbox.claims import Claim, Fence, take_claim, write_fence
from jobtree.mailbox.orders import Assignment, write_order
from jobtree.mailbox.results import (
    Children,
    Done,
    End,
    Failed,
    Hello,
    Returned,
    Start,
    Synced,
    decode_line,
)
from jobtree.payload.main_script import Script
from jobtree.payload.serialize import restore_target
from tests.component.worker.workers import SUBMISSION, TERMS, Tree
from tests.simulation.acted import NO_CLAIM, Acted, Plan, grows
from tests.simulation.cluster import BatchJob, Node
from tests.simulation.disk import Disk
from tests.simulation.trees import NEVER, Step, command_for, step_number
from tests.simulation.worker import Worker
from tests.simulation.world import World

pytestmark = pytest.mark.usefixtures("no_stray_processes")

CASES, DEEPEST = 40, 3
FOLDERS = (layout.ORDERS, layout.CLAIMS, layout.FENCES, layout.RESULTS, layout.BUNDLES)
ATTEMPT, STEP, DEPTH = 1_000_001, 3, 2


class Case(NamedTuple):
    """What workers are given, and what befalls them."""

    steps: dict[int, Step]
    """the plan, by number"""
    packs: list[list[tuple[list[int], bool]]]
    """of each task the jobs: their stacks of steps, and whether to isolate the first"""
    runs: list[int]
    """the tasks whose workers start, one after the other"""
    fences: dict[int, str]
    """what is told to the worker while it runs these steps"""
    before: str = ""
    """what is different at the start: see BEFORE"""


BEFORE = (
    "withdrawn",
    "another protocol",
    "claimed",
    "results there",
    "tree not seen",
    Fence.STOP,
    Fence.RECALL,
    Fence.recall(2, 1),
)


class Outcome(NamedTuple):
    """What came of a case: exit statuses, lines by issue, names of files, jobs with directories."""

    statuses: list[int]
    lines: dict[str, list[tuple[Any, ...]]]
    files: list[str]
    directories: list[int]


# ---- the cases ---------------------------------------------------------------------------------


def plan_case(seed: int) -> Case:
    """Return the case of a seed."""
    rng = Random(f"worker case {seed}")
    steps: dict[int, Step] = {}
    tasks = rng.choice([1, 1, 2, 3])
    packs = [
        [
            ([_grow(rng, steps, rng.random() < 0.7) for _ in range(rng.choice([1, 1, 2, 3]))],
             rng.random() < 0.2)
            for _ in range(rng.choice([1, 2, 4]))
        ]
        for _ in range(tasks)
    ]  # fmt: skip
    runs = [rng.randrange(tasks) for _ in range(rng.choice([1, tasks, tasks + 1]))]
    before = "" if seed % 5 else BEFORE[seed // 5 % len(BEFORE)]
    words = [Fence.STOP, NO_CLAIM, Fence.RECALL, Fence.recall(2, 1), Fence.recall(3, 2)]
    targets = [number for number, step in steps.items() if step.is_target]
    fenced = rng.sample(targets, min(len(targets), rng.choice([0, 0, 1, 2])))
    return Case(steps, packs, runs, {number: rng.choice(words) for number in fenced}, before)


def _grow(rng: Random, steps: dict[int, Step], is_target: bool, depth: int = 0) -> int:
    """Plan a step and all that comes of it; return its number."""
    number = len(steps) + 1
    fails = rng.random() < 0.15
    step = steps[number] = Step(
        number,
        0,
        False,
        "C",
        lasts_s=0.0,
        estimate_s=rng.choice([None, None, 5.0, 7200.0]),
        asks_bytes=rng.choice([None, None, 2**30, 4 * 2**30]),
        needs_bytes=0,
        fails=NEVER if fails else 0,
        crashes=rng.random() < 0.4,
        publishes=is_target and rng.random() < 0.15,
        directory=float(is_target and rng.random() < 0.3),
        is_target=is_target,
    )
    if depth < DEEPEST:
        count = rng.choice([0, 1, 1, 1, 2, 5])
        below = depth + 1 if count == 1 else DEEPEST  # of several, none is run here
        kinds = [is_target and rng.random() < 0.8 for _ in range(count)]
        step.children = [_grow(rng, steps, kind, below) for kind in kinds]
        if rng.random() < 0.3:
            step.follow_on = _grow(rng, steps, is_target, depth + 1)
    if not is_target and grows(step) and not fails:
        step.directory = 1.0  # whoever is given a JOB_FILE is given directories
    return number


# ---- the real worker ---------------------------------------------------------------------------


def run_real(case: Case, folder: Path) -> Outcome:
    """Have real workers do what the case says."""
    tree = Tree(folder)
    path = str(tree.path)
    packs = []
    for index, pack in enumerate(case.packs):
        issue = layout.issue_name(SUBMISSION, index)
        plan = Plan(case.steps, path, issue, str(tree.home), case.fences)

        def command(number: int, plan: Plan = plan) -> Command:
            is_target = plan.steps[number].is_target
            return tree.target(Acted(plan, number)) if is_target else plan.command(number)

        packs.append(_assignments(pack, command))
    write_order(path, TERMS._replace(scratch=str(tree.scratch)), packs)
    order = Path(layout.order_path(path, SUBMISSION))
    issue = layout.issue_name(SUBMISSION, case.runs[0])
    if case.before == "withdrawn":
        order.unlink()
    elif case.before == "another protocol":
        order.write_bytes(order.read_bytes().replace(b'"protocol":1', b'"protocol":2'))
    elif case.before == "claimed":
        held = take_claim(path, issue, Claim("elsewhere", 1, "other", 0.0, 0))
        assert held is not None
        os.close(held)
    elif case.before == "results there":
        Path(layout.result_path(path, issue)).touch()
    elif case.before.startswith((Fence.STOP, Fence.RECALL)):
        write_fence(path, issue, case.before)
    elsewhere = folder / "elsewhere"
    if case.before == "tree not seen":
        tree.path.rename(elsewhere)
    statuses = []
    for index in case.runs:
        worker = tree.start(index)
        worker.communicate(timeout=60)
        statuses.append(worker.returncode)
    if elsewhere.exists():
        elsewhere.rename(tree.path)
    return _outcome_of(tree, statuses)


def _outcome_of(tree: Tree, statuses: list[int]) -> Outcome:
    path = str(tree.path)

    def number(command: Command) -> int:
        if command.pickle is None:
            return int(re.findall(r"step (\d+)", command.text)[0])
        target = restore_target(path, read_pickle(path, command.pickle), Script(""))
        assert isinstance(target, Acted)
        return target.number

    files = [f"{folder}/{name}" for folder in FOLDERS for name in os.listdir(tree.path / folder)]
    if "bundles/root" in files:
        files.remove("bundles/root")
    results = {
        path.partition("/")[2]: (tree.path / path).read_bytes()
        for path in files
        if path.startswith("results/")
    }
    held = [int(job.name) for job in (tree.path / layout.DIRECTORIES).glob("*/*")]
    return _outcome(statuses, results, files, held, number)


# ---- the simulator's worker --------------------------------------------------------------------


class FencingWorld(World):
    """A world in which fences are raised by the steps that are to raise them."""

    def __init__(self, case: Case) -> None:
        super().__init__(1, faulty=False)
        self.case = case
        self.disk = Disk(self)

    def record(self, kind: str, **data: Any) -> None:
        super().record(kind, **data)
        word = self.case.fences.get(data["node"]) if kind == "started" else None
        if word == NO_CLAIM:
            self.disk.remove(f"claims/{data['issue']}")
        elif word is not None:
            self.fence(data["issue"], word)

    def fence(self, issue: str, word: str) -> None:
        """Raise a fence, or change what it says."""
        self.disk.remove(f"fences/{issue}")
        self.disk.create(f"fences/{issue}", word)


def run_simulated(case: Case) -> Outcome:
    """Have the simulator's workers do the same."""
    world = FencingWorld(case)
    disk, node = world.disk, Node("node", 1)
    packs = [_assignments(pack, lambda n: command_for(case.steps[n], _pickle_of(case.steps[n])))
             for pack in case.packs]  # fmt: skip
    issue = layout.issue_name(SUBMISSION, case.runs[0])
    protocol = PROTOCOL + (case.before == "another protocol")
    if case.before != "withdrawn":
        disk.create(f"orders/{SUBMISSION}", (protocol, TERMS, packs))
    if case.before == "claimed":
        disk.create(f"claims/{issue}", 0)
    elif case.before == "results there":
        disk.create(f"results/{issue}")
    elif case.before.startswith((Fence.STOP, Fence.RECALL)):
        world.fence(issue, case.before)
    node.sees_tree = case.before != "tree not seen"
    ends: list[JobEnd] = []
    for count, index in enumerate(case.runs):
        job = BatchJob(str(count), JobSpec(SUBMISSION, ("worker",), index=index))
        job.node = node
        Worker(disk, job, case.steps, lambda _: 0, ends.append, lambda _: None, f"w{count}")
        world.run_until(world.now + 3600.0)
    statuses = [-(end.signal or 0) or end.exit_status or 0 for end in ends]
    files = [path for path in disk.files if path.partition("/")[0] in FOLDERS]
    results = {
        path.partition("/")[2]: bytes(disk.files[path].data)
        for path in files
        if path.startswith("results/")
    }
    return _outcome(statuses, results, files, list(disk.directories), step_number)


def _pickle_of(step: Step) -> Pickle | None:
    """Return where a step's pickle was before any worker: in a bundle that both have."""
    return Pickle("root", 0, 1, digest(b"root")) if step.is_target else None


# ---- what is compared --------------------------------------------------------------------------


def _assignments(pack: list[tuple[list[int], bool]], command: Any) -> list[Assignment]:
    return [
        Assignment(job, ATTEMPT, STEP, DEPTH, isolate, tuple(map(command, stack)))
        for job, (stack, isolate) in enumerate(pack, 1)
    ]


def _outcome(
    statuses: list[int],
    results: dict[str, bytes],
    files: list[str],
    directories: list[int],
    number: Any,
) -> Outcome:
    lines = {issue: list(_told(content, number)) for issue, content in sorted(results.items())}
    names = sorted(re.sub(r"~lost\..*", "~lost", name) for name in files)
    return Outcome(statuses, lines, names, sorted(directories))


def _told(content: bytes, number: Any) -> Iterator[tuple[Any, ...]]:
    """Yield what the lines of a results file mean, without times, usages, hosts and logs."""

    def meant(command: Command | None) -> object:
        if command is None:
            return None
        requirements = Requirements(*command.requirements)
        return number(command), command.pickle is not None, requirements[0], requirements.time_s

    children: list[Command] = []
    first = at = synced = 0
    ended = False
    for raw in content.splitlines(keepends=True):
        line = decode_line(raw)
        if isinstance(line, Children):
            first = first if children else at
            children += line.children
        at += len(raw)
        if isinstance(line, Done):
            assert line.children_at == (first if children else -1)
            told = [meant(child) for child in children or line.children]
            children = []
            assert len(told) == line.child_count
            which = line.job, line.attempt, line.step
            moves = [os.path.basename(destination) for _, destination in line.publish]
            then = meant(line.follow_on), line.goes_on
            yield "done", *which, told, *then, moves, line.messages, line.has_directory
        elif isinstance(line, Failed):
            which = line.job, line.attempt, line.step
            how = line.exit_status, line.signal, line.crashed, line.out_of_memory
            yield "failed", *which, *how, line.messages, line.has_directory
        elif isinstance(line, Start):
            yield "start", line.job, line.attempt, line.step
        elif isinstance(line, Returned):
            yield "returned", line.jobs
        elif isinstance(line, Hello | End):
            yield (type(line).__name__.lower(),)
        if isinstance(line, Synced):
            synced = max(synced, line.size)
        else:
            ended, written = isinstance(line, End), at
    assert not ended or synced >= written, "what was published is not said to be on disk"


@pytest.mark.parametrize("seed", range(CASES))
def test_both_workers_say_and_leave_the_same(seed: int, tmp_path: Path) -> None:
    case = plan_case(seed)
    real, simulated = run_real(case, tmp_path), run_simulated(case)
    for issue, lines in real.lines.items():
        assert simulated.lines.get(issue) == lines, f"seed {seed}, {issue}"
    assert simulated == real


def test_the_cases_are_of_every_kind() -> None:
    cases = [plan_case(seed) for seed in range(CASES)]
    assert {case.before for case in cases} == {"", *BEFORE}
    assert {word.split()[0] for case in cases for word in case.fences.values()} >= {
        *(Fence.STOP, Fence.RECALL, NO_CLAIM.split()[0]),
    }
    steps = [step for case in cases for step in case.steps.values()]
    for kind in ("children", "follow_on", "fails", "crashes", "publishes", "is_target"):
        assert any(getattr(step, kind) for step in steps)
