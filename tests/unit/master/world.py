"""A run over a real store, with a batch system and a mailbox that do as a test says. No process.

Owns the run, what was submitted and what workers are said to have written; must not check
anything. Read next: test_dispatch.py, test_issue_events.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from batchsystems.interface import Accepted, Capacity, JobEnd, JobSpec, Reason, Resources
from jobtree import options
from jobtree.core.job import Colour, Command, CommandKind, Job, Requirements
from jobtree.core.job_states import Budgets, first_job
from jobtree.core.packing import Measured
from jobtree.mailbox.claims import Fence
from jobtree.mailbox.orders import Assignment, Terms
from jobtree.mailbox.results import Done, End, Failed, Hello, LogRange, ResultLine, Start, Usage
from jobtree.master import issue_events
from jobtree.master.dispatch import issue_ready
from jobtree.master.issue import Issue
from jobtree.master.run_state import RunState
from jobtree.store.store import Store
from tests.unit.master.runs import NOW, Clock

RETRIES, RESCUES = 2, 3
NEEDS = Requirements(memory_bytes=2**30, cpus=1, gpus=0, time_s=60.0)
UNTIMED = NEEDS._replace(time_s=None)
HELLO = Hello("n1.cluster", 1, "0" * 16, 0.0, "")
FENCED = Fence.STOP

BACK = (Colour.WHITE, RETRIES, RESCUES)
RESCUED = (Colour.WHITE, RETRIES, RESCUES - 1)
RETRIED = (Colour.WHITE, RETRIES - 1, RESCUES)


class Scheduler:
    """Notes what it is asked to submit and to kill."""

    here = False

    def __init__(self, slots: int | None) -> None:
        self.slots, self.told = slots, True
        self.largest = Resources(cpus=2**31)
        self.submitted: list[list[JobSpec]] = []
        self.killed: list[int] = []
        self.excluded: list[str] = []

    def capacity(self) -> Capacity:
        return Capacity(self.slots, self.largest, self.told)

    def issueJobs(self, specs: Sequence[JobSpec]) -> list[int]:
        before = sum(map(len, self.submitted))
        self.submitted.append(list(specs))
        return [before + number + 1 for number in range(len(specs))]

    def killJobs(self, handles: Sequence[int]) -> None:
        self.killed += handles

    def exclude(self, nodes: Sequence[str]) -> None:
        self.excluded = list(nodes)


class Mailbox:
    """What workers have written, by issue, and what the master wrote."""

    def __init__(self) -> None:
        self.bell = SimpleNamespace(address=None)
        self.written: dict[str, list[ResultLine]] = {}
        self.seen: dict[str, list[ResultLine]] = {}
        self.replaced = False
        self.worker_log = self.launch_log = self.damaged = ""
        self.orders: list[tuple[Terms, list[list[Assignment]]]] = []
        self.fences: list[tuple[str, str]] = []
        self.tidied: list[str] = []
        self.forgotten: list[str] = []

    def read(self, issue: str, final: bool = False) -> list[ResultLine]:
        lines = self.written.pop(issue, [])
        self.seen.setdefault(issue, []).extend(lines)
        return lines

    def _last(self, issue: str, kind: Any) -> Any:
        lines = [line for line in self.seen.get(issue, []) if isinstance(line, kind)]
        return lines[-1] if lines else None

    def hello(self, issue: str) -> Hello | None:
        found: Hello | None = self._last(issue, Hello)
        return found

    def running(self, issue: str) -> Start | None:
        last = self._last(issue, (Start, Done, Failed, End))
        return last if isinstance(last, Start) else None

    def is_of_another(self, submission: str, program: str) -> bool:
        terms = next(terms for terms, _ in self.orders if terms.submission == submission)
        return self.replaced or terms.program != program

    def damage(self, issue: str) -> str:
        return self.damaged

    def worker_tail(self, issue: str) -> str:
        return self.worker_log

    def launch_tail(self, submission: str) -> str:
        return self.launch_log

    def failure_tail(self, job: int, step: int, attempt: int) -> str:
        return ""

    def post(self, terms: Terms, packs: list[list[Assignment]]) -> None:
        self.orders.append((terms, packs))

    def fence(self, issue: str, word: str) -> None:
        self.fences.append((issue, word))

    def tidy(self, submission: str, issues: Iterable[str]) -> None:
        self.tidied.append(submission)

    def forget_bundles(self, names: Iterable[str]) -> None:
        self.forgotten += names

    def remove_local(self, hello: Hello) -> None:
        pass

    def remove_job_directory(self, job: int) -> None:
        pass

    def move(self, source: str, destination: str) -> None:
        pass


class World:
    """A run of a blue root and the white jobs below it, whose ids begin with 2."""

    def __init__(self, run: RunState, scheduler: Scheduler, mailbox: Mailbox, clock: Clock) -> None:
        self.run, self.scheduler, self.mailbox, self.clock = run, scheduler, mailbox, clock

    def job(self, number: int) -> Job:
        found = self.run.store.get(number)
        assert found is not None, f"job {number} is finished"
        return found

    def colours(self) -> dict[int, Colour]:
        return {job.id: job.colour for job in map(self.run.store.get, self.ids) if job is not None}

    @property
    def ids(self) -> range:
        return range(2, self.run.store.new_ids(0).start)

    def set(self, **settings: Any) -> None:
        self.run.settings = self.run.settings._replace(**settings)

    def commit(self) -> None:
        self.run.store.commit()
        self.run.ready.committed()

    def act(self) -> None:
        """Carry out what was decided, as the loop does."""
        self.commit()
        for effect in self.run.pop_effects():
            effect()
        self.commit()

    def turn(self) -> list[Issue]:
        """Issue what may be; return the issues made."""
        before = set(self.run.issues)
        issue_ready(self.run)
        self.act()
        return [issue for name, issue in self.run.issues.items() if name not in before]

    def writes(self, issue: Issue, *lines: ResultLine) -> None:
        """Have an issue's worker write these lines, and the master read them."""
        self.mailbox.written[issue.name] = list(lines)
        issue_events.read_results(self.run, issue)
        self.act()

    def ends(self, issue: Issue, reason: Reason, **known: Any) -> None:
        """Have the batch system say that an issue ended."""
        self.hears(issue, JobEnd(reason, **known))

    def hears(self, issue: Issue, update: Any) -> None:
        issue_events.on_update(self.run, issue, update)
        self.act()

    def history(self, job: int) -> list[tuple[str, str]]:
        return [(entry.event, entry.why or "") for entry in self.run.store.history(job)]

    def start(self, number: int) -> Start:
        job = self.job(number)
        return Start(number, job.attempt, job.step, 0.0)

    def done(self, number: int, **changes: Any) -> Done:
        job = self.job(number)
        line = Done(
            job=number, attempt=job.attempt, step=job.step, usage=Usage(2.0, 1.0, None),
            child_count=0, children=[], children_at=-1, follow_on=None, goes_on=False, messages=[],
            publish=[], log=LogRange(0, 0), has_directory=False, said="",
        )  # fmt: skip
        return line._replace(**changes)


