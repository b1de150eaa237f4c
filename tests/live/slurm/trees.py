"""Whole trees on the real Slurm: started as a user would, killed, restarted, and counted by sacct.

Owns processes, and what Slurm's own accounting tells of a tree; must not know what a workflow
does. Settings reach masters by a site file. Read next: lab.py.
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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.integration.flows import HEAD, ROOT, TAIL
from tests.live.slurm.lab import FINAL, Lab
from tests.live.waiting import eventually

BRISK: Mapping[str, Mapping[str, Any]] = {
    "pacing": {
        "submits_per_second": 20,
        "queries_per_minute": 600,
        "poll_interval": 2,
        "poll_interval_min": 0.5,
        "poll_backoff": 4,
        "hold": 1,
        "hold_max": 2,
    },
    "grace": {"absence": 5, "history_pause": 1, "stuck": 5},
}
"""A site whose Slurm may be asked often, and is waited for briefly."""

LONGEST_S = 180.0
ADDED = '''
def wait_for(path):
    """Wait for a file, but not for ever: a test that has failed leaves no job behind."""
    end = time.time() + 300
    while not os.path.exists(path):
        assert time.time() < end, path
        time.sleep(0.05)
def slurm_id():
    """Return this job's id as Slurm shows it, an array's with the task."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
def first_time(name):
    """Tell whether this is the first attempt at what is called so."""
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
'''

_numbers = itertools.count(1)

FIELDS = ("JobID", "JobName", "State", "ExitCode", "NodeList", "Partition", "TimelimitRaw", "User")


class Run(NamedTuple):
    """One run of a batch job, as `sacct -D` tells it; a requeued job has several."""

    job: str
    name: str
    state: str
    code: str
    nodes: str
    partition: str
    minutes: str
    user: str


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


class Tree:
    """A workflow's script, its tree, and all its batch jobs.

    brisk: its site is that of BRISK; settings: tables of its site file, added to that. user: who
    runs it. bin: a directory before all others on PATH.
    """

    def __init__(
        self,
        lab: Lab,
        home: Path,
        user: str | None = None,
        brisk: bool = True,
        **settings: Mapping[str, Any],
    ) -> None:
        self.lab, self.home, self.user = lab, home, user
        self.site = home / "site.toml"
        base: Mapping[str, Mapping[str, Any]] = BRISK if brisk else {}
        tables = {name: {**base.get(name, {}), **table} for name, table in settings.items()}
        self.site.write_text(as_toml({**base, **tables}))
        self.bin: Path | None = None
        self.system = "slurm"
        self.name = f"t{os.getpid()}x{next(_numbers)}"
        self.directory, self.script = home / self.name, home / "flow.py"
        self.python, self.path = sys.executable, str(ROOT)
        self._masters: list[Master] = []

    def write(self, body: str) -> None:
        """Write the script; `Root` is the root."""
        self.script.write_text(HEAD + ADDED + body + TAIL)

    # ---- masters -------------------------------------------------------------------------

    @property
    def environment(self) -> Mapping[str, str]:
        """What masters run in."""
        env = dict(self.lab.env) | {"PYTHONPATH": self.path, "PYTHONDONTWRITEBYTECODE": "1"}
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
                [self.python, *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.home,
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

    def queued(self, label: str = "", *states: str) -> list[str]:
        """Return the ids of its batch jobs that are in the queue, in submission order."""
        only = ("-t", ",".join(states)) if states else ()
        told = self.lab.run("squeue", "-h", "-r", "-o", "%i %j", *only, check=False).stdout
        rows = [line.split(None, 1) for line in told.splitlines()]
        return [row[0] for row in rows if self._is_ours(row[1], label)]

    def wait_queued(self, count: int, label: str = "", *states: str) -> list[str]:
        """Wait until so many of its batch jobs are in the queue; return their ids."""
        return eventually(
            f"{count} jobs of {label or self.name} {' '.join(states)}",
            lambda: self.queued(label, *states),
            lambda found: len(found) >= count,
            limit_s=LONGEST_S,
        )

    def runs(self, label: str = "") -> list[Run]:
        """Return every run of its batch jobs that accounting has, the duplicates too."""
        words = ("-a", "-X", "-D", "-n", "-P", "-S", "now-2hours", "-o", ",".join(FIELDS))
        told = self.lab.run("sacct", *words).stdout
        rows = [Run(*line.split("|")) for line in told.splitlines()]
        return [row for row in rows if self._is_ours(row.name, label)]

    def ended_runs(self, count: int, label: str = "") -> list[Run]:
        """Wait until accounting calls so many of them ended; fail if there are more."""
        found = eventually(
            f"{count} ended runs of {label or self.name}",
            lambda: self.runs(label),
            lambda rows: len(rows) >= count and all(is_final(row) for row in rows),
        )
        assert len(found) == count, found
        return found

    def _is_ours(self, name: str, label: str) -> bool:
        found = re.fullmatch(r"j-(?:(.*)-)?([^-.]+)\.\d+-\d+(?:\.\d+)?", name)
        return found is not None and found[2] == self.name and label in ("", found[1] or "")


def is_final(run: Run) -> bool:
    """Tell whether accounting shows a run as over; requeued ones are."""
    return run.state.partition(" ")[0] in FINAL | {"REQUEUED"}


# ---- commands in the way -----------------------------------------------------------------

CLIENTS = ("sbatch", "squeue", "sacct", "scancel", "sinfo", "scontrol")


def counting_clients(place: Path) -> Path:
    """Make a directory of Slurm's clients that log each call to `calls` in it, and do it."""
    for name in CLIENTS:
        fake_client(place, name, 'exec "$REAL" "$@"')
    return place


def calls(place: Path) -> list[str]:
    """Return which clients were called, in order."""
    log = place / "calls"
    return log.read_text().split() if log.exists() else []


def fake_client(place: Path, name: str, body: str) -> None:
    """Put a script of shell in the place of a client; $REAL is the real one."""
    real = shutil.which(name)
    place.mkdir(exist_ok=True)
    log = place / "calls"
    text = f"#!/bin/sh\nREAL={real}\necho {name} >>{log}\n{body}\n"
    draft = place / f"{name}.new"
    draft.write_text(text)
    draft.chmod(0o755)
    draft.rename(place / name)
