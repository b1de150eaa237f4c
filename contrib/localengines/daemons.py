"""The daemons of one cluster: started, recorded, known to be ready, and asked how they are.

Owns the records of what was started; must not know any scheduler.
Read next: program.py, what users can ask for.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localengines import processes
from localengines.failure import Failure
from localengines.files import write
from localengines.packages import program
from localengines.processes import Process, wait_for

READY_S = 120.0
"""How long a daemon may take to answer, on a machine that is busy with other things."""


@dataclass(frozen=True)
class Daemon:
    """A program that runs for as long as the cluster: how to start it and when it is ready."""

    argv: Sequence[str]
    ready: Callable[[], bool]
    prepare: Callable[[], None] = lambda: None


class Engine(ABC):
    """A batch system in a directory, which need not run.

    top: the directory, with the records in run/ and the daemons' last words in log/.
    daemons: by name, in the order in which they start. user: as whom they run.
    """

    def __init__(self, top: Path, user: str) -> None:
        self.top = top
        self.user = user
        self.daemons: dict[str, Daemon] = {}

    # ---- what each engine does in its own way ------------------------------------------------

    @property
    @abstractmethod
    def mark(self) -> Path:
        """Return the file that makes the directory a cluster: the last to come."""

    @abstractmethod
    def described(self) -> str:
        """Return what it is, as in "a Slurm of 4 nodes"."""

    @abstractmethod
    def options(self) -> Mapping[str, Any]:
        """Return option of `up` -> its value here; those that a second `up` must agree with."""

    @abstractmethod
    def environ(self) -> dict[str, str]:
        """Return the environment of the daemons, and of the clients that this program runs."""

    @abstractmethod
    def create(self) -> None:
        """Write everything the daemons need; the mark last."""

    @abstractmethod
    def start_missing(self) -> list[str]:
        """Start every daemon that does not run; wait until all is up; return the names."""

    @abstractmethod
    def stop_all(self) -> None:
        """End every process of the cluster."""

    def remove(self) -> None:
        """Remove the directory of a cluster that was stopped."""
        shutil.rmtree(self.top)

    # ---- one daemon --------------------------------------------------------------------------

    def start(self, name: str, *, wait: bool = True) -> None:
        """Start one daemon, and wait until it answers; Failure with its last words if not."""
        if self.state(name) != "gone":
            return
        daemon = self.daemons[name]
        daemon.prepare()
        self.spawn(name, [program(daemon.argv[0]), *daemon.argv[1:]])
        if wait:
            wait_for(f"{name} ready", lambda: self._ready(name, daemon), READY_S)

    def _ready(self, name: str, daemon: Daemon) -> bool:
        """Tell whether a daemon answers; Failure if it has ended."""
        if self.state(name) == "gone":
            raise Failure(f"{name} ended at once:\n{self.last_words(name)}")
        return daemon.ready()

    def spawn(self, name: str, argv: Sequence[str], pass_fds: Sequence[int] = ()) -> None:
        """Start a program in a session of its own and record it.

        It gets none of the caller's environment, lest it pass for a process of the caller's.
        """
        with (self.top / "log" / f"{name}.out").open("ab") as out:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.top,
                env=self.environ(),
                start_new_session=True,
                pass_fds=pass_fds,
            )
        found = processes.process(child.pid)
        start = found.start if found else 0
        record = json.dumps({"pid": child.pid, "start": start}).encode()
        write(self._record(name), record, 0o644)

    def recorded(self, name: str) -> Process | None:
        """Return a daemon's process, None if it never started or its record is torn."""
        try:
            found = json.loads(self._record(name).read_text())
            return Process(found["pid"], found["start"])
        except (OSError, ValueError, KeyError):
            return None

    def state(self, name: str) -> str:
        """Return "running", "frozen" or "gone"."""
        found = self.recorded(name)
        return found.state if found else "gone"

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a daemon, if it runs."""
        found = self.recorded(name)
        if found:
            found.signal(number)

    def end(self, name: str, grace_s: float) -> None:
        """End a daemon: in good order within the grace, else by SIGKILL."""
        found = self.recorded(name)
        if found and found.pid != os.getpid():
            processes.end([found], grace_s)

    def _record(self, name: str) -> Path:
        return self.top / "run" / f"{name}.json"

    def last_words(self, name: str) -> str:
        """Return the ends of what a daemon wrote, for a user to read."""
        found = []
        for kind in ("log", "out"):
            with suppress(OSError):
                text = (self.top / "log" / f"{name}.{kind}").read_text(errors="replace")
                found += text.splitlines()[-8:]
        return "\n".join(f"  {line}" for line in found)


def user_name() -> str:
    """Return who runs this program; Failure if the uid has no name, which schedulers need."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise Failure(
            f"uid {os.geteuid()} has no name in /etc/passwd, but a batch system needs one"
        ) from None
