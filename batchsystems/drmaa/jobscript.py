"""The script that a DRMAA library is given to run for a job. Pure.

Owns its text: environment, output, directory, number of a task, command. Must not write it to a
file; session/journal.py does. Read next: dialect.py.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from batchsystems.commandline.dialect import Request
from batchsystems.common.jobscript import NOT_LAUNCHED
from batchsystems.sge.resources import environment_lines, guard_lines
from batchsystems.sge.tables import NOT_INHERITED

NO_NUMBER = 70
"""With this it ends where nothing tells a task which one it is."""

SERVER_S_OWN = ("GLIBC_TUNABLES", "LD_PRELOAD")
"""What the library was loaded with: some libraries hand the environment on to jobs."""


def job_script(
    request: Request, setup: Sequence[str], variables: Sequence[str], grid_engine: bool
) -> str:
    """Return the script. variables: in which a task finds its number, from 1.

    The environment is in it, as jobEnvironment cuts values at a comma. One that Grid Engine runs
    again, or had told to end before it listened, ends at once.
    """
    lines = guard_lines() if grid_engine else []
    if request.output is not None:
        quoted = shlex.quote(request.output)
        lines.append(f"(: >>{quoted}) 2>/dev/null || exit {NOT_LAUNCHED}")
        lines.append(f"exec >>{quoted} 2>&1")
    if request.size is not None:
        lines += _number(request.first, variables)
    index = '"$JOBTREE_TASK_INDEX"' if request.size is not None else str(request.first)
    absent = (*NOT_INHERITED, *SERVER_S_OWN)
    return "\n".join([*lines, *environment_lines(request, index, setup, absent), ""])


def _number(first: int, variables: Sequence[str]) -> list[str]:
    """Return what takes the number from whichever of the variables has one."""
    given = " ".join(f'"${name}"' for name in variables)
    return [
        f"for JOBTREE_TASK_INDEX in {given} ''; do",
        'case $JOBTREE_TASK_INDEX in ""|*[!0-9]*) ;; *) break ;; esac',
        "done",
        f'[ -n "$JOBTREE_TASK_INDEX" ] || {{ echo "no number of a task in: '
        f'{" ".join(variables)}" >&2; exit {NO_NUMBER}; }}',
        f"JOBTREE_TASK_INDEX=$((JOBTREE_TASK_INDEX + {first - 1}))",
    ]
