"""What a master knows while it runs: live issues, ready jobs, measured times, effects to come.

Owns that state and how a job's event is carried through the tree and the store; decides
nothing. Read next: issue.py, then result_events.py, dispatch.py and watchdog.py, which decide.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from batchsystems.clock import Clock
from batchsystems.interface import BatchSystem
from jobtree.core import job_states
from jobtree.core.issue_states import State
from jobtree.core.job import Colour, Command, Job, Requirements
from jobtree.core.node_health import NodeHealth
from jobtree.core.packing import Measured, slots_of
from jobtree.core.rescue import Policy, hold_s, within
from jobtree.core.scheduler_estimates import JobOverhead, SlotEstimate
from jobtree.core.sibling_estimates import SiblingEstimates, sibling_group
from jobtree.core.submission_names import submission_name
from jobtree.mailbox.claims import Fence
from jobtree.mailbox.master_side import Mailbox
from jobtree.master.issue import Issue
from jobtree.master.ready_queue import ReadyQueue
from jobtree.options import Settings
from jobtree.store.rows import HistoryEntry
from jobtree.store.store import Store


class Launches:
    """Launches that failed one after the other, and until when nothing is submitted for it."""

    def __init__(self) -> None:
        self.failed_in_row = 0
        self.hold_until = 0.0

    def held(self, now: float) -> bool:
        """Tell whether nothing is to be submitted now."""
        return now < self.hold_until

    def hold(self, until: float) -> None:
        """Submit nothing until then, or longer if it is so held."""
        self.hold_until = max(self.hold_until, until)

    def failed(self, now: float, policy: Policy) -> float:
        """Count one more; return for how long nothing is submitted now."""
        self.failed_in_row += 1
        wait_s = hold_s(self.failed_in_row, policy)
        if wait_s:
            self.hold(now + wait_s)
        return wait_s

    def succeeded(self) -> None:
        """Begin to count anew."""
        self.failed_in_row = 0


class InUse:
    """What issues take up: in all, while work of theirs may still run; and slots by state."""

    def __init__(self) -> None:
        self.issues = self.slots = self.memory_bytes = 0
        self.slots_in: Counter[State] = Counter()

    def add(self, issue: Issue, sign: int = 1) -> None:
        """Count an issue in; with -1, out."""
        slots = slots_of(issue.granted)
        self.slots_in[issue.state] += sign * slots
        if issue.occupies:
            self.issues += sign
            self.slots += sign * slots
            self.memory_bytes += sign * (issue.granted.memory_bytes or 0)

    def remove(self, issue: Issue) -> None:
        """Count an issue out."""
        self.add(issue, -1)


class RunState:
    """The state of one run."""

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
        self.tree_name, self.tree_id = os.path.basename(directory), store.identity()
        self.budgets = job_states.Budgets(settings.retries, settings.rescues)
        self.policy = settings.policy._replace(longest_step_s=settings.longest_step_s)
        self.began = clock.now()
        self.stopping = False  # everything is being killed
        self.effects: list[Callable[[], None]] = []  # to be carried out after the next commit

        self.issues: dict[str, Issue] = {}  # by name
        self._by_handle: dict[tuple[str, int], Issue] = {}  # by batch system and handle
        self._submissions: dict[str, dict[int, Issue]] = {}
        self._living: Counter[str] = Counter()  # how many issues of a submission have not ended
        self.untidy: set[str] = set()  # ended submissions whose files a move still needs
        self.outdated: set[str] = set()  # submissions of another jobTree, which were told of
        self.moves: dict[int, str] = {}  # job -> the issue whose outputs are to be moved
        self.outages: dict[str, float] = {}  # silent batch system -> when to say so

        self.ready = ReadyQueue(store)
        self.launches = Launches()
        self.in_use = InUse()
        self.nodes = NodeHealth(self.policy.cool_down_s)
        self.submissions = 0  # how many this master has made
        self.largest_pack = 1  # of those made last
        self.ahead_at = 0.0  # when to look again for packs that may wait in the scheduler's queue
        self.recall_at = 0.0  # when to look again for packs to be recalled

        # of the batch system that new jobs go to
        self.overhead, self.slot_estimate = JobOverhead(), SlotEstimate()
        self.siblings = SiblingEstimates()
        self.measured: dict[str, Measured] = {  # class -> what its steps took
            label: Measured(mean, count) for label, count, mean in store.classes()
        }
        self.uneven: set[str] = set()  # classes of which some steps took far longer than most

    @property
    def system(self) -> BatchSystem:
        """The batch system new jobs go to."""
        return self.systems[self.settings.batch_system]

    def is_measured(self, issue: Issue) -> bool:
        """Tell whether an issue shows what later ones will cost: not on this machine."""
        return issue.batch_system == self.settings.batch_system and not self.system.here

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

    # -- issues -----------------------------------------------------------------------------------

    def add_issue(self, issue: Issue) -> None:
        """Take an issue in."""
        self.issues[issue.name] = issue
        self._submissions.setdefault(issue.submission, {})[issue.task] = issue
        self._living[issue.submission] += issue.state != State.ENDED
        self.in_use.add(issue)

    def change_state(self, issue: Issue, state: State) -> None:
        """Let an issue be in another state from now on."""
        self.in_use.remove(issue)
        issue.state, issue.since = state, self.clock.now()
        self.in_use.add(issue)

    def set_handle(self, issue: Issue, handle: int) -> None:
        """Note the handle by which the batch system's adapter knows an issue."""
        issue.handle = handle
        self._by_handle[issue.batch_system, handle] = issue

    def issue_of(self, batch_system: str, handle: int) -> Issue | None:
        """Return the issue of a handle, unless it has ended."""
        issue = self._by_handle.get((batch_system, handle))
        return None if issue is None or issue.state == State.ENDED else issue

    def living_issues(self, batch_system: str = "") -> list[Issue]:
        """Return the issues that have not ended, of one batch system or of all."""
        return [
            issue
            for issue in self.issues.values()
            if issue.state != State.ENDED and batch_system in ("", issue.batch_system)
        ]

    def submission_of(self, submission: str) -> list[Issue]:
        """Return the issues of one submission not yet forgotten."""
        return list(self._submissions.get(submission, {}).values())

    def note_ended(self, issue: Issue) -> bool:
        """Forget an ended issue's handle; True if it was its submission's last."""
        self._by_handle.pop((issue.batch_system, issue.handle), None)
        self._living[issue.submission] -= 1
        return not self._living[issue.submission]

    def forget(self, issue: Issue) -> None:
        """Drop an issue whose files go too."""
        del self.issues[issue.name]
        self.in_use.remove(issue)
        self._submissions.pop(issue.submission, None)
        self._living.pop(issue.submission, None)
        self.store.remove_issue(issue.submission, issue.task)

    def next_submission(self, label: str) -> str:
        """Return the next submission's name, which no other of any tree has."""
        self.submissions += 1
        return submission_name(label, self.tree_name, self.tree_id, self.epoch, self.submissions)

    # -- effects ----------------------------------------------------------------------------------

    def tell_worker(self, issue: Issue, word: str = Fence.STOP) -> None:
        """Tell an issue's worker something, after the next commit."""
        self.effects.append(partial(self.mailbox.fence, issue.name, word))

    def kill_in_queue(self, issue: Issue) -> None:
        """Ask the batch system to end an issue, after the next commit."""
        if issue.handle:
            system = self.systems[issue.batch_system]
            self.effects.append(partial(system.killJobs, [issue.handle]))

    def pop_effects(self) -> list[Callable[[], None]]:
        """Return what is to be carried out now."""
        effects, self.effects = self.effects, []
        return effects

    def begin_move(self, job: Job, issue: str, line: str) -> None:
        """Note that a job waits for its outputs to be moved; `line` is its Done line."""
        self.moves[job.id] = issue
        self.store.put_move(job.id, job.attempt, issue, line)

    def end_move(self, job_id: int) -> None:
        """Note that a job's outputs were moved, or cannot be."""
        self.moves.pop(job_id, None)
        self.store.remove_move(job_id)

    def pop_unused_bundles(self) -> list[str]:
        """Return the bundles no job needs any more, to be removed now.

        Those a worker may still add to are removed with the other files of its submission. To be
        called after a commit.
        """
        unused, self.store.unused_bundles = self.store.unused_bundles, []
        return [n for n in unused if n not in self.issues and not self.store.needs_bundle(n)]

    # -- jobs -------------------------------------------------------------------------------------

    def apply(
        self, job: Job, event: job_states.Event, children: Iterable[Command] | None = None
    ) -> Job:
        """Carry an event through the tree, up to the ancestors it finishes."""
        transition = job_states.step(job, event, self.budgets)
        self._replace(job, transition.job)
        if transition.births and children is not None:
            ids = self.store.new_ids(transition.births)
            born = (
                job_states.first_job(number, job.id, command, self.budgets)
                for number, command in zip(ids, children, strict=True)
            )
            first = self.store.add(born)
            for child in first:
                self.ready.push(child)
            if len(first) < transition.births:
                self.ready.spill()
        dead = transition.job
        while dead.colour == Colour.DEAD and dead.parent:
            parent = self.store.get(dead.parent)
            assert parent is not None, f"job {dead.id} outlived its parent {dead.parent}"
            dead = job_states.step(parent, job_states.ChildFinished(), self.budgets).job
            self._replace(parent, dead)
        return transition.job

    def _replace(self, old: Job, new: Job) -> None:
        self.store.put(old, new)
        if new.colour == Colour.WHITE and old.colour != Colour.WHITE:
            self.ready.push(new)
        elif new.colour == Colour.DEAD and new.has_directory:
            self.effects.append(partial(self.mailbox.remove_job_directory, new.id))

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
