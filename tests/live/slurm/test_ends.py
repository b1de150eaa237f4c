"""How steps and their batch jobs end on a real Slurm, and what the tree makes of it.

Owns single ends; what happens to nodes, services and masters is tested elsewhere.
Read next: trees.py.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.live.slurm.lab import Lab
from tests.live.slurm.trees import Tree
from tests.live.trees import fake_client
from tests.live.waiting import eventually
from tests.live.workflows import assert_ends_were_told, write_ends

Plant = Callable[..., Tree]

STATUSES = (1, 3, 75, 99, 100, 137, 255)
SIGNALS = (9, 11, 15)


def test_no_exit_status_or_signal_of_a_step_means_anything_special(plant: Plant) -> None:
    tree = plant()
    write_ends(tree, STATUSES, SIGNALS)
    said = tree.run("--retryCount", "1")
    assert_ends_were_told(tree, said, STATUSES, SIGNALS)
    expected = {f"0:{number}" for number in SIGNALS}
    runs = eventually(
        "accounting",
        tree.runs,
        lambda runs: all(run.is_final for run in runs) and expected <= {run.code for run in runs},
    )
    bad = {run.code for run in runs if run.state != "COMPLETED"}
    assert bad == expected, "a worker's exit status is its own"


SCARCE_BODY = """
import subprocess
ALLOCATE = "import sys; x = bytearray(%d << 20); open(sys.argv[1], 'a').write('through ')"
class Root(Target):
    def run(self):
        self.addChildTarget(Inside())
        self.addChildTarget(Below())
        self.addChildTarget(Late())
        script = ALLOCATE % 180
        self.addChildCommand(f'{sys.executable} -c "{script}" shell', runTime=60, memory="100M")
class Inside(Target):
    def __init__(self):
        super().__init__(memory="100M", time=60)
    def run(self):
        note("inside", str(self.getAvailableMemory() >> 20))
        x = bytearray(180 << 20)
        time.sleep(3)  # without cgroups Slurm looks once a second
        note("inside", "through")
class Below(Target):
    def __init__(self):
        super().__init__(memory="100M", time=60)
    def run(self):
        note("below", str(self.getAvailableMemory() >> 20))
        subprocess.run([sys.executable, "-c", ALLOCATE % 180, "below"], check=True)
class Late(Target):
    def __init__(self):
        super().__init__(memory="50M", time=60)
    def run(self):
        note("late", batch_id())
        if first_time("late began"):
            wait_for("never")
"""


def test_too_little_memory_or_time_is_answered_with_more(slurm: Lab, plant: Plant) -> None:
    tree = plant()
    tree.write(SCARCE_BODY)
    print("with cgroups" if slurm.cgroup else "without cgroups")
    master = tree.start()  # no retries: what was lost to want is not the user's fault
    (job,) = tree.wait_for_lines("late", 1)
    slurm.fault("time-out", job)
    ended = master.end()
    tree.assert_done(ended)
    assert "failed job" not in ended.said
    assert tree.lines("inside") == ["100", "200", "through"]
    if slurm.cgroup:
        assert tree.lines("below") == ["100", "200", "through"]
    assert tree.lines("shell") == ["through"]
    assert "out of memory at 0.0977 GiB" in ended.said
    assert "reached its time limit of 600 s" in ended.said
    first, second = tree.ended_runs(2, "Late")
    assert (first.state, second.state) == ("TIMEOUT", "COMPLETED")
    assert int(second.minutes) == 20


MISSING_BODY = """
class Root(Target):
    def run(self):
        note("root", "ran")
        wait_for("gate")
        self.addChildTarget(Leaf())
        self.addChildTarget(Leaf())
class Leaf(Target):
    def run(self):
        note("leaf", "ran")
"""


def test_a_missing_output_directory_is_named(plant: Plant) -> None:
    tree = plant()
    tree.write(MISSING_BODY)
    master = tree.start()
    tree.wait_for_lines("root", 1)
    logs, away = tree.directory / "logs", tree.directory / "logs-away"
    logs.rename(away)
    tree.open("gate")
    master.wait_for_word("the directory of its output may be missing")
    away.rename(logs)
    tree.assert_done(master.end())
    assert tree.lines("leaf") == ["ran", "ran"]


def test_what_can_never_start_is_said_with_slurms_reason_and_a_remedy(
    slurm: Lab, plant: Plant
) -> None:
    tree = plant(slurm={"partition": "short"})
    tree.write("class Root(Target):\n    def run(self):\n        note('root', 'ran')\n")
    tree.bin = tree.home / "bin"
    fake_client(tree.bin, "sinfo", "exit 1")  # or jobTree itself would ask for less
    master = tree.start()
    (job,) = tree.wait_queued(1)
    eventually("the reason", lambda: slurm.reason(job), lambda why: why == "PartitionTimeLimit")
    master.wait_for_word("PartitionTimeLimit: it asks for more time than the partition allows")
    slurm.run("scontrol", "update", f"job={job}", "timelimit=5")
    tree.assert_done(master.end())
    assert tree.lines("root") == ["ran"]