@contextmanager
def world(
    directory: Path, *needs: Requirements, slots: int | None = 100, **settings: Any
) -> Iterator[World]:
    """Make a run with one white job for each of these needs."""
    budgets = Budgets(RETRIES, RESCUES)
    root = first_job(1, 0, command(NEEDS), budgets)
    root = root._replace(colour=Colour.BLUE, child_count=len(needs), stack=())
    store = Store.create(f"{directory}/tree.db", root, {"started": NOW, "options": "{}"})
    for number, each in zip(store.new_ids(len(needs)), needs, strict=True):
        store.add([first_job(number, 1, command(each), budgets)])
    store.commit()
    given, _ = options.settings_in_force({})
    given = given._replace(
        batch_system="fake", retries=RETRIES, rescues=RESCUES, **{"job_time_s": 600.0, **settings}
    )
    scheduler, mailbox, clock = Scheduler(slots), Mailbox(), Clock()
    systems: Any = {"fake": scheduler}
    faked: Any = mailbox
    run = RunState(str(directory), store, faked, given, 3, clock, systems)
    try:
        yield World(run, scheduler, mailbox, clock)
    finally:
        store.close()


def command(needs: Requirements, label: str = "Sort") -> Command:
    return Command(CommandKind.SHELL, label, "sort", needs)


def one_pack(it: World, jobs: int) -> Issue:
    """Issue so many jobs as one pack, and have it accepted."""
    it.run.measured["Sort"] = Measured(0.001, 1000)
    (issue,) = it.turn()
    assert len(issue.open) == jobs
    it.hears(issue, Accepted("4711"))
    return issue


def budgets(it: World, number: int) -> tuple[Colour, int, int]:
    job = it.job(number)
    return job.colour, job.retries, job.rescues
