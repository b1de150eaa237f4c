"""A wide tree on a healthy virtual cluster: how long it takes, and how many batch jobs.

Owns what such a run is made of; measures in virtual time alone. Read next: test_packing.py.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.simulation.cluster import BatchJob, Node
from tests.simulation.masters import Run
from tests.simulation.trees import Step
from tests.simulation.worker import Worker

NODES, SLOTS_OF_NODE = 4, 8
SLOTS = NODES * SLOTS_OF_NODE
SLOWNESS_S = 0.7
"""A batch job begins 0 to 2.1 s after it was submitted."""


class Child(NamedTuple):
    """One of many siblings. estimate_s: the user's, None for none."""

    lasts_s: float
    estimate_s: float | None = None
    label: str = "Child"


class RunFigures(NamedTuple):
    """How a run went. wall_s: virtual seconds; batch_jobs: how many were submitted for children.

    ideal_s: what the children's work takes if it is spread evenly, nothing being lost.
    """

    wall_s: float
    batch_jobs: int
    ideal_s: float
    steps_run: int


class SteadyWorker(Worker):
    """A worker that nothing holds up."""

    def _pause(self) -> float:
        return 0.005


class Packed(Run):
    """The run: a root with these children, on nodes that are all there."""

    def __init__(self, children: Sequence[Child], folder: str, job_time_s: float) -> None:
        super().__init__(1, folder, faulty=False)
        self.settings = self._settings()._replace(
            job_time_s=job_time_s, max_jobs=2**62, rescue_s=20.0, wait_s=0.0
        )
        defaults = self.settings.defaults._replace(time_s=3600.0)
        self.settings = self.settings._replace(defaults=defaults)
        self._tick_s = 0.25
        cluster = self.cluster
        cluster.nodes = [Node(f"node{n}", SLOTS_OF_NODE) for n in range(NODES)]
        cluster.slowness_s, cluster.says_capacity = SLOWNESS_S, True
        root = _step(1, 0, Child(0.1, None, "Root"))
        self.steps = {1: root}
        for number, child in enumerate(children, 2):
            self.steps[number] = _step(number, 1, child)
            root.children.append(number)

    def _start_worker(self, job: BatchJob, ended: Any) -> Worker:
        name = f"w{len(self._workers) + 1}"
        lose = self.cluster.lose_node
        worker = SteadyWorker(self.disk, job, self.steps, lambda _: 0, ended, lose, name)
        self._workers.append(worker)
        return worker


def _step(number: int, parent: int, child: Child) -> Step:
    return Step(
        number,
        parent,
        False,
        child.label,
        child.lasts_s,
        child.estimate_s,
        None,
        0,
        0,
        False,
        False,
        0.0,
        True,
    )


def run(children: Sequence[Child], job_time_s: float = 600.0, told: bool = True) -> RunFigures:
    """Run them to the end. told: whether the cluster tells how many jobs it runs."""
    folder = tempfile.mkdtemp(prefix="jobtree-sim-")
    try:
        made = Packed(children, folder, job_time_s)
        made.cluster.says_capacity = told
        history = made.run().history
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    over = next(event.at for event in history if event.kind == "finished run")
    claims = sum(event.kind == "claim" and event.data["won"] for event in history)
    ran = sum(event.kind == "started" for event in history)
    ideal_s = sum(child.lasts_s for child in children) / SLOTS
    return RunFigures(over - 1000.0, claims - 1, ideal_s, ran - 1)
