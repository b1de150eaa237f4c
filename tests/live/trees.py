"""Whole trees on a real scheduler: started as a user would, killed, restarted, and counted.

Owns processes and what belongs to a tree; must know no scheduler, nor what a workflow does.
Settings reach masters by a site file. Read next: trees.py in the folder of a scheduler.
"""

from __future__ import annotations

import itertools
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from tests.integration.flows import HEAD, ROOT, TAIL
from tests.live.engines import Engine
from tests.live.waiting import eventually

BRISK: Mapping[str, Mapping[str, Any]] = {
    "pacing": {
        "submits_per_second": 20,
        "queries_per_minute": 600,
        "poll_interval": 1,
    },
    "grace": {"absence": 5, "stuck": 5},
}
"""A site whose scheduler may be asked often, and is waited for briefly."""

TIMEOUTS = "batchsystems.commandline.pacing:Timeouts"
POLICY = "jobtree.core.rescue:Policy"
HEARTBEAT = "batchsystems.site.sections:HEARTBEAT_S"

HASTY = {"hold_s": 1.0, "hold_most_s": 2.0, "reason_s": 2.0, "history_pause_s": 1.0}
"""Of TIMEOUTS, which no site may set: for a master that cannot wait."""

BENT = """
import importlib, sys
def bend(home, values):
    module, _, name = home.partition(":")
    module = importlib.import_module(module)
    if not isinstance(values, dict):
        return setattr(module, name, values)
    kind = getattr(module, name)
    make = kind.__new__ if issubclass(kind, tuple) else kind.__init__
    names = make.__code__.co_varnames[: make.__code__.co_argcount]
    old = dict(zip(names[-len(make.__defaults__) :], make.__defaults__))
    make.__defaults__ = tuple((old | values).values())
if not any("/jobtree/worker/" in word for word in sys.orig_argv):
    for home, values in CONSTANTS.items():
        bend(home, values)
"""
"""A master's sitecustomize: it bends defaults before anything else is imported."""

LONGEST_S = 400.0

ADDED = '''
def wait_for(path):
    """Wait for a file, but not for ever: a test that has failed leaves no job behind."""
    end = time.time() + 600
    while not os.path.exists(path):
        assert time.time() < end, path
        time.sleep(0.05)
def first_time(name):
    """Tell whether this is the first attempt at what is called so."""
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
'''

NO_ORPHAN = ("setpriv", "--pdeathsig", "KILL", "--")
"""A master does not outlive tests that are killed: its batch system goes down with them."""

_numbers = itertools.count(1)


