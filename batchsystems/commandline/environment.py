"""The environment of jobs: what is inherited is scrubbed, what is given with a job is kept.

Owns which variables go to the scheduler's commands, and which to the job's command alone; must
not know any scheduler. Read next: dialect.py, the names that each one uses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from batchsystems.commandline.dialect import Dialect


def inherited(dialect: Dialect) -> dict[str, str]:
    """Return the caller's environment without what an enclosing job left in it."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in dialect.kept or not dialect.uses(name)
    }


def for_answers(dialect: Dialect) -> dict[str, str]:
    """Return the environment of a command whose answer is read."""
    return inherited(dialect) | {"LC_ALL": "C", "LANG": "C", "TZ": "UTC"} | dict(dialect.fixed)


def job_environment(
    dialect: Dialect, env: Mapping[str, str] | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return what a job's submission is made with, and what is for its command alone.

    A variable whose name the scheduler uses is given if its value is not the caller's own: a
    copy of the caller's environment has in it what an enclosing job left there. Given, it must
    reach the job's command and none of the scheduler's.
    """
    if env is None:
        return inherited(dialect), {}
    ours = {name: os.environ[name] for name in dialect.kept if name in os.environ}
    plain, given = {}, {}
    for name, value in env.items():
        if not (dialect.uses(name) or name in dialect.node_s_own):
            plain[name] = value
        elif os.environ.get(name) != value:
            given[name] = value
        elif name in dialect.node_s_own:
            plain[name] = value
    return plain | ours, given
