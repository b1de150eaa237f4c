"""The canaries: the jobs that show whether a site works, each for one thing. Pure.

Owns what they run and what they ask for, and the rows of the table; must not run or grade
anything. Read next: runner.py, which runs them; checks.py, which grades them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from batchsystems.interface import INDEX
from jobtree.doctor.model import SMALL, Canary, ExaminationOptions, JudgingContext
from jobtree.master.launch import worker_argv

RUNS = "runs"
STATUS, KILLED, TIME, MEMORY = "exit status", "killed", "time limit", "memory"
ARRAY, LOG, DIRECTORY = "array of 10", "log", "directory"
PYTHON, WORKER, VISIT = "python", "worker", "visit"
SCRATCH, FILES, CLOCK, WORD = "scratch", "file system", "clock", "word of the end"

TASKS = 10
EXIT = 3
NO_DIRECTORY, OTHER_DIRECTORY, READ_ONLY = 84, 85, 86
NO_PYTHON, OLD_PYTHON, BROKEN_PYTHON = 81, 82, 83
NO_MEMORY = 89
"""It was refused more than it had asked for, and saw that itself."""

SEED, BACK, LOG_FILE = "seed", "back", "log"
TOO_MUCH = 3
"""How many times its memory the canary that exceeds it takes."""

_DIRECTORY = f"""
cd "$1" || exit {NO_DIRECTORY}
read -r found < {SEED} || exit {OTHER_DIRECTORY}
[ "$found" = "$2" ] || exit {OTHER_DIRECTORY}
echo "$2" > {BACK} || exit {READ_ONLY}
"""

_PYTHON = f"""
command -v "$1" > /dev/null || exit {NO_PYTHON}
"$1" -I -S -c 'import sys; sys.exit({OLD_PYTHON} if sys.version_info < (3, 11) else 0)'
case $? in 0) exit 0;; {OLD_PYTHON}) exit {OLD_PYTHON};; *) exit {BROKEN_PYTHON};; esac
"""

_MEMORY = f"""
import sys, time
try:
    held = b'x' * int(sys.argv[1])
except MemoryError:
    sys.exit({NO_MEMORY})
time.sleep(float(sys.argv[2]))
"""


def first_canary(output: str | None = None) -> Canary:
    """Return the plainest job there is: if it does not run, nothing does.

    output: where what the site runs before it can say what went wrong.
    """
    return Canary(RUNS, _sh("exit 0"), output=output)


def canaries(context: JudgingContext, options: ExaminationOptions) -> list[Canary]:
    """Return the others, those that take longest first."""
    place, python = context.directory, context.python
    slow = [] if options.quick else [_too_long(options)]
    visitor = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node_script.py")
    return [
        *slow,
        *([_too_much(context, options)] if context.asks_memory else []),
        Canary(
            VISIT,
            (python, "-I", "-S", visitor, place, context.token, context.scratch),
            run_s=90.0,
            output=f"{place}/visit.log",
        ),
        Canary(STATUS, _sh(f"exit {EXIT}")),
        Canary(KILLED, _sh("kill -KILL $$")),
        Canary(
            ARRAY,
            _sh(': > "$1/task.$2"; exit 0', place, INDEX),
            size=TASKS,
            files=tuple(f"{place}/task.{index}" for index in range(TASKS)),
        ),
        Canary(
            LOG,
            _sh(f"echo {context.token}"),
            output=f"{place}/{LOG_FILE}",
            files=(f"{place}/{LOG_FILE}",),
        ),
        Canary(
            DIRECTORY,
            _sh(_DIRECTORY, place, context.token),
            files=(f"{place}/{BACK}",),
        ),
        Canary(PYTHON, _sh(_PYTHON, python)),
        Canary(WORKER, worker_argv(python, f"{place}/orders/none"), output=f"{place}/worker.log"),
    ]


def rows(chosen: Iterable[str]) -> list[str]:
    """Return the rows of the table, in order, for these canaries."""
    found: list[str] = []
    for name in chosen:
        found += [SCRATCH, FILES, CLOCK, WORD] if name == VISIT else [name]
    return sorted(found, key=ORDER.index)


ORDER = (
    *(RUNS, STATUS, KILLED, TIME, MEMORY, ARRAY),
    *(LOG, DIRECTORY, PYTHON, WORKER, SCRATCH, FILES, CLOCK, WORD),
)


def _sh(script: str, *arguments: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script, "canary", *arguments)


def _too_long(options: ExaminationOptions) -> Canary:
    asked = replace(SMALL, time_s=options.time_limit_s)
    longest = options.time_limit_s + options.overrun_s
    return Canary(TIME, _sh(f"exec sleep {longest:.0f}"), asked, run_s=longest)


def _too_much(context: JudgingContext, options: ExaminationOptions) -> Canary:
    held = TOO_MUCH * (SMALL.memory_bytes or 0)
    argv = (context.python, "-I", "-S", "-c", _MEMORY, str(held), f"{options.hold_memory_s:g}")
    output = f"{context.directory}/memory.log"
    return Canary(MEMORY, argv, run_s=options.hold_memory_s + 60, output=output)
