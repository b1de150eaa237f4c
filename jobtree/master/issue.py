"""One batch job, or one task of an array, as the master knows it.

Owns what is known of it and how news changes that; decides nothing. Read next: run_state.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import InitVar, dataclass, field

from jobtree.core.issue_states import State
from jobtree.core.job import Job, Requirements
from jobtree.core.rescue import Policy, silent_too_long
from jobtree.mailbox.layout import issue_name
from jobtree.mailbox.results import Start
from jobtree.store.rows import StoredIssue


@dataclass(slots=True, eq=False, repr=False)
class Issue:
    """One live batch job and its pack. Times are by the master's own clock, but for `submitted`."""

    submission: str
    task: int
    batch_system: str
    granted: Requirements  # what was asked for
    pack: InitVar[Iterable[tuple[int, int, int]]]  # (job, attempt, step) each
    submitted: float  # epoch seconds
    issued_at: float  # or when this master took it over
    state: State = State.SUBMITTING
    adopted: bool = False  # an earlier master issued it
    native: str = ""  # the scheduler's own id
    killed_for: str = ""  # why it was killed, or given up
    handle: int = 0  # the adapter's; 0 before there is one
    node: str = ""
    name: str = field(init=False)  # what its files are called by
    open: dict[int, tuple[int, int]] = field(init=False)  # job -> (attempt, step) still to come
    since: float = field(init=False)  # when it came into its state
    started_at: float | None = None  # when its worker was first heard of
    progress_at: float = field(init=False)  # when its last step ended
    worked_s: float = 0.0  # what its steps took
    absences: int = 0  # complete answers in a row that did not list it
    kill_sent: bool = False  # it stayed in the queue after its results, so its end was asked for
    node_ok: bool | None = None  # what it says of its node; None: nothing
    launch_error: str | None = None  # what was said as its launch failed; None: it did not fail
    beat: int = -1  # its worker's last heartbeat; -1: none was read
    beat_at: float = field(init=False)
    ran_at_beat_s: float | None = None  # how long it had run by then, by the batch system
    silent: bool = False  # it was for too long when last looked at
    step_seen: tuple[object, float] = (None, 0.0)  # the step that runs, and since when it was seen
    recalled_at: float | None = None  # since when its worker is to hand back what it has not begun
    recalls: int = 0
    recall_parts: int = 0  # of how many equal parts its worker is to keep one; 0: none

    def __post_init__(self, pack: Iterable[tuple[int, int, int]]) -> None:
        self.name = issue_name(self.submission, self.task)
        self.open = {job: (attempt, step) for job, attempt, step in pack}
        self.since = self.beat_at = self.progress_at = self.issued_at

    @property
    def occupies(self) -> bool:
        """Whether user's work of it may still run."""
        return self.state not in (State.PUBLISHED, State.ENDED)

    def drop(self, job_id: int) -> None:
        """Expect nothing more of a job."""
        self.open.pop(job_id, None)

    def expect(self, job: Job) -> None:
        """Expect the next step of a job that goes on."""
        self.open[job.id] = job.attempt, job.step

    def note_kill(self, why: str) -> None:
        """Note why it is killed or given up; the first reason stands."""
        self.killed_for = self.killed_for or why

    def claimed(self, node: str, now: float) -> None:
        """Note that a worker has begun it."""
        self.node, self.started_at, self.progress_at = node, now, now

    def step_done(self, wall_s: float, now: float) -> None:
        """Note that a step succeeded, which speaks for its node if nothing speaks against it."""
        self.node_ok = self.node_ok is not False
        self.progress_at = now
        self.worked_s += wall_s

    def listed(self, present: bool) -> None:
        """Note whether a complete answer of the batch system lists it."""
        self.absences = 0 if present else self.absences + 1

    def step_runs_s(self, start: Start, now: float, running_s: float | None) -> float:
        """Return how long the step that `start` begins has run; running_s: see heard_beat()."""
        step = (start.job, start.attempt, start.step)
        if self.step_seen[0] != step:
            self.step_seen = step, now
        return now - self.step_seen[1] if running_s is None else running_s - start.at_s

    def heard_beat(self, beat: int | None, now: float, running_s: float | None) -> bool:
        """Take in a heartbeat; tell whether it is a new one.

        running_s: how long it has run, by the batch system, if that is known.
        """
        if beat == self.beat:
            return False
        self.beat, self.beat_at = -1 if beat is None else beat, now
        self.ran_at_beat_s, self.silent = running_s, False
        return True

    def silent_s(self, now: float, running_s: float | None) -> float:
        """Return for how long its heartbeat has not changed while it ran."""
        silent_s = now - self.beat_at
        if running_s is not None and self.ran_at_beat_s is not None:
            silent_s = min(silent_s, running_s - self.ran_at_beat_s)
        return silent_s

    def silent_twice(self, silent_s: float, policy: Policy) -> bool:
        """Tell whether it is silent for too long, and was when it was last looked at.

        What has stalled this master for that long, as a file server does that is away, has stalled
        its workers, too: they have until the next look to be heard.
        """
        before, self.silent = self.silent, silent_too_long(silent_s, policy)
        return before and self.silent

    def recall(self, parts: int, now: float) -> None:
        """Note that its worker is told to keep one of so many parts of what it has not begun."""
        self.recalled_at, self.recalls, self.recall_parts = now, self.recalls + 1, parts

    def stored(self) -> StoredIssue:
        """Return what is kept of it across masters."""
        return StoredIssue(
            submission=self.submission,
            task=self.task,
            state=int(self.state),
            native=self.native,
            batch_system=self.batch_system,
            submitted=self.submitted,
            granted=self.granted,
            pack=tuple((job, *at) for job, at in self.open.items()),
            killed_for=self.killed_for,
        )


def issue_of(stored: StoredIssue, pack: Iterable[tuple[int, int, int]], now: float) -> Issue:
    """Return an issue of an earlier master, of which this much is still to come."""
    return Issue(
        submission=stored.submission,
        task=stored.task,
        batch_system=stored.batch_system,
        granted=stored.granted,
        pack=pack,
        submitted=stored.submitted,
        issued_at=now,
        state=State(stored.state),
        adopted=True,
        native=stored.native,
        killed_for=stored.killed_for,
    )
