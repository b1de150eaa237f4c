"""Targets that use what a process keeps, for steps that run in one of their own.

Owns these; must not check anything. Read next: worker_targets.py; test_isolated.py.
"""

from __future__ import annotations

import random
import sys

from jobtree import Target
from tests.component.worker import worker_targets
from tests.component.worker.worker_targets import (
    child_and_follow_on,
    children,
    children_then_fail,
    exit_process,
    fail,
    nothing,
    pollute,
    say,
    segfault,
    trap,
    where,
)

__all__ = [
    "Call",
    "child_and_follow_on",
    "children",
    "children_then_fail",
    "exit_process",
    "fail",
    "nothing",
    "pollute",
    "say",
    "segfault",
    "trap",
    "where",
]


class Call(worker_targets.Call):
    """Runs a function of this module by name."""


def draw(target: Target) -> None:
    from tests.component.worker import seeded_on_import

    print(seeded_on_import.draw(), random.getrandbits(64))


def draw_with_numpy(target: Target) -> None:
    import numpy as np  # type: ignore[import-not-found,unused-ignore]

    print(np.random.randint(2**62))


def multiply(target: Target) -> None:
    """Use the thread pool of a linear algebra library, which OpenMP may be."""
    import numpy as np  # type: ignore[import-not-found,unused-ignore]

    ones = np.ones((600, 600))
    assert (ones @ ones)[0, 0] == 600


def hold_lock(target: Target) -> None:
    """Leave a library in use, as by a thread of C: its lock is held, and nobody will let it go."""
    from tests.component.worker import seeded_on_import

    seeded_on_import.lock.acquire()
    sys.modules["polluted"] = sys
    children(target, 1)


def use_lock(target: Target) -> None:
    from tests.component.worker import seeded_on_import

    assert "polluted" not in sys.modules
    assert seeded_on_import.lock.acquire(timeout=30)
    seeded_on_import.lock.release()
    print("used")


def draw_then_isolated(target: Target, isolated: str) -> None:
    """Use this process, and have a step come after that wants one of its own."""
    draw(target)
    target.setFollowOnTarget(Call(isolated, isolate=True))