class Run(Protocol):
    """One run of a batch job, as the scheduler's accounting tells it; what is run again has more.

    name: the batch job's. user: whose it is.
    """

    @property
    def name(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def is_final(self) -> bool:
        """Tell whether it is over."""


E = TypeVar("E", bound=Engine)
R = TypeVar("R", bound=Run)
T = TypeVar("T", bound="Tree")


class Ended(NamedTuple):
    """How a master ended, and what it printed."""

    status: int
    said: str


class Master:
    """A master, or another command of jobtree, in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log
        self.pid = process.pid

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def lives(self) -> bool:
        """Tell whether it still runs."""
        return self._process.poll() is None

    def wait_for_word(self, word: str, limit_s: float = LONGEST_S) -> None:
        """Wait until it has printed something; fail at once if it ends without."""
        found = eventually(
            f"the word {word!r}",
            lambda: word in self.said or not self.lives(),
            limit_s=limit_s,
        )
        assert found
        assert word in self.said, self.said

    def end(self, limit_s: float = LONGEST_S) -> Ended:
        """Wait for its end."""
        try:
            status = self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"no end within {limit_s:g} s:\n{self.said}") from None
        return Ended(status, self.said)


def as_toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a site file of these tables of plain values, which JSON writes as TOML does."""
    lines = ["schema = 1"]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join([*lines, ""])


class Tree(ABC, Generic[E, R]):
    """A workflow's script, its tree, and all its batch jobs.

    brisk: its site is that of BRISK; settings: tables of its site file, added to that. constants:
    what is no key, by its home, beside HASTY; HEARTBEAT first. user: who runs it. cwd: where. bin:
    a directory before all others on PATH. added: what each script begins with. running, waiting:
    the queue's words for that.
    """

    system: str
    running: ClassVar[str]
    waiting: ClassVar[str]
    added: ClassVar[str]

    def __init__(
        self,
        lab: E,
        home: Path,
        user: str | None = None,
        brisk: bool = True,
        constants: Mapping[str, Any] = MappingProxyType({}),
        **settings: Mapping[str, Any],
    ) -> None:
        self.lab, self.home, self.user = lab, home, user
        self.site = home / "site.toml"
        base: Mapping[str, Mapping[str, Any]] = BRISK if brisk else {}
        tables = {name: {**base.get(name, {}), **table} for name, table in settings.items()}
        self.site.write_text(as_toml({**base, **tables}))
        timeouts = {**(HASTY if brisk else {}), **constants.get(TIMEOUTS, {})}
        (home / "bent").mkdir()
        (home / "bent/sitecustomize.py").write_text(
            f"CONSTANTS = {dict(constants) | {TIMEOUTS: timeouts}!r}\n{BENT}"
        )
        self.bin: Path | None = None
        self.name = f"t{os.getpid()}x{next(_numbers)}"
        self.directory, self.script = home / self.name, home / "flow.py"
        self.cwd = home
        self.python, self.path = sys.executable, str(ROOT)
        self._masters: list[Master] = []

    def write(self, body: str) -> None:
        """Write the script; `Root` is the root."""
        self.script.write_text(HEAD + ADDED + self.added + body + TAIL)

    # ---- masters -------------------------------------------------------------------------

    @property
    def environment(self) -> Mapping[str, str]:
        """What masters run in."""
        path = f"{self.home}/bent:{self.path}"
        env = dict(self.lab.env) | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        env["JOBTREE_SITE"] = str(self.site)
        if self.bin is not None:
            env["PATH"] = f"{self.bin}:{env['PATH']}"
        return env

    def start(self, *options: str, script: Path | None = None) -> Master:
        """Start the workflow, or go on with it."""
        where = ("--jobTree", str(self.directory), "--batchSystem", self.system)
        return self._start(str(script or self.script), *options, *where)

    def restart(self, *options: str) -> Master:
        """Start `jobtree restart`."""
        return self.verb("restart", *options)

    def verb(self, verb: str, *options: str) -> Master:
        """Start a command of jobtree on the tree."""
        return self._start("-m", "jobtree", verb, str(self.directory), *options)

    def command(self, command: str, *options: str) -> Master:
        """Start `jobtree run` with the command of a first job."""
        where = ("--jobTree", str(self.directory), "--batchSystem", self.system)
        return self._start("-m", "jobtree", "run", "--command", command, *options, *where)

    def run(self, *options: str, code: int = 0, limit_s: float = LONGEST_S) -> str:
        """Run the workflow to its end; return what was printed."""
        ended = self.start(*options).end(limit_s)
        assert ended.status == code, ended.said
        return ended.said

    def _start(self, *words: str) -> Master:
        log = self.home / f"{self.name}.log{len(self._masters)}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*NO_ORPHAN, self.python, *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env=self.environment,
                start_new_session=True,
                user=self.user,
                group=None if self.user is None else pwd.getpwnam(self.user).pw_gid,
                extra_groups=None if self.user is None else [],
            )
        self._masters.append(Master(process, log))
        return self._masters[-1]

    def close(self) -> None:
        """Leave no master behind; show what they have said to whoever reads of a failure."""
        for master in self._masters:
            print(master.said)
            if master.lives():
                master.kill()

    # ---- what came of it -----------------------------------------------------------------

    def lines(self, name: str) -> list[str]:
        """Return the words of a file that the workflow has written."""
        path = self.home / name
        return path.read_text().split() if path.exists() else []

    def wait_for_lines(self, name: str, count: int, limit_s: float = LONGEST_S) -> list[str]:
        """Wait until the workflow has written so many words into a file."""
        return eventually(
            f"{count} words in {name}",
            lambda: self.lines(name),
            lambda found: len(found) >= count,
            limit_s=limit_s,
        )

    def open(self, gate: str) -> None:
        """Make a file that steps wait for."""
        (self.home / gate).touch()

    def status(self) -> dict[str, Any]:
        """Return the status file."""
        found: dict[str, Any] = json.loads((self.directory / "status.json").read_text())
        return found

    def assert_done(self, ended: Ended) -> None:
        """Fail unless a run ended well, with nothing left to do nor in the queue."""
        assert ended.status == 0, ended.said
        assert (self.status()["state"], self.status()["remaining"]) == ("done", 0), ended.said

    # ---- its batch jobs ------------------------------------------------------------------

    @abstractmethod
    def queued(self, label: str = "", *states: str) -> list[str]:
        """Return the ids of its batch jobs that are in the queue, in submission order."""

    @abstractmethod
    def runs(self, label: str = "") -> list[R]:
        """Return every run of its batch jobs that accounting has, the duplicates too."""

    def wait_queued(self, count: int, label: str = "", *states: str) -> list[str]:
        """Wait until so many of its batch jobs are in the queue; return their ids."""
        return eventually(
            f"{count} jobs of {label or self.name} {' '.join(states)}",
            lambda: self.queued(label, *states),
            lambda found: len(found) >= count,
            limit_s=LONGEST_S,
        )

    def wait_ended(self, *jobs: str, states: Sequence[str] = ()) -> None:
        """Wait until none of these batch jobs is in the queue, or in these states of it.

        Who was asked to end goes on for a moment, and may come to its end by itself.
        """
        eventually(
            f"the end of {' '.join(jobs)}",
            lambda: set(jobs) & set(self.queued("", *states)),
            lambda found: not found,
        )

    def ended_runs(self, count: int, label: str = "") -> list[R]:
        """Wait until accounting calls so many of them ended; fail if there are more."""
        found = eventually(
            f"{count} ended runs of {label or self.name}",
            lambda: self.runs(label),
            lambda rows: len(rows) >= count and all(row.is_final for row in rows),
        )
        assert len(found) == count, found
        return found

    def is_ours(self, name: str, label: str) -> bool:
        """Tell by its name whether a batch job is of this tree, and of a class if one is named."""
        found = re.fullmatch(r"j-(?:(.*)-)?([^-.]+)-[0-9a-f]{8}\.\d+-\d+(?:\.\d+)?", name)
        return found is not None and found[2] == self.name and label in ("", found[1] or "")


