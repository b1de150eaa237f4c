"""Starts a workflow as `python flow.py` would, with strace around one of the processes it starts.

Owns where in the chain of processes strace sits; must not change what they do. Run by trial.py:
`start.py POINT LOG flow.py ARGUMENTS`. The launcher, the worker or the worker's sidecar of the
n-th batch job that this master starts is the one traced.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batchsystems.singlemachine import adapter
from batchsystems.singlemachine import spawn as spawning
from batchsystems.singlemachine.processes import Identity
from tests.crash.tracing import Point, strace_argv

HERE = Path(__file__).resolve().parent
WRAP = "JOBTREE_CRASH_STRACE"


def install(victim: str, process: int, strace: list[str]) -> None:
    """Have the n-th batch job's launcher, worker or sidecar traced."""
    started = 0
    start_launcher = spawning.start_launcher
    spawn = os.posix_spawn

    def spawn_traced(_path: str, argv: Sequence[str], *rest: Any, **more: Any) -> int:
        traced = [*strace, *argv]
        return spawn("/usr/bin/env", ["env", *traced], *rest, **more)

    def start(order: Mapping[str, object], argv: Sequence[str], env: Mapping[str, str]) -> Identity:
        nonlocal started
        started += 1
        if started != process:
            return start_launcher(order, argv, env)
        if victim == "worker":
            return start_launcher(order, [*strace, *argv], env)
        if victim == "sidecar":
            words = [str(HERE / "sidecar.py") if "worker/start" in w else w for w in argv]
            return start_launcher(order, words, {**env, WRAP: json.dumps(strace)})
        os.posix_spawn = spawn_traced  # type: ignore[assignment]
        try:
            return start_launcher(order, argv, env)
        finally:
            os.posix_spawn = spawn

    vars(adapter)["start_launcher"] = start


def main() -> None:
    """Trace what was asked for, and be the workflow."""
    _, point, log, script, *arguments = sys.argv
    victim, process, *_ = point.split(":")
    hit = Point.parse(point) if point.count(":") > 1 else None
    strace = strace_argv(log, hit)
    install(
        victim, int(process), [strace[0], "-D", *strace[1:]] if victim == "launcher" else strace
    )
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
