"""Trees of one name on a real Grid Engine, and clients that tell another zone's time.

Read next: ../namesakes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.live.namesakes import (
    GIVES_UP_SOON,
    clocks_that_differ_harm_no_job,
    no_job_of_a_namesake_is_taken_or_killed,
    no_job_of_a_tree_removed_runs_anothers_order,
)
from tests.live.sge.lab import Lab
from tests.live.sge.trees import Tree
from tests.live.trees import planting

Plant = Callable[..., Tree]

TIMED_OUT = "Unable to run job: got read error"


@pytest.fixture
def planted(sge: Lab, open_tmp_path: Path) -> Iterator[Plant]:
    """Return what makes trees by Grid Engine's commands: DRMAA knows its own jobs alone."""
    with planting(partial(Tree, "sge"), sge, open_tmp_path) as made:
        yield made


def test_an_unclear_submission_and_a_kill_leave_a_namesakes_job_alone(planted: Plant) -> None:
    theirs, ours = planted(), planted(constants=GIVES_UP_SOON)
    no_job_of_a_namesake_is_taken_or_killed(theirs, ours, "qsub", TIMED_OUT)


def test_a_job_that_waited_runs_no_order_of_the_tree_begun_anew(sge: Lab, plant: Plant) -> None:
    @contextmanager
    def disabled() -> Iterator[None]:
        sge.run("qmod", "-d", "*")
        yield
        sge.run("qmod", "-e", "*")

    no_job_of_a_tree_removed_runs_anothers_order(plant(), disabled())


@pytest.mark.parametrize("around", ["TZ=WEST5", "TZ=EAST-9"])
def test_a_zone_set_around_clients_harms_no_job(planted: Plant, around: str) -> None:
    clocks_that_differ_harm_no_job(planted(), ("qstat",), around)
