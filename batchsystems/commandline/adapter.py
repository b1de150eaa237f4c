"""CommandLine: the one base class of every batch system that is driven by commands.

Owns the background thread that runs them, and the way between it and the caller; must not know
a scheduler. Read next: dialect.py, what an adapter supplies; engine.py, what is run when.
"""

from __future__ import annotations

import logging
import os
import pwd
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from batchsystems.clock import Clock, MachineClock
from batchsystems.commandline.dialect import Dialect
from batchsystems.commandline.engine import Engine
from batchsystems.commandline.environment import for_answers
from batchsystems.commandline.operation import Operation
from batchsystems.commandline.pacing import Pace, Timeouts
from batchsystems.commandline.shutdown import (
    leave_unclear,
    refuse_unsent,
    sending,
    unsent,
    withdraw,
)
from batchsystems.common.exit_hook import close_at_exit, forget
from batchsystems.errors import BatchSystemError, closed
from batchsystems.interface import (
    BatchSystem,
    Capacity,
    JobRecord,
    JobSpec,
    Resources,
    Trouble,
    Update,
)
from batchsystems.transport.local import Command, Local, Private, Transport

log = logging.getLogger("jobtree.batchsystems")

LONGEST_SLEEP_S = 3600.0
CANCEL_EVERY_S = 0.2


