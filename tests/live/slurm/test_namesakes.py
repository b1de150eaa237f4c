"""Trees of one name on a real Slurm, and clients that tell another zone's time.

Read next: ../namesakes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.live.namesakes import (
    GIVES_UP_SOON,
    clocks_that_differ_harm_no_job,
    no_job_of_a_namesake_is_taken_or_killed,
    no_job_of_a_tree_removed_runs_anothers_order,
)
from tests.live.slurm.lab import Lab
from tests.live.slurm.trees import Tree

Plant = Callable[..., Tree]

TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"


def test_an_unclear_submission_and_a_kill_leave_a_namesakes_job_alone(plant: Plant) -> None:
    theirs, ours = plant(), plant(constants=GIVES_UP_SOON)
    no_job_of_a_namesake_is_taken_or_killed(theirs, ours, "sbatch", TIMED_OUT)


def test_a_job_that_waited_runs_no_order_of_the_tree_begun_anew(slurm: Lab, plant: Plant) -> None:
    @contextmanager
    def drained() -> Iterator[None]:
        for node in slurm.nodes:
            slurm.fault("drain", node)
        yield
        for node in slurm.nodes:
            slurm.fault("resume", node)

    no_job_of_a_tree_removed_runs_anothers_order(plant(), drained())


@pytest.mark.parametrize(
    ("clients", "around", "accounting"),
    [
        (("squeue",), "TZ=WEST5", False),
        (("squeue", "sacct"), "TZ=WEST5", True),
        (("squeue", "sacct"), "TZ=EAST-9", True),
    ],
)
def test_a_zone_set_around_clients_harms_no_job(
    plant: Plant, clients: tuple[str, ...], around: str, accounting: bool
) -> None:
    tree = plant(slurm={"accounting": accounting})
    clocks_that_differ_harm_no_job(tree, clients, around)
