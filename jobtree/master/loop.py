"""The master: the one process that owns a tree, and its loop.

Owns the order of things in a turn: take in news, decide, commit, act, wait. Every decision is made
elsewhere; must not know a scheduler. Read next: run_state.py, then workflow.py, which builds one.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from batchsystems.interface import JobRecord
from jobtree.core.issue_states import News, State
from jobtree.core.job import Colour
from jobtree.mailbox.control import BELL
from jobtree.mailbox.keepalive import keep_alive_during
from jobtree.master.dispatch import issue_ready
from jobtree.master.issue import issue_of
from jobtree.master.issue_events import (
    advance_issue,
    kill,
    on_update,
    read_results,
    tidy_submission,
)
from jobtree.master.node_exclusion import readmit_nodes, restore_exclusions
from jobtree.master.queries import answer_request
from jobtree.master.result_events import replay_moves
from jobtree.master.run_state import RunState
from jobtree.master.watchdog import check_grace, check_issues
from jobtree.store.lease import Lease

log = logging.getLogger("jobtree")

LONGEST_WAIT_S = 1.0
CONTROL_S = 0.5
LINGER_S = 2.0
KILL_POLL_S = 0.2
SHOWN_STRAYS = 5

COLLECT_S = 300.0
"""How often garbage in cycles is looked for, while waiting: the loop itself makes none."""


class Master:
    """Runs a tree to its end, from wherever it stands. after_turn: whom to tell how it goes."""

    def __init__(
        self,
        run: RunState,
        lease: Lease,
        after_turn: Callable[[RunState], None] = lambda run: None,
    ) -> None:
        self.run_state, self.lease, self._after_turn = run, lease, after_turn
        run.mailbox.keep_alive = lease.keep
        self.leaving = False
        self._swept_at = self._looked_at = self._controlled_at = run.clock.now()
        self._polled_at = -1e9
        self._collected_at = run.clock.now()
        self._sweep_from = 0
        self._kill_wanted = self._lingers = self._all_over = False
        self._wakeup_r, self._wakeup_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> int:
        """Run until nothing more can happen, or until told to leave; return jobs not done."""
        with _rare_collections():
            self.recover()
            while not self.run_state.finished():
                self.turn()
                if self.leaving:
                    self._linger()
                    break
                if not self.run_state.finished():
                    self.wait()
            else:
                self.sweep()
        self._after_turn(self.run_state)
        return self.run_state.remaining()

    def leave(self) -> None:
        """Stop at the end of this turn, leaving jobs to run. Safe to call from a signal."""
        self.leaving = True
        self.wake()

    def interrupt(self, may_kill: bool) -> None:
        """Leave at the first call; at a second soon after, end all jobs first."""
        if may_kill and self.leaving:
            self._kill_wanted = True
        self._lingers = may_kill
        self.leave()

    def _linger(self) -> None:
        """Say how to go on, and give a second interrupt the time to come."""
        directory = self.run_state.directory
        if self.run_state.stopping:  # everything was killed, by a request
            return
        log.warning(
            "leaving: nothing more is submitted, what runs goes on; to go on: jobtree restart %s%s",
            directory,
            f"; interrupt again within {LINGER_S:.0f} s to kill what runs" if self._lingers else "",
        )
        end = self.run_state.clock.now() + (LINGER_S if self._lingers else 0.0)
        while not self._kill_wanted and (left := end - self.run_state.clock.now()) > 0:
            self._sleep(left)
        if self._kill_wanted:
            unconfirmed = self.kill_everything("the user's interrupt")
            log.warning("killed what ran; to go on: jobtree restart %s", directory)
            if unconfirmed:
                log.warning("not confirmed to have ended: %s", " ".join(unconfirmed))

    def wake(self) -> None:
        """End the present wait."""
        with suppress(BlockingIOError):
            os.write(self._wakeup_w, b"x")

    def turn(self) -> None:
        """Take in all news, decide, commit once, then act on what was decided."""
        run = self.run_state
        now = run.clock.now()
        self.lease.keep()
        self._hear_batch_systems(now)
        self._hear_workers(now)
        self._hear_requests(now)
        if now - self._looked_at >= self._look_every():
            self._looked_at = now
            check_issues(run)
        if not self.leaving:
            issue_ready(run)
        self._expect_ends()
        self.commit_and_act()
        self._after_turn(run)

    def _expect_ends(self) -> None:
        """Have schedulers asked soon once all that is missing is that they say what has ended."""
        over = bool(self.run_state.issues) and not self.run_state.in_use.issues
        if over and not self._all_over:
            for system in self.run_state.systems.values():
                system.expect_ends()
        self._all_over = over

    def commit_and_act(self) -> None:
        """Make the turn durable; only then let the world see it."""
        run = self.run_state
        self.lease.keep()
        run.store.commit()
        run.ready.committed()
        self.lease.keep()
        run.mailbox.forget_bundles(run.pop_unused_bundles())
        for effect in run.pop_effects():
            self.lease.keep()
            effect()

    def recover(self) -> None:
        """Take up the tree where the last master left it."""
        run = self.run_state
        restore_exclusions(run)
        replay_moves(run)
        stored = run.store.issues()
        for entry in stored:
            issue = issue_of(entry, _still_held(run, entry.pack), run.clock.now())
            run.add_issue(issue)
            if issue.state == State.ENDED and issue.killed_for:
                # the last master may have given it up and died before it had fenced it
                run.tell_worker(issue)
        for name in run.systems:
            self._adopt(name)
        for submission in dict.fromkeys(entry.submission for entry in stored):
            if all(i.state == State.ENDED for i in run.submission_of(submission)):
                tidy_submission(run, submission)
        self.commit_and_act()
        self.sweep()

    def sweep(self) -> None:
        """Remove files that nothing needs: of a lost master, and of workers that woke up late."""
        run = self.run_state
        submissions = {issue.submission for issue in run.issues.values()}
        run.mailbox.sweep(
            submissions, run.store.bundles(), lambda job: run.store.get(job) is not None
        )

    def kill_everything(self, why: str) -> list[str]:
        """End every issue; return the names of those whose end could not be confirmed."""
        run = self.run_state
        run.stopping = True
        for issue in run.living_issues():
            kill(run, issue, why)
        self.commit_and_act()
        end = run.clock.now() + run.policy.kill_s
        while run.living_issues() and run.clock.now() < end:
            self._hear_batch_systems(run.clock.now(), force=True)
            self.commit_and_act()
            self._sleep(KILL_POLL_S)
        return [issue.name for issue in run.living_issues()]

    def readmit_nodes(self, nodes: Sequence[str]) -> list[str]:
        """Let nodes be used again; return those that were left out."""
        return readmit_nodes(self.run_state, nodes)

    def _adopt(self, name: str) -> None:
        """Adopt the issues of one batch system; what it does not find is issued again."""
        run = self.run_state
        alive = run.living_issues(name)
        records = [JobRecord(i.submission, i.task, i.native, i.submitted) for i in alive]
        handles: list[int | None] = []
        if records:  # a scheduler may be slow to answer
            handles = keep_alive_during(lambda: run.systems[name].adopt(records), self.lease.keep)
        for issue, handle in zip(alive, handles, strict=True):
            if handle is not None:
                run.set_handle(issue, handle)
            if issue.state == State.KILLING:  # who wanted it so may have died before asking
                advance_issue(run, issue, News.KILL)
            if handle is not None:
                read_results(run, issue)
                continue
            issue.note_kill("not found again after a restart")
            if issue.state not in (State.PUBLISHED, State.KILLING):
                run.change_state(issue, State.VANISHED)
            advance_issue(run, issue, News.OVERDUE)
            if issue.state == State.PUBLISHED:
                advance_issue(run, issue, News.ABSENT)
        found = sum(handle is not None for handle in handles)
        if alive:
            log.info("adopted %d of %d batch jobs of the earlier master", found, len(alive))
        self._end_strays(name)

    def _end_strays(self, name: str) -> None:
        """End the batch jobs in this tree's own directory of which its database knows nothing.

        Whoever submitted them lost the tree to another master: nobody waits for them.
        """
        system = self.run_state.systems[name]
        strays = system.strays()
        if not strays:
            return
        handles = [handle for handle in system.adopt(strays) if handle is not None]
        system.killJobs(handles)
        names = ", ".join(sorted({stray.name for stray in strays})[:SHOWN_STRAYS])
        said = "%d batch jobs that this tree knows nothing of are ended: %s"
        log.warning(said, len(strays), names)

    def _hear_batch_systems(self, now: float, force: bool = False) -> None:
        run = self.run_state
        if now - self._polled_at < run.settings.wait_s and not force:
            return
        self._polled_at = now
        for name, system in run.systems.items():
            for handle, update in system.getUpdatedJobs().items():
                self.lease.keep()
                issue = run.issue_of(name, handle)
                if issue is not None:
                    on_update(run, issue, update)

    def _hear_workers(self, now: float) -> None:
        run = self.run_state
        rung = run.mailbox.rung()
        if BELL in rung:
            self._controlled_at = -1e9
        for name in sorted(rung):
            self.lease.keep()
            issue = run.issues.get(name)
            if issue is not None and issue.state != State.ENDED:
                read_results(run, issue)
        if now - self._swept_at < run.settings.sweep_s:
            return
        self._swept_at = now
        names = list(run.issues)
        self._sweep_from = self._sweep_from % max(1, len(names))
        chosen = names[self._sweep_from : self._sweep_from + run.settings.swept_at_once]
        self._sweep_from += len(chosen)
        for name in chosen:
            self.lease.keep()
            issue = run.issues.get(name)
            if issue is None or issue.state == State.ENDED:
                continue
            if issue.state != State.PUBLISHED:
                read_results(run, issue)
            check_grace(run, issue)
        for submission in sorted(run.untidy):
            tidy_submission(run, submission)

    def _hear_requests(self, now: float) -> None:
        if now - self._controlled_at < CONTROL_S:
            return
        self._controlled_at = now
        run = self.run_state
        for request in run.mailbox.requests():
            said = answer_request(run.store, run.directory, request.verb, request.arguments, self)
            run.effects.append(partial(run.mailbox.answer, request, said))

    def _look_every(self) -> float:
        settings = self.run_state.settings
        return min(settings.rescue_s, max(0.1, settings.longest_step_s / 4))

    def wait(self) -> None:
        """Sleep until there is news, or a timer is due; never while there is work."""
        run = self.run_state
        if run.effects:
            return
        if run.clock.now() - self._collected_at > COLLECT_S:
            self._collected_at = run.clock.now()
            gc.collect()
        sources: list[Callable[[], int | None]] = [run.mailbox.bell.fileno]
        if run.settings.wait_s <= 0:
            sources += [system.fileno for system in run.systems.values()]
        due = min(
            self._swept_at + run.settings.sweep_s,
            self._controlled_at + CONTROL_S,
            self._looked_at + self._look_every(),
        )
        if run.settings.wait_s > 0:
            due = min(due, self._polled_at + run.settings.wait_s)
        self._sleep(min(LONGEST_WAIT_S, due - run.clock.now()), sources)

    def _sleep(self, longest_s: float, sources: Sequence[Callable[[], int | None]] = ()) -> None:
        """Sleep until wake() is called or one of the sources has news, which others take in."""
        with selectors.DefaultSelector() as selector:
            for source in sources:
                fd = source()
                if fd is not None:
                    selector.register(fd, selectors.EVENT_READ)
            selector.register(self._wakeup_r, selectors.EVENT_READ)
            selector.select(max(0.0, longest_s))
        with suppress(BlockingIOError):
            while os.read(self._wakeup_r, 512):
                pass

    def close(self) -> None:
        """Let go of what the master holds open."""
        os.close(self._wakeup_r)
        os.close(self._wakeup_w)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Leave the search for garbage in cycles to wait(): it takes a fifth of a busy turn."""
    automatic = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if automatic:
            gc.enable()


def _still_held(run: RunState, pack: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return a pack as it stands now: adopted steps have moved its jobs on since it was issued."""
    held = []
    for job_id, attempt, _ in pack:
        job = run.store.get(job_id)
        if job is not None and job.attempt == attempt and job.colour == Colour.GREY:
            held.append((job_id, attempt, job.step))
    return held
