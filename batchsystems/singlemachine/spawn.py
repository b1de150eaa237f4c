"""Starting a launcher: cheap, whatever the size of the starting process.

Owns the command line of launchers; must not know what runs where. Read next: launcher.py.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib.util import cache_from_source

from batchsystems.common.jobscript import setup_lines
from batchsystems.interface import JobSpec
from batchsystems.singlemachine import launcher
from batchsystems.singlemachine.processes import Identity


def start_launcher(
    order: Mapping[str, object], argv: Sequence[str], env: Mapping[str, str]
) -> Identity:
    """Start a launcher with this order around this command; return who it is.

    In a session of its own, so that a kill of our process group spares it; with its signals
    blocked from the first instruction on, so that none is lost or deadly before it is ready.
    Never by a fork of this process, which may be big. Raises OSError, ValueError.
    """
    words = [f"{key}={value}" for key, value in order.items()]
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", _script(), *words, "--", *argv],
        env,
        file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)],
        setsid=True,
        setsigmask=launcher.WATCHED,
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    )
    identity = Identity.of(pid)
    assert identity is not None, "a child of ours stays in /proc until we collect it"
    return identity


def setup_argv(setup: Sequence[str], shell: str, spec: JobSpec) -> list[str]:
    """Return what stands before a job's command so that a shell runs these lines first."""
    lines = setup_lines(setup, str(spec.index), spec.private_env)
    if not lines:
        return []
    words = shlex.split(shell)
    return [*words, "-c", "\n".join([*lines, 'exec "$@"']), words[0]]


def _script() -> str:
    """Return the compiled launcher if there is one: a source file is compiled at every start."""
    compiled = cache_from_source(launcher.__file__)
    return compiled if os.path.exists(compiled) else launcher.__file__
