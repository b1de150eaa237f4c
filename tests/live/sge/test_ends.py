"""How steps and their batch jobs end on a real Grid Engine, and what the tree makes of it.

Owns single ends, and what never begins; what happens to hosts, the master of the cell and those
of trees is tested elsewhere. Read next: trees.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.live.sge.lab import Lab
from tests.live.sge.trees import Tree
from tests.live.trees import POLICY
from tests.live.workflows import assert_ends_were_told, write_ends

Plant = Callable[..., Tree]

STATUSES = (1, 99, 100, 137, 255)
SIGNALS = (9, 11, 15)

SCARCE_BODY = """
import subprocess
class Root(Target):
    def run(self):
        self.addChildTarget(Hungry())
        self.addChildTarget(Late())
class Hungry(Target):
    def __init__(self):
        super().__init__(memory="200M", time=60)
    def run(self):
        note("hungry", str(self.getAvailableMemory() >> 20))
        part = [sys.executable, "-ISc", "x = bytearray(120 << 20); input()"]
        parts = [subprocess.Popen(part, stdin=subprocess.PIPE) for _ in range(2)]
        time.sleep(50 if first_time("hungry began") else 4)  # hosts look every second
        for each in parts:
            each.communicate(b"go on")
        note("hungry", "through" if all(each.returncode == 0 for each in parts) else "not")
class Late(Target):
    def __init__(self):
        super().__init__(memory="100M", time=10)
    def run(self):
        note("late", batch_id())
        if first_time("late began"):
            wait_for("never")
"""


def test_no_status_or_signal_means_anything_special_and_too_little_is_answered_with_more(
    plant: Plant,
) -> None:
    """Both at once: a tree with one retry for its failures, and one with none, as it needs none."""
    failing, scarce = plant(), plant(jobs={"min_time": 10, "time_margin": 1})
    write_ends(failing, STATUSES, SIGNALS)
    scarce.write(SCARCE_BODY)
    masters = [failing.start("--retryCount", "1"), scarce.start("--retryCount", "0")]
    ended = [master.end() for master in masters]
    failing.assert_done(ended[0])
    scarce.assert_done(ended[1])

    assert_ends_were_told(failing, ended[0].said, STATUSES, SIGNALS)
    bad = Counter(run.end for run in failing.runs() if run.end != ("0", "0"))
    assert bad == {("100", str(128 + number)): 1 for number in SIGNALS}, "its status is its own"

    said = ended[1].said
    assert "failed job" not in said
    assert scarce.lines("hungry") == ["200", "400", "through"]
    assert "out of memory at 0.195 GiB" in said
    assert "reached its time limit of 10 s" in said
    first, second = scarce.ended_runs(2, "Late")
    assert (first.end, first.limit("h_rt")) == (("37", "137"), "10")
    assert (second.end, second.limit("h_rt")) == (("0", "0"), "20")
    first, second = scarce.ended_runs(2, "Hungry")
    assert (first.end, second.end) == (("37", "137"), ("0", "0"))
    assert int(second.limit("h_vmem")[:-1]) == int(first.limit("h_vmem")[:-1]) + 200


MISSING_BODY = """
class Root(Target):
    def run(self):
        note("root", "ran")
        wait_for("gate")
        self.addChildTarget(Leaf())
        self.addChildTarget(Leaf())
class Leaf(Target):
    def __init__(self):
        super().__init__(memory="100M", time=60)
    def run(self):
        note("leaf", "ran")
"""


NO_OUTPUT = {"sge": ("26", "0"), "drmaa": ("0", "126")}
"""Over a library it is the job's own script that opens its output."""

NO_DIRECTORY = ("28", "0")


def test_a_missing_output_or_working_directory_is_named_and_its_jobs_tried_again(
    machines: Lab, system: str, plant: Plant
) -> None:
    """Two trees at once: one loses the directory of its logs, hosts that of the other's start."""
    trees = [plant(grace={"stuck": 2}, constants={POLICY: {"hold_most_s": 1.0}}) for _ in range(2)]
    masters = []
    for tree in trees:
        tree.cwd = tree.home / "mounted" / "cwd"
        tree.cwd.mkdir(parents=True)
        tree.write(MISSING_BODY)
        masters.append(tree.start("--retryCount", "0"))
    for tree in trees:
        tree.wait_for_lines("mounted/cwd/root", 1)
    logs, mounted = trees[0].directory / "logs", trees[1].home / "mounted"
    away = logs.rename(logs.with_name("away"))
    for host in machines.hosts:
        machines.fault("unmount", f"{host}:{mounted}")
    for tree in trees:
        (tree.cwd / "gate").touch()
    for master in masters:
        master.wait_for_word("its directory")
    away.rename(logs)
    for host in machines.hosts:
        machines.fault("remount", f"{host}:{mounted}")
    ends = (NO_OUTPUT[system], NO_DIRECTORY)
    for tree, master, end in zip(trees, masters, ends, strict=True):
        tree.assert_done(master.end())
        assert tree.lines("mounted/cwd/leaf") == ["ran", "ran"]
        assert end in {run.end for run in tree.runs()}


REFUSED_BODY = """
class Root(Target):
    def __init__(self):
        super().__init__(time=60, **ASKED)
    def run(self):
        note("root", "ran")
"""

REFUSED: tuple[tuple[dict, dict, str, str], ...] = (
    ({"use_queue": "nosuch.q"}, {}, 'unknown queue "nosuch.q"', "qconf -sql lists them"),
    ({"pe": "nosuch"}, {"cpu": 2}, 'parallel environment "nosuch"', "qconf -spl lists them"),
    ({"memory": ["nosuch"]}, {}, 'unknown resource "nosuch"', "qconf -sc lists them"),
    ({}, {"memory": "900G"}, "no queue could", "lower what it asks for, or name another queue"),
)
UNFIT = {"sge": "offers only hc:h_vmem=", "drmaa": "no suitable queues"}
"""How the last of these is told: a library does not say which resource is wanting."""


def test_what_can_never_run_is_told_with_grid_engines_reason_and_a_remedy(
    sge: Lab, system: str, plant: Plant
) -> None:
    """All at once: four that are refused, and one that waits, as some sites have no checks.

    A library does not tell why something waits, so that one is for the commands alone.
    """
    waiting = plant(sge={"check": False})
    waiting.write(f"ASKED = {{'memory': '900G'}}\n{REFUSED_BODY}")
    master = waiting.start() if system == "sge" else None
    masters = []
    for settings, asked, _, _ in REFUSED:
        tree = plant(sge=settings)
        tree.write(f"ASKED = {asked}\n{REFUSED_BODY}")
        masters.append(tree.start("--retryCount", "3"))
    for refused, (_, _, reason, remedy) in zip(masters, REFUSED, strict=True):
        ended = refused.end()
        assert ended.status == 1
        assert reason in ended.said
        assert remedy in ended.said
        assert ended.said.count("failed job=") == 1, "to try again would not help"
    assert UNFIT[system] in ended.said
    if master is None:
        return
    (job,) = waiting.wait_queued(1)
    master.wait_for_word("waits and will not start by itself: sge says: no queue could ever run it")
    assert "lower what it asks for" in master.said
    sge.run("qalter", "-l", "h_vmem=1G", job)
    waiting.assert_done(master.end())
    assert waiting.lines("root") == ["ran"]
