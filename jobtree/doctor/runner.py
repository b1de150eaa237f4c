"""Runs canaries: submits them, watches them to their ends, and cleans up after them.

Owns a directory on the shared file system, and every batch job of an examination: whatever ends
it, none of them stays. Grades nothing. Read next: node_script.py, what runs on a node; grading.py.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from batchsystems.errors import SiteError, Unobtainable
from batchsystems.interface import Accepted, BatchSystem, JobEnd, Refused
from jobtree.doctor.canary import SEED, VISIT
from jobtree.doctor.model import Canary, Case, Delay, ExaminationOptions, Visit
from jobtree.doctor.node_script import HELLO, PING, PONG
from jobtree.mailbox.files import exists_after_listing, random_name, remove_tree, write_file
from jobtree.mailbox.layout import SETUP_ENVIRONMENT
from jobtree.payload.environment import capture, write_setup
from jobtree.payload.shell_environment import with_submission

POLL_S = 0.05
TAIL_BYTES = 4096
TOLD_EVERY_S = 1.0


@contextmanager
def own_directory(directory: str) -> Iterator[tuple[str, str]]:
    """Make a directory for one examination; yield its path and a token; remove it.

    Raises SiteError JT127 if it cannot be made.
    """
    token = random_name(8)
    own = f"{os.path.abspath(directory)}/jobtree-doctor-{token}"
    try:
        os.mkdir(own, 0o700)
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        try:
            os.mkdir(f"{own}/orders", 0o700)
            write_file(f"{own}/{SEED}", f"{token}\n".encode())
            write_setup(own, capture())
        except OSError as error:
            raise _unwritable(directory, error) from error
        yield own, token
    finally:
        remove_tree(own)


def _unwritable(directory: str, error: OSError) -> SiteError:
    return SiteError(
        f"canaries cannot be kept in {directory}: {error.strerror}",
        code="JT127",
        fix="name a directory that you may write, on the file system that all nodes share:\n"
        "  jobtree site doctor --directory DIR",
    )


class CanaryRunner:
    """Runs canaries on one batch system. tell: is told now and then what is waited for."""

    def __init__(
        self,
        system: BatchSystem,
        directory: str,
        token: str,
        options: ExaminationOptions,
        tell: Callable[[str], None],
    ) -> None:
        self._system, self._directory, self._token = system, directory, token
        self._options, self._tell = options, tell
        self.cases: dict[str, Case] = {}
        """what became of the canaries so far, by name"""
        self._case_of: dict[int, Case] = {}
        """those whose end was not told yet"""
        self._running: dict[int, float] = {}
        """since when jobs are known to run"""
        self._natives: dict[int, str] = {}
        self._told_at = 0.0
        self.visit = Visit()

    def run(self, canaries: Iterable[Canary]) -> None:
        """Submit these, and return when each has ended or was given up.

        Raises Unobtainable if the batch system cannot be reached.
        """
        mine = [self._issue(canary) for canary in canaries]
        while open_cases := [case for case in mine if self._is_open(case)]:
            self._take_updates()
            self._exchange()
            self._check_files(open_cases)
            for case in open_cases:
                self._give_up_if_late(case)
            self._tell_of(open_cases)
            self._wait()
        for case in mine:
            case.tail = self._tail(case)

    def kill_rest(self) -> list[str]:
        """Kill what is left; return the names of those whose end could not be confirmed."""
        self._system.killJobs(list(self._case_of))
        end = time.monotonic() + self._options.kill_s
        with suppress(KeyboardInterrupt):  # whoever insists need not wait for the confirmation
            while self._case_of and time.monotonic() < end:
                self._take_updates()
                self._wait()
        return [
            f"{case.canary.specs(self._token)[0].name} ({self._natives.get(handle) or 'no id'})"
            for handle, case in self._case_of.items()
        ]

    # -- submitting and listening ----------------------------------------------------------------

    def _issue(self, canary: Canary) -> Case:
        case = Case(canary, time.time())
        env, private = with_submission(os.environ), f"{self._directory}/{SETUP_ENVIRONMENT}"
        specs = [replace(s, env=env, private_env=private) for s in canary.specs(self._token)]
        handles = self._system.issueJobs(specs)
        self.cases[canary.name] = case
        self._case_of |= dict.fromkeys(handles, case)
        return case

    def _take_updates(self) -> None:
        for handle, update in self._system.getUpdatedJobs().items():
            case = self._case_of.get(handle)
            if case is None:
                continue
            if isinstance(update, Accepted):
                case.accepted = case.accepted or time.time()
                self._natives[handle] = update.native
            elif isinstance(update, Refused):
                case.refused = update
                del self._case_of[handle]
            elif isinstance(update, JobEnd):
                if case.delay is Delay.NONE:
                    case.ends.append(update)
                    case.ended = time.time()
                del self._case_of[handle]
        for handle in self._system.getRunningJobIDs():
            if handle in self._case_of:
                self._running.setdefault(handle, time.monotonic())

    def _is_open(self, case: Case) -> bool:
        if case.delay is not Delay.NONE or case.refused is not None:
            return False
        if len(case.ends) < case.canary.size:
            return True
        late = case.ended is not None and time.time() - case.ended > self._options.files_s
        return bool(case.missing) and not late

    def _wait(self) -> None:
        descriptor = self._system.fileno()
        if descriptor is None:
            time.sleep(POLL_S)
        else:
            select.select([descriptor], [], [], POLL_S)

    # -- files -----------------------------------------------------------------------------------

    def _exchange(self) -> None:
        """Answer a node that said hello, and see its answer."""
        if VISIT not in self.cases:
            return
        if self.visit.hello is None:
            hello = self._read(HELLO)
            if hello is not None:
                seen = time.time()
                write_file(f"{self._directory}/{PING}", self._token.encode())
                self.visit = Visit(hello, seen, time.time())
        elif self.visit.pong is None:
            pong = self._read(PONG)
            if pong is not None:
                self.visit = self.visit._replace(pong=pong, pong_at=time.time())

    def _read(self, name: str) -> dict[str, Any] | None:
        path = f"{self._directory}/{name}"
        if not exists_after_listing(path):
            return None
        with suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
            found = json.load(file)
            return found if isinstance(found, dict) else None
        return None

    def _check_files(self, cases: Iterable[Case]) -> None:
        for case in cases:
            missing = (path for path in case.canary.files if not exists_after_listing(path))
            case.missing = tuple(missing)
            if case.canary.name == VISIT and len(case.ends) == 1 and self.visit.pong is None:
                good = case.ends[0].exit_status == 0
                case.missing = (f"{self._directory}/{PONG}",) if good else ()

    def _tail(self, case: Case) -> str:
        if case.canary.output is None:
            return ""
        try:
            with open(case.canary.output, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    # -- giving up --------------------------------------------------------------------------------

    def _give_up_if_late(self, case: Case) -> None:
        options = self._options
        self._require_scheduler(case)
        if len(case.ends) == case.canary.size:
            return
        began = self._began(case)
        if began is not None:
            ran = time.monotonic() - began
            if ran > case.canary.run_s + options.end_s:
                self._give_up(case, Delay.RAN, ran)
            return
        waited = self._waited(case)
        explained = self._explain(case) if waited > options.queue_s else ""
        if explained or waited > options.queue_s + case.canary.run_s + options.end_s:
            case.explained = explained
            self._give_up(case, Delay.WAITED if explained else Delay.RAN, waited)

    def _waited(self, case: Case) -> float:
        """Return for how long a canary is in the queue, or over what submissions take."""
        began = case.accepted or case.issued + self._options.accept_s
        return time.time() - began

    def _require_scheduler(self, case: Case) -> None:
        """Raise Unobtainable if no job was ever taken, or nothing can be asked any more."""
        ever = any(each.accepted for each in self.cases.values())
        if not ever and time.time() - case.issued > self._options.accept_s:
            raise Unobtainable(
                f"{self._system.name} took no job within {self._options.accept_s:.0f} s",
                why=self._explain(case) or self._outage(),
                fix="see that it works, with its own commands; then run the doctor again",
            )
        late = case.accepted and self._waited(case) > self._options.queue_s
        if late and (why := self._outage()):
            raise Unobtainable(
                f"{self._system.name} no longer tells of its jobs",
                why=why,
                fix="see that it works, with its own commands; then run the doctor again",
            )

    def _outage(self) -> str:
        try:
            self._system.getIssuedJobIDs()
        except Unobtainable as error:
            return error.why or error.what
        return ""

    def _give_up(self, case: Case, delay: Delay, waited_s: float) -> None:
        case.delay, case.waited_s = delay, waited_s
        self._system.killJobs(self._handles(case))

    def _handles(self, case: Case) -> list[int]:
        return [handle for handle, each in self._case_of.items() if each is case]

    def _began(self, case: Case) -> float | None:
        """Return since when all that is left of a canary runs; None while some of it waits."""
        since = [self._running.get(handle) for handle in self._handles(case)]
        known = [each for each in since if each is not None]
        return max(known) if known and len(known) == len(since) else None

    def _explain(self, case: Case) -> str:
        said = self._system.explain(self._handles(case))
        return next(iter(said.values()), "")

    def _tell_of(self, cases: Iterable[Case]) -> None:
        """Tell what is waited for."""
        now = time.monotonic()
        if now - self._told_at < TOLD_EVERY_S:
            return
        self._told_at = now
        parts = []
        for case in cases:
            runs = self._began(case) is not None
            why = "" if runs else self._explain(case)
            parts.append(f"{case.canary.name} ({'runs' if runs else why or 'no word yet'})")
        if parts:
            self._tell(f"waiting for {', '.join(parts)}")
