"""Runs jobTree with a Slurm that is asked often and waited for briefly, as these tests need it.

Owns the one place where the tests' settings reach a master; must not change what it does.
Run as `python brisk.py SCRIPT ARGS` or `python brisk.py -m jobtree ARGS`; JOBTREE_LIVE_SETTINGS
holds settings in JSON. Read next: trees.py, which starts it.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from dataclasses import replace
from typing import Any

from batchsystems import registry
from batchsystems.commandline.pacing import Pace, Patience
from batchsystems.slurm import Slurm
from batchsystems.slurmwords import SlurmSettings
from jobtree import dispatch, live
from jobtree.rescue import Policy

VARIABLE = "JOBTREE_LIVE_SETTINGS"

PACE = Pace(submits_per_s=20, queries_per_minute=600, poll_s=2.0, poll_min_s=0.5, poll_backoff_s=4)
PATIENCE = replace(
    Patience(), absence_s=5.0, history_pause_s=1.0, hold_s=1.0, hold_most_s=2.0, held_s=5.0
)


def told() -> dict[str, dict[str, Any]]:
    """Return the settings: of `slurm`, `pace`, `patience` and `policy`, `worker`."""
    found: dict[str, dict[str, Any]] = json.loads(os.environ.get(VARIABLE, "{}"))
    return found


class BriskSlurm(Slurm):
    """Slurm, made with the settings of the environment."""

    def __init__(self) -> None:
        settings = told()
        super().__init__(
            SlurmSettings(**{name: _plain(v) for name, v in settings.get("slurm", {}).items()}),
            replace(PACE, **settings.get("pace", {})),
            replace(PATIENCE, **settings.get("patience", {})),
        )


def _plain(value: Any) -> Any:
    """Return a value as the adapter takes it: JSON knows no tuples."""
    return tuple(value) if isinstance(value, list) else value


def main() -> None:
    """Put the settings in place, then be the program that was named."""
    if "default" not in told():
        registry.BUILT_IN["slurm"] = "tests.live.slurm.brisk:BriskSlurm"
    policy = Policy(**told().get("policy", {}))
    vars(live)["Policy"] = policy._replace
    for name, value in told().get("worker", {}).items():
        vars(dispatch)[name] = value
    if sys.argv[1] == "-m":
        sys.argv[:] = sys.argv[2:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = sys.argv[1:]
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