@contextmanager
def planting(kind: Callable[..., T], lab: Engine, place: Path) -> Iterator[Callable[..., T]]:
    """Return what makes trees of a kind, each in a home of its own in a place.

    No master of theirs outlives this.
    """
    planted: list[T] = []

    def made(user: str | None = None, brisk: bool = True, **settings: Mapping[str, Any]) -> T:
        home = place / f"home{len(planted)}"
        home.mkdir()
        if user is not None:
            shutil.chown(home, user)
        planted.append(kind(lab, home, user, brisk, **settings))
        return planted[-1]

    try:
        yield made
    finally:
        for tree in planted:
            tree.close()


# ---- commands in the way -----------------------------------------------------------------


def counting_clients(place: Path, clients: Sequence[str], path: str | None = None) -> Path:
    """Make a directory of clients that log each call to `calls` in it, and do it."""
    for name in clients:
        fake_client(place, name, 'exec "$REAL" "$@"', path)
    return place


def calls(place: Path) -> list[str]:
    """Return which clients were called, in order."""
    log = place / "calls"
    return log.read_text().split() if log.exists() else []


def fake_client(place: Path, name: str, body: str, path: str | None = None) -> None:
    """Put a script of shell in the place of a client; $REAL is the real one, found on `path`."""
    real = shutil.which(name, path=path)
    assert real, f"no {name} on {path or 'PATH'}"
    place.mkdir(exist_ok=True)
    log = place / "calls"
    text = f"#!/bin/sh\nREAL={real}\necho {name} >>{log}\n{body}\n"
    draft = place / f"{name}.new"
    draft.write_text(text)
    draft.chmod(0o755)
    draft.rename(place / name)