class CommandLine(BatchSystem):
    """A batch system that is a dialect: all else is the same for every scheduler.

    No method waits for the scheduler, adopt() and close() apart, which wait for so long at most
    as `timeouts` says. Commands run one after the other in a thread that starts with the first
    request. transport: how commands are run. clock: where time comes from.
    """

    def __init__(
        self,
        dialect: Dialect,
        pace: Pace | None = None,
        timeouts: Timeouts | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = dialect.name
        self._dialect = dialect
        self._timeouts = timeouts or Timeouts()
        self._transport = transport or Local()
        self._clock = clock or MachineClock()
        self._require_programs()
        self._engine = Engine(dialect, pace or Pace(), self._timeouts, self._clock.epoch, _user())
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._abandoned = threading.Event()
        self._rung = False
        self._bell_r, self._bell_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def _require_programs(self) -> None:
        lacking = self._transport.missing(self._dialect.programs)
        if lacking:
            raise BatchSystemError(
                f"the batch system {self.name} cannot be used here: "
                f"there is no {', no '.join(lacking)}",
                why="these commands are not on PATH",
                fix="load the site's module for it, use a submit host, or choose another "
                "batch system",
            )

    # -- the contract -----------------------------------------------------------------------------

    def issueJob(self, spec: JobSpec) -> int:
        """Submit one job, soon; jobs alike given one after the other may become one array."""
        return self.issueJobs([spec])[0]

    def issueJobs(self, specs: Sequence[JobSpec]) -> list[int]:
        """Submit these jobs, soon, as few arrays."""
        with self._changed:
            if self._closing:
                raise closed(self.name)
            handles = self._engine.submission_queue.post(specs, os.getcwd())
            self._stir()
        return handles

    def getIssuedJobIDs(self) -> frozenset[int]:
        """Return the handles that have not ended; raises Unobtainable during an outage."""
        with self._changed:
            self._supervise()
            return self._engine.issued(self._clock.now())

    def getRunningJobIDs(self) -> dict[int, float]:
        """Return handle -> seconds running, as of now by the last answer."""
        with self._changed:
            return self._engine.running(self._clock.now())

    def getUpdatedJobs(self) -> dict[int, Update]:
        """Return what is new."""
        with self._changed:
            self._supervise()
            updates = self._engine.job_table.take_news()
            self._engine.cluster.news = False
            self._ring()
            spent = self._engine.job_table.take_spent()
        for path in spent:
            with suppress(OSError):
                self._transport.put(path, None)
        return updates

    def killJobs(self, ids: Iterable[int]) -> None:
        """Request the end of these jobs, soon."""
        with self._changed:
            self._engine.kill(ids, self._clock.now())
            self._stir()

    def adopt(self, records: Sequence[JobRecord]) -> list[int | None]:
        """Take back jobs, by one query of queue and history.

        None is given only to what these answers certainly do not have. If no answer comes in
        time all are taken back, and looked for later.
        """
        if not records:
            return []
        deadline = self._clock.now() + self._timeouts.adopt_s
        with self._changed:
            self._engine.begin_adoption(records, self._clock.now())
            self._stir()
            while not self._engine.adoption_answered():
                left = deadline - self._clock.now()
                if left <= 0 or not self._changed.wait(left):
                    break
            handles = self._engine.finish_adoption(self._clock.now())
            self._stir()
        return handles

    def expect_ends(self) -> None:
        """Look at the queue soon, however rarely that is done now."""
        with self._changed:
            self._engine.expect_ends(self._clock.now())
            self._stir()

    def explain(self, ids: Iterable[int]) -> dict[int, str]:
        """Say why these jobs do not run yet, in the scheduler's words and in plain ones."""
        with self._changed:
            return self._engine.explain(ids)

    def troubles(self) -> list[Trouble]:
        """Say what holds jobs up now, and since when."""
        with self._changed:
            return self._engine.troubles(self._clock.now())

    def exclude(self, nodes: Iterable[str]) -> None:
        """Keep later submissions away from these nodes, and from no others."""
        with self._changed:
            self._engine.avoid = tuple(sorted(set(nodes)))

    def capacity(self) -> Capacity:
        """Return what was found out by now; the first call has it asked, in the background."""
        with self._changed:
            engine, now = self._engine, self._clock.now()
            if engine.cluster.stale(now) and not self._closing:
                engine.cluster.ask_capacity(now)
                self._stir()
            return Capacity(
                engine.slots(),
                engine.cluster.limits.largest() or Resources(cpus=2**31),
                engine.cluster.answered,
            )

    def fileno(self) -> int | None:
        """Return the descriptor that turns readable when there is news."""
        return None if self._closing else self._bell_r

    def flush(self, timeout_s: float | None = None) -> frozenset[int]:
        """Wait until the scheduler has answered all submissions; return what it has not in time."""
        deadline = float("inf") if timeout_s is None else self._clock.now() + timeout_s
        with self._changed:
            while sending(self._engine) and not self._closing:
                wait_s = deadline - self._clock.now()
                if wait_s <= 0:
                    break
                self._supervise()
                self._changed.wait(min(wait_s, LONGEST_SLEEP_S))
            return unsent(self._engine)

    def withdraw(self) -> frozenset[int]:
        """Take back what was not submitted."""
        with self._changed:
            withdrawn = withdraw(self._engine)
            self._ring()
        return withdrawn

    def close(self) -> None:
        """Send the submissions and kills that were asked for, and let go.

        For so long at most as `timeouts` says; an interrupt ends the waiting and not the rest.
        """
        try:
            self.flush(self._timeouts.flush_s)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        with self._changed:
            if self._closing:
                return
            self._closing = True
            refuse_unsent(self._engine)
            self._changed.notify_all()
        forget(self)
        if self._thread is not None:
            self._thread.join(self._timeouts.close_s)
            self._abandoned.set()  # what is ended now is not begun anew
            end = time.monotonic() + self._timeouts.close_s
            while self._thread.is_alive() and time.monotonic() < end:
                self._transport.cancel()
                self._thread.join(CANCEL_EVERY_S)
        with self._changed:
            refuse_unsent(self._engine)
            leave_unclear(self._engine)
            self._engine.job_table.clear()
        os.close(self._bell_r)
        os.close(self._bell_w)

    # -- the thread -------------------------------------------------------------------------------

    def _stir(self) -> None:
        """Have the thread see to what is new."""
        if self._engine.job_table.news:
            self._ring()
        self._supervise(start=True)
        self._changed.notify_all()

    def _supervise(self, start: bool = False) -> None:
        """Start the thread, or start it again should it have died."""
        if self._closing or (self._thread is None and not start):
            return
        if self._thread is not None and self._thread.is_alive():
            return
        if self._thread is not None:
            log.error("%s: the thread that runs commands died; it is started again", self.name)
        close_at_exit(self)
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        self._thread.start()

    def _ring(self) -> None:
        """Make the descriptor readable exactly while there is news."""
        news = bool(self._engine.job_table.news) or self._engine.cluster.news
        if self._closing or news == self._rung:
            return
        self._rung = news
        with suppress(BlockingIOError):
            if news:
                os.write(self._bell_w, b"!")
            else:
                os.read(self._bell_r, 64)

    def _work(self) -> None:
        """Do what is due, one thing after the other, until close()."""
        while True:
            with self._changed:
                now = self._clock.now()
                reconciler = self._engine.reconciler
                unsent = reconciler.to_kill or reconciler.names_to_kill
                if self._abandoned.is_set() or (self._closing and not unsent):
                    return
                operation = self._engine.next_operation(now)
                if operation is None:
                    if self._closing:
                        return
                    self._ring()  # jobs may have been refused, or an adoption settled
                    self._changed.notify_all()
                    idle_s = self._engine.idle_s(now)
                    self._changed.wait(min(max(idle_s, 0.001), LONGEST_SLEEP_S))
                    continue
            try:
                answer = self._answer(operation)
            except Exception as error:  # of a parser or the transport; others' jobs go on
                verb = operation.command.verb if operation.command else "file"
                log.exception("%s: a %s failed, or its answer could not be read", self.name, verb)
                answer = operation.lost(f"it failed here, or its answer could not be read: {error}")
            with self._changed:
                if self._abandoned.is_set():
                    return
                operation.on_answer(answer, operation.begun, self._clock.now())
                self._ring()
                self._changed.notify_all()

    def _answer(self, operation: Operation) -> Any:
        """Do it; an answer that tells nothing is asked for again."""
        if operation.read_files is not None:
            return operation.read_files(self._transport)
        assert operation.command is not None
        if operation.command.verb in ("submit", "kill", "discover"):
            return self._run(operation)
        return self._persist(operation)

    def _persist(self, operation: Operation) -> Any:
        """Make a query, some times over if it fails; never a submission."""
        import tenacity  # slow to load, and needed only here

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._timeouts.query_tries),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=10),
            retry=tenacity.retry_if_result(
                lambda answer: operation.again(answer) and not self._closing
            ),
            sleep=self._sleep,
            before_sleep=self._count,
            retry_error_callback=_last_answer,
        )
        return retrying(self._run, operation)

    def _run(self, operation: Operation) -> Any:
        assert operation.command is not None
        command = operation.command
        if command.env is None:
            command = replace(command, env=for_answers(self._dialect))
        if command.private is not None:
            command = self._put_private(command, command.private)
        ran = self._transport.run(command, self._timeouts.timeout_s(command.verb))
        log.debug("%s: %.300s -> %s", command.verb, command.argv, ran.status)
        return operation.parse(ran)

    def _put_private(self, command: Command, private: Private) -> Command:
        """Write what is not for everybody; return the command, without it if that cannot be."""
        try:
            self._transport.put(private.path, private.content)
        except OSError as error:
            log.warning(
                "%s: %s cannot be written (%s): the job's environment stands in its script, which "
                "others can read",
                self.name,
                private.path,
                error.strerror,
            )
            return replace(command, stdin=private.otherwise)
        return command

    def _count(self, state: Any) -> None:
        with self._changed:
            self._engine.count_retry()

    def _sleep(self, seconds: float) -> None:
        with self._changed:
            if not self._closing:
                self._changed.wait(seconds)


def _user() -> str:
    """Return the name of the user whose jobs these are, "" if it has none here."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


def _last_answer(state: Any) -> Any:
    return state.outcome.result()
