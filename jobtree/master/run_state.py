"""What a master knows while it runs: live issues, ready jobs, measured times, effects to come.

Owns that state and how a job's event is carried through the tree and the store; decides
nothing. Read next: result_events.py, dispatch.py and watchdog.py, which decide.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from batchsystems.clock import Clock
from batchsystems.interface import BatchSystem
from jobtree.core import job_states
from jobtree.core.issue_states import State
from jobtree.core.job import Colour, Command, Job, Requirements
from jobtree.core.node_health import NodeHealth
from jobtree.core.packing import Measured, slots_of
from jobtree.core.rescue import Policy, within
from jobtree.core.scheduler_estimates import JobOverhead, SlotEstimate
from jobtree.core.sibling_estimates import SiblingEstimates, sibling_group
from jobtree.mailbox.layout import issue_name
from jobtree.mailbox.master_side import Mailbox
from jobtree.options import Settings
from jobtree.store.rows import HistoryEntry, StoredIssue
from jobtree.store.store import Store

WINDOW = 10_000

log = logging.getLogger("jobtree")


class Issue:
    """One live batch job and its pack.

    name: what its files are called by. open: job -> (attempt, step) of what is still to come
    from it. Times are the master's own clock's. handle: the adapter's, 0 before there is one.
    ran_at_beat_s: how long it had run, by the batch system, when its worker last beat.
    node_ok: as far as that speaks for or against its node, None if it does not. kill_sent:
    it was still in the queue long after its results were read, so its end was asked for. silent:
    it was for too long when last looked at. launch_error: what was said as its launch failed, None
    if it did not. recalled_at: since when its worker is to hand back what it has not begun;
    recalls: how often; recall_parts: of how many equal parts it is to keep one, 0: none. worked_s:
    what its steps took.
    """

    __slots__ = (
        "absences",
        "batch_system",
        "beat",
        "beat_at",
        "node_ok",
        "granted",
        "handle",
        "issued_at",
        "killed_for",
        "name",
        "native",
        "node",
        "open",
        "kill_sent",
        "progress_at",
        "ran_at_beat_s",
        "recalled_at",
        "recall_parts",
        "recalls",
        "silent",
        "since",
        "started_at",
        "state",
        "step_began",
        "submission",
        "submitted",
        "task",
        "launch_error",
        "worked_s",
    )

    def __init__(
        self,
        submission: str,
        task: int,
        batch_system: str,
        granted: Requirements,
        pack: Iterable[tuple[int, int, int]],
        submitted: float,
        now: float,
    ) -> None:
        self.submission, self.task, self.batch_system = submission, task, batch_system
        self.name = issue_name(submission, task)
        self.granted, self.submitted = granted, submitted
        self.open = {job: (attempt, step) for job, attempt, step in pack}
        self.state = State.SUBMITTING
        self.handle = 0
        self.native = self.killed_for = self.node = ""
        self.issued_at = self.since = self.beat_at = self.progress_at = now
        self.started_at: float | None = None
        self.step_began: tuple[object, float] | None = None
        self.beat, self.absences = -1, 0
        self.ran_at_beat_s: float | None = None
        self.recalled_at: float | None = None
        self.recalls = self.recall_parts = 0
        self.worked_s = 0.0
        self.node_ok: bool | None = None
        self.launch_error: str | None = None
        self.kill_sent = self.silent = False

    @property
    def occupies(self) -> bool:
        """Whether user's work of it may still run."""
        return self.state not in (State.PUBLISHED, State.ENDED)

    def stored(self) -> StoredIssue:
        """Return what is kept of it across masters."""
        pack = tuple((job, *at) for job, at in self.open.items())
        return StoredIssue(
            self.submission,
            self.task,
            int(self.state),
            self.native,
            self.batch_system,
            self.submitted,
            self.granted,
            pack,
            self.killed_for,
        )


