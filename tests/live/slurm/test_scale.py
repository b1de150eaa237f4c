"""Whole workflows on the real Slurm: right results, few commands, large levels, odd requests.

Owns what goes well; the other modules of this folder own what does not. Read next: trees.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from pwd import struct_passwd

import pytest

from tests.live.examples import assert_examples_are_right
from tests.live.slurm.lab import Lab
from tests.live.slurm.trees import Tree, counting_clients
from tests.live.thousand import MANY, most_commands
from tests.live.trees import calls
from tests.live.workflows import assert_level_ran_once, write_level

Plant = Callable[..., Tree]


@pytest.mark.parametrize("who", ["root", "an ordinary user"])
def test_the_examples_finish_with_the_right_result(
    plant: Plant, who: str, ordinary_user: struct_passwd, open_tmp_path: Path
) -> None:
    user = None if who == "root" else ordinary_user
    assert_examples_are_right(plant, user, open_tmp_path)


def test_a_thousand_like_jobs_take_five_commands(slurm: Lab, plant: Plant) -> None:
    tree = plant(brisk=False)
    write_level(tree, MANY, None)
    tree.bin = counting_clients(tree.home / "bin")
    with slurm.configured(MinJobAge="300"):  # Slurm's own default: what ended is remembered
        began = time.monotonic()
        tree.run("--jobTime", "0", limit_s=280)
        took_s = time.monotonic() - began
    assert_level_ran_once(tree, MANY)
    assert Counter(run.state for run in tree.ended_runs(MANY, "Leaf")) == {"COMPLETED": MANY}
    made = calls(tree.bin)
    _, level, follow_on = (at for at, name in enumerate(made) if name == "sbatch")
    print("all commands:", " ".join(made))
    within = "from the submission of the thousand to the end of the last"
    assert follow_on - level <= most_commands(took_s), within


def test_a_level_of_five_thousand_is_packed(plant: Plant) -> None:
    tree = plant()
    write_level(tree, 5000, 0.01)
    tree.bin = counting_clients(tree.home / "bin")
    tree.run("--maxJobs", "40")
    assert_level_ran_once(tree, 5000)
    runs = tree.runs("Leaf")
    print(f"5,000 jobs in {len(runs)} batch jobs, {len(calls(tree.bin))} commands")
    assert len(runs) <= 500


REQUESTS_BODY = """
class Root(Target):
    def run(self):
        self.addChildTarget(Plain(memory="100M", time=7200))
        self.addChildTarget(Gpu(memory="100M", time=60, gpus=1))
class Plain(Target):
    def run(self):
        note("plain", str(os.environ.get("CUDA_VISIBLE_DEVICES")))
class Gpu(Target):
    def run(self):
        note("gpu", str(os.environ.get("CUDA_VISIBLE_DEVICES")))
"""


def test_a_partition_is_found_and_a_gpu_is_given(slurm: Lab, plant: Plant) -> None:
    tree = plant()
    tree.write(REQUESTS_BODY)
    tree.run("--defaultTime", "60")
    default = slurm.partitions[0]
    (long,) = tree.ended_runs(1, "Plain")
    assert long.partition not in ("", default), "its default partition has five minutes only"
    assert int(long.minutes) == 360
    assert tree.lines("plain") == ["None"]
    assert tree.lines("gpu")[0] in ("0", "1")
