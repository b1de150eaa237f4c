"""Client: the way to the process that holds a DRMAA session, as a transport of commands.

Owns that process: its start, its environment, its time-outs and its end. A call of the library
that hangs costs the process, never the caller. Read next: server.py, the other end.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from batchsystems.drmaa.session.library import STATIC_TLS, Library, explain, with_tunable
from batchsystems.drmaa.session.server import EXIT_S
from batchsystems.drmaa.settings import DrmaaSettings
from batchsystems.drmaa.tables import BEFORE, LIBRARY_VARIABLE, OUTAGE
from batchsystems.errors import BatchSystemError
from batchsystems.transport.local import OUTPUT_CAP_BYTES, Command, CommandResult, Local

log = logging.getLogger("jobtree.batchsystems")

START_S = 60.0
"""Python on a busy machine, from a slow file system, may take a while to begin."""

HOME = str(Path(__file__).resolve().parents[3])
SERVE = "from batchsystems.drmaa.session.server import main; main()"
PROGRAM = f"import sys; sys.path.insert(0, {HOME!r}); {SERVE}"
"""By its own place: whoever uses this may have found it by no path that a child inherits."""


class ServerLost(Exception):
    """The process has ended, or was given up. timed_out: it did not answer."""

    def __init__(self, words: str, timed_out: bool = False) -> None:
        super().__init__(words)
        self.words, self.timed_out = words, timed_out


class Client(Local):
    """Asks one process after the other. directory: where jobs are recorded.

    cures: what to set in the environment, one after the other, for a library that finds no room
    for its thread-local data. drop: which variables are not to reach the library.
    """

    def __init__(
        self,
        library: Library,
        own: DrmaaSettings,
        directory: str,
        cures: Sequence[Mapping[str, str]] | None = None,
        drop: Callable[[str], bool] | None = None,
    ) -> None:
        super().__init__()
        self._library, self._directory, self._drop = library, directory, drop
        self._told = {"directory": directory, "contact": own.contact, "statuses": own.statuses}
        self._cures = [with_tunable(os.environ)] if cures is None else list(cures)
        self._child: subprocess.Popen[bytes] | None = None
        self._answers: int | None = None
        self._errors: IO[bytes] | None = None
        self._rest = b""
        self._away = False
        """Whether the cluster could not be reached when it was last asked."""
        self.about: dict[str, str] = {}

    # -- a transport ------------------------------------------------------------------------------

    def run(self, command: Command, timeout_s: float) -> CommandResult:
        """Have the process do what the command's input says; give it up at the time-out."""
        try:
            self._begin(time.monotonic() + max(START_S, timeout_s))
        except BatchSystemError as error:
            return CommandResult(1, BEFORE, f"{error.what}: {error.why}")
        except ServerLost as gone:
            return CommandResult(1, BEFORE, gone.words)
        try:
            said = self._ask(command.stdin.encode(), time.monotonic() + timeout_s)
        except ServerLost as gone:
            self._away = self._away or gone.timed_out
            return CommandResult(None, OUTAGE, gone.words, timed_out=gone.timed_out)
        self._away = said["away"]
        if "error" in said:
            return CommandResult(1, said["error"]["kind"], said["error"]["words"])
        return CommandResult(0, json.dumps(said["answer"]))

    def missing(self, programs: Iterable[str]) -> list[str]:
        """Return nothing: no program is needed."""
        return []

    def cancel(self) -> None:
        """Give up what is asked now, from another thread."""
        child = self._child
        if child is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)

    # -- the process ------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the library. Raises BatchSystemError, with the cure, if that cannot be."""
        try:
            self._begin(time.monotonic() + START_S)
        except ServerLost as gone:
            raise explain("load", gone.words, self._library.path, self._directory) from None

    def _begin(self, deadline: float) -> None:
        """See to it that the process runs. Raises BatchSystemError or ServerLost."""
        if self._child is not None and self._child.poll() is None:
            return
        self._give_up()
        cures = list(self._cures) or [{}]
        for cure in cures:
            said = self._try(cure, deadline)
            if "about" in said:
                self.about = said["about"]
                self._cures = [cure]
                return
            self._give_up()
            kind, words = said["error"]["kind"], said["error"]["words"]
            culprit = STATIC_TLS.search(words)
            if culprit is None or "LD_PRELOAD" in cure:
                break
            if cure is cures[-1]:
                cures.append({**cure, "LD_PRELOAD": culprit[1]})
        raise explain(kind, words, self._library.path, self._directory)

    def _try(self, cure: Mapping[str, str], deadline: float) -> dict[str, Any]:
        ours = {n: v for n, v in os.environ.items() if self._drop is None or not self._drop(n)}
        env = {**ours, **self._library.env, LIBRARY_VARIABLE: self._library.path, **cure}
        told = {**self._told, "away": self._away}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - read when the process has died
        self._rest = b""
        heard, said = os.pipe2(os.O_CLOEXEC)
        self._answers = heard
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, json.dumps({**told, "answers": said})],
                stdin=subprocess.PIPE,
                stdout=self._errors,  # libraries print what they like
                stderr=self._errors,
                env=env,
                cwd="/",
                start_new_session=True,
                pass_fds=(said,),
            )
        finally:
            os.close(said)
        assert self._child.stdin is not None
        os.set_blocking(self._child.stdin.fileno(), False)
        return self._on_answer(deadline)

    def _ask(self, text: bytes, deadline: float) -> dict[str, Any]:
        """Return the answer to a request. Raises ServerLost."""
        child = self._child
        assert child is not None
        assert child.stdin is not None
        left = memoryview(text + b"\n")
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdin, selectors.EVENT_WRITE)
            while left:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise self._lost(True)
                try:
                    left = left[os.write(child.stdin.fileno(), left) :]
                except BlockingIOError:
                    continue
                except OSError:
                    raise self._lost(False) from None
        return self._on_answer(deadline)

    def _on_answer(self, deadline: float) -> dict[str, Any]:
        """Return the next line that the process says. Raises ServerLost."""
        assert self._answers is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            parts = [self._rest]
            while b"\n" not in parts[-1]:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise self._lost(True)
                part = os.read(self._answers, 1 << 20)
                if not part or sum(map(len, parts)) > OUTPUT_CAP_BYTES:
                    raise self._lost(False)
                parts.append(part)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError:
            raise self._lost(False) from None
        for remark in said.get("remarks", ()):
            log.warning("drmaa: %s", remark)
        return said

    def _lost(self, timed_out: bool) -> ServerLost:
        """End the process, and return what is known of why."""
        child = self._child
        assert child is not None
        if not timed_out:  # it has ended, or is about to
            with suppress(subprocess.TimeoutExpired):
                child.wait(1.0)
        status = child.poll()
        words = self._last_words()
        self._give_up()
        if timed_out:
            return ServerLost("the DRMAA library did not answer; its process was given up", True)
        ended = status is not None and status < 0
        how = f"killed by signal {-(status or 0)}" if ended else f"exit status {status}"
        return ServerLost(f"the process that speaks to the DRMAA library has died ({how}){words}")

    def _last_words(self) -> str:
        if self._errors is None:
            return ""
        with suppress(OSError, ValueError):
            size = self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(0, size - 500))
            said = " ".join(self._errors.read().decode(errors="replace").split())
            return f": {said}" if said else ""
        return ""

    def _give_up(self) -> None:
        """Kill the process, whatever it does."""
        child, self._child = self._child, None
        if child is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            if child.stdin is not None:
                with suppress(OSError):
                    child.stdin.close()
        if self._answers is not None:
            os.close(self._answers)
            self._answers = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def close(self) -> None:
        """Let the process end its session, for so long at most as it is given. Idempotent."""
        child = self._child
        if child is not None and child.poll() is None and child.stdin is not None:
            with suppress(OSError):
                child.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                child.wait(EXIT_S)
        self._give_up()