class ReadyQueue:
    """The white jobs, oldest first; only a window of them is in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._window: deque[int] = deque()
        self._on_disk = True
        self._uncommitted = False

    def push(self, job: Job) -> None:
        """Take in a job that has just turned white."""
        if self._on_disk or len(self._window) >= WINDOW:
            self.spill()
        else:
            self._window.append(job.id)

    def spill(self) -> None:
        """Know that more white jobs are in the store, or will be with the next commit."""
        self._on_disk = self._uncommitted = True

    def committed(self) -> None:
        """Know that the store now shows all that was pushed."""
        self._uncommitted = False

    def pop(self, limit: int) -> list[Job]:
        """Remove and return the oldest ready jobs."""
        if not self._window and self._on_disk:
            found = self._store.white_jobs(0, WINDOW)
            self._window.extend(job.id for job in found)
            self._on_disk = len(found) == WINDOW or self._uncommitted
        jobs: list[Job] = []
        while self._window and len(jobs) < limit:
            job = self._store.get(self._window.popleft())
            if job is not None and job.colour == Colour.WHITE:
                jobs.append(job)
        return jobs

    def push_front(self, jobs: list[Job]) -> None:
        """Return jobs taken and not used, to the front."""
        self._window.extendleft(job.id for job in reversed(jobs))


class RunState:
    """The state of one run. `effects` are carried out, in order, after the next commit.

    issues_out, slots_out, memory_out_bytes: what issues take up in which work may still run.
    slots_in: what those in each state take up.
    overhead, slot_estimate: of the batch system new jobs go to.
    """

    def __init__(
        self,
        directory: str,
        store: Store,
        mailbox: Mailbox,
        settings: Settings,
        epoch: int,
        clock: Clock,
        systems: dict[str, BatchSystem],
    ) -> None:
        self.directory, self.store, self.mailbox = directory, store, mailbox
        self.settings, self.epoch, self.clock, self.systems = settings, epoch, clock, systems
        self.tree_id = store.identity()
        self.budgets = job_states.Budgets(settings.retries, settings.rescues)
        self.policy = settings.policy._replace(longest_step_s=settings.longest_step_s)
        self.issues: dict[str, Issue] = {}
        self.by_handle: dict[tuple[str, int], Issue] = {}
        self._submissions: dict[str, dict[int, Issue]] = {}
        self._living: Counter[str] = Counter()
        self.untidy: set[str] = set()
        self.outdated: set[str] = set()
        self.ready = ReadyQueue(store)
        self.measured: dict[str, Measured] = {}
        self.siblings = SiblingEstimates()
        self.overhead, self.slot_estimate = JobOverhead(), SlotEstimate()
        self.slots_in: Counter[State] = Counter()
        self.effects: list[Callable[[], None]] = []
        self.moves: dict[int, str] = {}
        self.stopping = False
        self.began = clock.now()
        self.submissions = self.issues_out = self.slots_out = self.memory_out_bytes = 0
        self.hold_until = self.recall_at = self.ahead_at = 0.0
        self.failed_launches = 0
        self.largest_pack = 1
        self.uneven: set[str] = set()
        self.outages: dict[str, float] = {}
        self.nodes = NodeHealth(self.policy.cool_down_s)
        for label, count, mean in store.classes():
            self.measured[label] = Measured(mean, count)

    @property
    def system(self) -> BatchSystem:
        """The batch system new jobs go to."""
        return self.systems[self.settings.batch_system]

    def policy_now(self) -> Policy:
        """Return the rescue policy within what the batch system is known by now to allow."""
        most = self.system.capacity().largest
        memory = most.memory_bytes
        if memory is not None:
            memory -= self.settings.worker_memory_bytes
        return within(self.policy, memory, most.time_s)

    def needs_of(self, job: Job) -> Requirements:
        """Return what a job's next command needs, escalation included."""
        needs = job.stack[-1].requirements.resolve(self.settings.defaults)
        if job.memory_bytes > (needs.memory_bytes or 0):
            needs = needs._replace(memory_bytes=job.memory_bytes)
        if job.time_s > (needs.time_s or 0.0):
            needs = needs._replace(time_s=job.time_s)
        return needs

    def add_issue(self, issue: Issue) -> None:
        """Take an issue in."""
        self.issues[issue.name] = issue
        self._submissions.setdefault(issue.submission, {})[issue.task] = issue
        self._living[issue.submission] += issue.state != State.ENDED
        self.slots_in[issue.state] += slots_of(issue.granted)
        if issue.occupies:
            self._occupy(issue, 1)

    def change_state(self, issue: Issue, state: State) -> None:
        """Let an issue be in another state from now on."""
        slots = slots_of(issue.granted)
        self.slots_in[issue.state] -= slots
        self.slots_in[state] += slots
        before, issue.state = issue.occupies, state
        issue.since = self.clock.now()
        if issue.occupies != before:
            self._occupy(issue, 1 if issue.occupies else -1)

    def _occupy(self, issue: Issue, sign: int) -> None:
        self.issues_out += sign
        self.slots_out += sign * slots_of(issue.granted)
        self.memory_out_bytes += sign * (issue.granted.memory_bytes or 0)

    def submission_of(self, submission: str) -> list[Issue]:
        """Return the issues of one submission not yet forgotten."""
        return list(self._submissions.get(submission, {}).values())

    def count_ended(self, issue: Issue) -> bool:
        """Note that an issue ended; True if it was its submission's last."""
        self._living[issue.submission] -= 1
        return not self._living[issue.submission]

    def forget(self, issue: Issue) -> None:
        """Drop an issue whose files go too."""
        del self.issues[issue.name]
        self.slots_in[issue.state] -= slots_of(issue.granted)
        self._submissions.pop(issue.submission, None)
        self._living.pop(issue.submission, None)
        self.store.remove_issue(issue.submission, issue.task)

    def pop_unused_bundles(self) -> list[str]:
        """Return the bundles no job needs any more, to be removed now.

        Those a worker may still add to are removed with the other files of its submission. To be
        called after a commit.
        """
        unused, self.store.unused_bundles = self.store.unused_bundles, []
        return [n for n in unused if n not in self.issues and not self.store.needs_bundle(n)]

    def apply(
        self, job: Job, event: job_states.Event, children: Iterable[Command] | None = None
    ) -> Job:
        """Carry an event through the tree, up to the ancestors it finishes."""
        outcome = job_states.step(job, event, self.budgets)
        self._replace(job, outcome.job)
        if outcome.births and children is not None:
            ids = self.store.new_ids(outcome.births)
            born = (
                job_states.first_job(number, job.id, command, self.budgets)
                for number, command in zip(ids, children, strict=True)
            )
            first = self.store.add(born)
            for child in first:
                self.ready.push(child)
            if len(first) < outcome.births:
                self.ready.spill()
        dead = outcome.job
        while dead.colour == Colour.DEAD and dead.parent:
            parent = self.store.get(dead.parent)
            assert parent is not None, f"job {dead.id} outlived its parent {dead.parent}"
            dead = job_states.step(parent, job_states.ChildFinished(), self.budgets).job
            self._replace(parent, dead)
        return outcome.job

    def _replace(self, old: Job, new: Job) -> None:
        self.store.put(old, new)
        if new.colour == Colour.WHITE and old.colour != Colour.WHITE:
            self.ready.push(new)
        elif new.colour == Colour.DEAD and new.has_directory:
            self.effects.append(lambda: self.mailbox.remove_job_directory(new.id))

    def record(self, job: Job, event: str, label: str, **known: Any) -> None:
        """Add to a job's history."""
        self.store.record(
            HistoryEntry(self.clock.epoch(), job.id, job.step, job.attempt, label, event, **known)
        )

    def measure(self, job: Job, wall_s: float) -> None:
        """Learn how long a step of a class took; and of its kind, if the class is quite new."""
        command = job.stack[-1]
        mean, seen = self.measured.get(command.label, Measured(0.0, 0))
        self.measured[command.label] = Measured(mean + (wall_s - mean) / (seen + 1), seen + 1)
        if not seen:
            self.siblings.note(sibling_group(job), wall_s)

    def remaining(self) -> int:
        """Return how many jobs are not done."""
        return sum(self.store.counts.values())

    def finished(self) -> bool:
        """Tell whether nothing more can happen."""
        counts = self.store.counts
        return not (self.issues or counts[Colour.WHITE] or counts[Colour.BLACK])
