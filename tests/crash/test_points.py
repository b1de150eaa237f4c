"""Killed at a sample of the crash points; `make crash` takes them all."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.crash import judge
from tests.crash.points import Plan, plan, sample
from tests.crash.tracing import ERRORS
from tests.crash.trial import GROUP, MASTER, STARTED, hit, undisturbed

SAMPLE = int(os.environ.get("JOBTREE_CRASH_SAMPLE", "18"))

pytestmark = [pytest.mark.usefixtures("strace"), pytest.mark.slow]


@pytest.fixture(scope="module")
def of_master(strace: str) -> Plan:
    assert strace
    return plan(MASTER)


def test_what_is_enumerated_is_what_is_counted(of_master: Plan) -> None:
    print(f"{len(of_master.points)} points of the master, by grep {of_master.counted}")
    assert len(of_master.points) == of_master.counted > 300
    assert len(set(of_master.points)) == len(of_master.points)


def test_a_sample_of_all_points_leaves_every_tree_right(of_master: Plan) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    chosen = sample(of_master.points, SAMPLE // 2, seed)
    chosen += [
        point._replace(victim=GROUP) for point in sample(of_master.points, SAMPLE // 4, seed)
    ]
    for victim in STARTED:
        found = plan(victim, rng.choice((1, 2, 3, 4)))
        assert len(found.points) == found.counted
        chosen += sample(found.points, SAMPLE // 12, seed)
    with ThreadPoolExecutor(2) as pool:
        trials = list(pool.map(hit, chosen))
    wrong = [(str(trial.point), trial.wrong, trial.story) for trial in trials if trial.wrong]
    assert not wrong, f"seed {seed}: {wrong}"
    assert sum(trial.hit for trial in trials) > len(trials) // 2


def test_a_failing_file_system_never_gives_a_wrong_result(of_master: Plan) -> None:
    seed = random.randrange(2**32)
    of_worker = plan("worker", 2)
    chosen = []
    for error in ERRORS:
        chosen += sample(of_master.failing(error), SAMPLE // 9, seed)
        chosen += sample(of_worker.failing(error), SAMPLE // 18, seed)
    with ThreadPoolExecutor(2) as pool:
        trials = list(pool.map(hit, chosen))
    wrong = [(str(trial.point), trial.wrong, trial.story) for trial in trials if trial.wrong]
    assert not wrong, f"seed {seed}: {wrong}"


def test_the_judge_is_no_rubber_stamp(strace: str, tmp_path: Path) -> None:
    """Each thing the judge looks at is seen when it is wrong."""
    assert strace
    home = tmp_path
    undisturbed(f"{MASTER}:0", home)
    assert judge.verdict(home, [], 0) == []
    seen = judge.look(home)
    first = min(seen.adopted)

    def spoiled(path: Path, content: str) -> list[str]:
        before = path.read_text() if path.exists() else None
        path.write_text(content)
        wrong = judge.verdict(home, [seen], 0)
        path.unlink() if before is None else path.write_text(before)
        return wrong

    audit = (home / "audit").read_text()
    again = f"{audit}start root {first[0]} {first[1]}\n"
    assert any("adopted steps ran again" in said for said in spoiled(home / "audit", again))
    assert any("result is wrong" in said for said in spoiled(home / "result", "root"))
    assert spoiled(home / "published/publisher-0", "other")
    for left in ("tree/orders/x", "tree/status.json~12", "tree/bundles/root", "tmp/jobtree-x"):
        assert spoiled(home / left, "x"), left
    status = (home / "tree/status.json").read_text()
    assert spoiled(home / "tree/status.json", status.replace('"done"', '"failed"', 1))
    assert judge.verdict(home, [seen], 0) == []
