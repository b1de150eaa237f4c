"""The judge of a history: were the promises of DESIGN section 10 kept?

Owns the promises, said anew: shares no code with the tree, the store or the master, and reads
nothing but the recorded events. Read next: test_checker.py, the histories it must reject.

Rows of jobs: (id, parent, colour, attempt, step, child_count, black_child_count, retries,
rescues). Rows of the tree's own history: (job, step, attempt, event, issue).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tests.simulation.world import Event

WHITE, GREY, BLUE, BLACK, RED = range(5)
ISSUE_KILLING, ISSUE_ENDED = 6, 7
ALWAYS = 10**6

Data = dict[str, Any]


class Row(NamedTuple):
    """A job as it was committed."""

    id: int
    parent: int
    colour: int
    attempt: int
    step: int
    child_count: int
    black_child_count: int
    retries: int
    rescues: int


class Violation(NamedTuple):
    """A broken promise. promise: P1 to P7, or the name of an invariant."""

    at: float
    promise: str
    what: str


def check(history: Iterable[Event]) -> list[Violation]:
    """Return every broken promise of a history, oldest first."""
    judge = Judge()
    for event in history:
        judge.hear(event)
    return judge.violations


class Judge:
    """What is known of a run so far, and what was wrong with it."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.now = 0.0
        self.epoch = 0
        self.retries = 0
        self.steps: dict[int, tuple[int, bool, list[int], int, bool, int]] = {}
        # what workers did
        self.node_of: dict[tuple[str, int, int, int], int] = {}
        self.finished: dict[tuple[str, int, int, int], Data] = {}
        self.done_by_worker: dict[tuple[str, int], set[int]] = {}
        self.holder: dict[str, str] = {}
        self.late_claims: set[str] = set()
        self.returned: set[tuple[str, int]] = set()
        # what was to be seen of their results
        self.visible: dict[tuple[str, int, int, int], float] = {}
        self.hello: set[str] = set()
        self.unsynced: dict[str, set[tuple[int, int, int]]] = {}
        self.synced: set[tuple[str, int, int, int]] = set()
        # what masters did
        self.issue_of: dict[tuple[int, int], str] = {}
        self.last_ordered: dict[int, int] = {}
        self.withdrawn: set[str] = set()
        self.fenced: set[str] = set()
        self.recalled: set[str] = set()
        self.not_adopted: set[str] = set()
        self.end_told: set[str] = set()
        self.intents: set[str] = set()
        # what was committed
        self.jobs: dict[int, Row] = {}
        self.rows_by_epoch: dict[int, dict[int, Row]] = {}
        self.gone_jobs: set[int] = set()
        self.born: dict[int, int] = {}
        self.dead_children: dict[int, int] = {}
        self.history: list[tuple[int, int, int, str, str]] = []
        self.done: dict[tuple[int, int], tuple[int, str]] = {}
        self.done_count: dict[int, int] = {}
        self.adopted: dict[int, tuple[int, int, int]] = {}
        self.adopted_of_job: dict[int, list[int]] = {}
        self.lost_of: dict[str, set[int]] = {}
        self.moved: dict[tuple[int, int, int], int] = {}
        self.move_failed: set[tuple[int, int, int]] = set()
        self.late_directories: set[int] = set()
        self.late_files: set[str] = set()
        self.unkempt: set[str] = set()
        self.run_over = False
        self.to_kill: dict[str, bool] = {}
        self._hearers: dict[str, Callable[[Data], None]] = {
            "plan": self._plan,
            "master": self._master,
            "order": self._order,
            "withdrawn": self._withdraw,
            "submitted": self._submitted,
            "fence": self._fence,
            "kill asked": self._acts,
            "claim": self._claim,
            "gone": self._gone,
            "started": self._started,
            "finished": self._finished,
            "returned": self._returned,
            "visible": self._visible,
            "pickle lost": self._pickle_lost,
            "directory": self._directory,
            "end told": self._end_told,
            "finished run": self._finished_run,
            "not adopted": self._not_adopted,
            "late file": self._late_file,
            "unswept": self._unswept,
            "commit": self._commit,
            "moved": self._moved,
            "move failed": self._move_failed,
            "stuck": self._stuck,
            "end": self._end,
        }

    def hear(self, event: Event) -> None:
        """Take in one event."""
        self.now = event.at
        hearer = self._hearers.get(event.kind)
        if hearer is not None:
            hearer(event.data)

    def _must(self, holds: bool, promise: str, what: str, about: object = "") -> None:
        if not holds:
            told = f"{what}: {about}" if about else what
            self.violations.append(Violation(self.now, promise, told))

    # The plan, and who acts.

    def _plan(self, data: Data) -> None:
        self.retries, self.steps = data["retries"], data["steps"]

    def _master(self, data: Data) -> None:
        self._must(data["epoch"] > self.epoch, "epoch", f"epoch {data['epoch']} is not new")
        self.epoch = data["epoch"]

    def _acts(self, data: Data) -> None:
        self._must(
            data["epoch"] == self.epoch,
            "P5",
            f"the master of epoch {data['epoch']} acts, though {self.epoch} has the tree: {data}",
        )

    def _end_told(self, data: Data) -> None:
        self.end_told.add(data["issue"])

    def _finished_run(self, data: Data) -> None:
        self.run_over = True

    def _late_file(self, data: Data) -> None:
        """A worker given up long ago wakes up after the run: nobody is left to tidy after it."""
        self.unkempt.add(data["path"])
        if self.run_over:
            self.late_files.add(data["path"])

    def _unswept(self, data: Data) -> None:
        """At its end a run has left only what workers made that were given up long before."""
        needed = {f"bundles/{name}" for name in data["needed"]}
        left = [p for p in data["bundles"] if p not in needed | self.unkempt]
        self._must(not left, "files", f"unneeded until the last sweep: {left}")
        left = [j for j in data["directories"] if j not in self.late_directories]
        self._must(not left, "files", f"directories unneeded until the last sweep: {left}")

    def _not_adopted(self, data: Data) -> None:
        self.not_adopted.add(data["issue"])

    def _stuck(self, data: Data) -> None:
        self._must(False, "P6", "the run does not end, though faults have stopped")

    # Orders, submissions, fences.

    def _order(self, data: Data) -> None:
        self._acts(data)
        for task, pack in enumerate(data["packs"]):
            issue = f"{data['submission']}.{task}"
            self._must(issue in self.intents, "P1", f"{issue} is ordered before it is committed")
            for job, attempt, step in pack:
                self._order_job(issue, job, attempt, step)

    def _order_job(self, issue: str, job: int, attempt: int, step: int) -> None:
        row = self.jobs.get(job)
        what = f"job {job} attempt {attempt} step {step} in {issue}"
        before = self.last_ordered.get(job, 0)
        self._must(attempt > before, "attempts grow", f"{what}: {before} was ordered before")
        self.last_ordered[job] = max(before, attempt)
        self._must((job, attempt) not in self.issue_of, "P4", f"{what}: ordered twice")
        known = row is not None and (row.colour, row.attempt, row.step) == (GREY, attempt, step)
        self._must(known, "P1", f"{what} is ordered, but {row} is committed")
        self._must(
            self.done_count.get(job, 0) <= step, "P5", f"{what}: a finished step is ordered again"
        )
        if before:
            self._check_given_up(job, before, what)
        self.issue_of[job, attempt] = issue

    def _check_given_up(self, job: int, attempt: int, what: str) -> None:
        """The attempt before must be over, fenced off, recalled, or without its order."""
        issue = self.issue_of[job, attempt]
        ok = (
            issue in self.recalled
            or issue in self.end_told
            or issue.rpartition(".")[0] in self.withdrawn
            or (issue, job) in self.returned
            or any(
                key[:3] == (issue, job, attempt) and not what_["goes_on"] and what_["own"]
                for key, what_ in self.finished.items()
            )
        )
        self._must(ok, "P4", f"{what}: {issue} before it was neither fenced nor known to be over")

    def _withdraw(self, data: Data) -> None:
        self._acts(data)
        self.withdrawn.add(data["submission"])

    def _submitted(self, data: Data) -> None:
        self._acts(data)
        issue = f"{data['submission']}.{data['index']}"
        self._must(issue in self.intents, "P1", f"{issue} is submitted before it is committed")

    def _fence(self, data: Data) -> None:
        self._acts(data)
        if data["word"] == "stop":
            self.fenced.add(data["issue"])
        self.recalled.add(data["issue"])

    # Workers.

    def _claim(self, data: Data) -> None:
        if not data["won"]:
            return
        issue, worker = data["issue"], data["worker"]
        if issue.rpartition(".")[0] in self.withdrawn:
            self.late_claims.add(worker)  # it may look once more, and leave; it must run nothing
            return
        holder = self.holder.get(issue)
        self._must(holder is None, "P4", f"{worker} claims {issue}, which {holder} holds")
        self.holder[issue] = worker

    def _gone(self, data: Data) -> None:
        if self.holder.get(data["issue"]) == data["worker"]:
            del self.holder[data["issue"]]

    def _started(self, data: Data) -> None:
        worker, issue, node, job = data["worker"], data["issue"], data["node"], data["job"]
        self.node_of[issue, job, data["attempt"], data["step"]] = node
        self._must(
            worker not in self.late_claims,
            "P4",
            f"{worker} runs a step of {issue}, whose order was withdrawn before its claim",
        )
        here = self.done_by_worker.setdefault((worker, job), set())
        for needed in self._needed(node):
            settled = needed in here or self._is_settled(needed)
            self._must(
                settled, "P2", f"step {node} starts in {issue} before step {needed} is adopted"
            )

    def _needed(self, node: int) -> list[int]:
        """Return the steps that must be adopted before this one starts."""
        parent, is_follow_on, *_ = self.steps[node]
        if not parent:
            return []
        if not is_follow_on:
            return [parent]
        needed, below = [parent], list(self.steps[parent][2])
        while below:
            step = below.pop()
            needed.append(step)
            _, _, children, follow_on, _, _ = self.steps[step]
            below += children
            if follow_on:
                below.append(follow_on)
        return needed

    def _is_settled(self, node: int) -> bool:
        found = self.adopted.get(node)
        return found is not None and (not self.steps[node][4] or found in self.moved)

    def _finished(self, data: Data) -> None:
        key = (data["issue"], data["job"], data["attempt"], data["step"])
        self.finished[key] = data
        if data["ok"]:
            self.done_by_worker.setdefault((data["worker"], data["job"]), set()).add(data["node"])

    def _returned(self, data: Data) -> None:
        self.returned |= {(data["issue"], job) for job in data["jobs"]}

    def _visible(self, data: Data) -> None:
        issue, line = data["issue"], data["line"]
        which = (data["job"], data["attempt"], data["step"])
        if line == "hello":
            self.hello.add(issue)
        elif line == "synced":
            self.synced |= {(issue, *held) for held in self.unsynced.pop(issue, set())}
        elif line == "done":
            if data["whole"]:  # else its children were still on their way: not to be believed
                self.visible[issue, *which] = self.now
            self.unsynced.setdefault(issue, set()).add(which)

    def _pickle_lost(self, data: Data) -> None:
        row = self.jobs.get(data["job"])
        current = row is not None and row.colour == GREY and row.attempt == data["attempt"]
        self._must(not current, "P1", f"a pickle that is needed is gone: {data}")

    def _directory(self, data: Data) -> None:
        row = self.jobs.get(data["job"])
        if row is None or row.attempt != data["attempt"] or row.colour != GREY:
            self.late_directories.add(data["job"])

    # Commits.

    def _commit(self, data: Data) -> None:
        self.intents |= set(data["issues"])
        if data["void"]:
            return
        self._check_kills(data)
        before = dict(self.jobs)
        for job, row in data["jobs"].items():
            self._take_row(job, Row(*row))
        charged: dict[int, dict[str, int]] = {}
        adopted_now: set[int] = set()
        for job, step, attempt, word, issue in data["rows"]:
            self.history.append((job, step, attempt, word, issue))
            charges = charged.setdefault(job, {"done": 0, "failed": 0, "lost": 0})
            charges[word] += 1
            if word == "done":
                adopted_now.add(job)
                self._take_done(job, step, attempt, issue, data)
            elif word == "failed":
                self._take_failed(job, step, attempt, issue)
            else:
                self._take_lost(job, issue)
        for job in data["removed"]:
            old = self.jobs.pop(job)
            self.gone_jobs.add(job)
            self.dead_children[old.parent] = self.dead_children.get(old.parent, 0) + 1
        touched = dict.fromkeys([*data["jobs"], *charged])
        touched |= dict.fromkeys(before[job].parent for job in data["removed"])
        for job in touched:
            now = self.jobs.get(job)
            if now is None:
                continue
            self._check_row(now)
            charges = charged.get(job, {"done": 0, "failed": 0, "lost": 0})
            if job in before:
                self._check_change(before[job], now, charges, data["began"])

    def _check_kills(self, data: Data) -> None:
        """What was to be killed is given up only once it was fenced, or known to have ended."""
        over = [i for i, state in data["issues"].items() if state == ISSUE_ENDED]
        for issue in (*over, *data["forgotten"]):
            if self.to_kill.pop(issue, False):
                told = issue in self.fenced | self.end_told | self.not_adopted
                self._must(told, "P7", f"{issue} was to be killed; it was never fenced")
        for issue, state in data["issues"].items():
            self.to_kill[issue] = state == ISSUE_KILLING

    def _take_row(self, job: int, row: Row) -> None:
        if job not in self.jobs:
            self._must(job not in self.gone_jobs, "P2", f"job {job} lives again")
            self.born[row.parent] = self.born.get(row.parent, 0) + 1
        self.jobs[job] = row

    def _take_done(self, job: int, step: int, attempt: int, issue: str, data: Data) -> None:
        key = (issue, job, attempt, step)
        what = f"job {job} step {step} attempt {attempt} of {issue}"
        told = self.finished.get(key)
        self._must(told is not None and told["ok"], "P3", f"{what} adopted; no worker finished it")
        self._must((job, step) not in self.done, "P2", f"{what} adopted: already adopted")
        over = data["issues"].get(issue) == ISSUE_ENDED or issue in data["forgotten"]
        self._must(
            key in self.synced or over, "P1", f"{what} adopted before it was on disk, worker alive"
        )
        self._must(
            self.issue_of.get((job, attempt)) == issue, "P2", f"{what} adopted: not its attempt"
        )
        node = self.node_of.get(key, 0)
        self._must(node not in self.adopted, "P2", f"step {node} adopted twice: {what}")
        self.done[job, step] = (attempt, issue)
        self.done_count[job] = self.done_count.get(job, 0) + 1
        self.adopted[node] = (job, attempt, step)
        self.adopted_of_job.setdefault(job, []).append(node)

    def _take_failed(self, job: int, step: int, attempt: int, issue: str) -> None:
        which = (job, attempt, step)
        if which in self.move_failed:
            self.move_failed.discard(which)
            node = self.adopted_of_job[job].pop()
            self.adopted.pop(node)
            self.done.pop((job, step))
            self.done_count[job] -= 1
            return
        told = self.finished.get((issue, job, attempt, step))
        own = told is not None and not told["ok"] and told["own"]
        self._must(
            own, "charges", f"the user pays for job {job} step {step} attempt {attempt} of {issue}"
        )

    def _take_lost(self, job: int, issue: str) -> None:
        if issue in self.hello:
            paying = self.lost_of.setdefault(issue, set())
            paying.add(job)
            self._must(len(paying) == 1, "charges", f"pack-mates {sorted(paying)} pay for {issue}")

    def _check_change(self, old: Row, new: Row, charges: dict[str, int], began: float) -> None:
        both = (old, new)
        self._must(new.attempt >= old.attempt, "attempts grow", "an attempt shrank", both)
        self._must(new.step >= old.step, "P1", "a step is lost", both)
        paid = old.retries - new.retries
        self._must(paid <= charges["failed"], "charges", "retries paid without a failure", both)
        paid = old.rescues - new.rescues
        self._must(paid <= charges["lost"], "charges", "rescues paid without a loss", both)
        if new.colour == RED and old.colour != RED:
            fair = charges["failed"] > 0 and (
                charges["failed"] > old.retries
                or (charges["done"] and charges["failed"] > self.retries)
            )
            self._must(bool(fair), "charges", "failed for good with retries left", both)
        given_up = old.colour == GREY and (new.colour != GREY or new.attempt != old.attempt)
        if given_up and new.step == old.step and not charges["done"]:
            issue = self.issue_of.get((old.id, old.attempt), "")
            seen = self.visible.get((issue, old.id, old.attempt, old.step))
            self._must(
                seen is None or seen >= began,
                "P1",
                f"an attempt of {issue} was given up with its result unread",
                old,
            )

    def _check_row(self, row: Row) -> None:
        born, dead = self.born.get(row.id, 0), self.dead_children.get(row.id, 0)
        self._must(row.child_count == born, "counts", "children born are not those counted", row)
        self._must(row.black_child_count == dead, "counts", "finished children miscounted", row)
        waits = row.black_child_count < row.child_count
        self._must(waits == (row.colour == BLUE), "counts", "the colour is wrong", row)
        nodes = self.adopted_of_job.get(row.id, [])
        moving = row.colour == BLACK
        self._must(row.step == len(nodes) - moving, "P2", "not as many steps as adopted", row)
        if moving:
            nodes = nodes[:-1]
        due = sum(
            len(self.steps[node][2]) for node in nodes if node and len(self.steps[node][2]) > 1
        )
        self._must(row.child_count == due, "P2", "not the children of its adopted steps", row)

    # Moves.

    def _moved(self, data: Data) -> None:
        self._acts(data)
        which = (data["job"], data["attempt"], data["step"])
        found = self.done.get((data["job"], data["step"]))
        self._must(
            found is not None and found[0] == data["attempt"],
            "P2",
            f"the output of job {which[0]} attempt {which[1]} is moved; adopted: {found}",
        )
        self.moved[which] = self.moved.get(which, 0) + 1

    def _move_failed(self, data: Data) -> None:
        self.move_failed.add((data["job"], data["attempt"], data["step"]))

    # The end.

    def _end(self, data: Data) -> None:
        rows = [tuple(row) for row in data["rows"]]
        self._must(rows == self.history, "P1", "the tree's history is not what was committed")
        kept = {row[0]: Row(*row) for row in data["jobs"]}
        self._must(kept == self.jobs, "P1", "the tree's jobs are not what was committed")
        self._must(data["done"] == len(self.gone_jobs), "counts", f"{data['done']} jobs done")
        reds = [job for job, row in kept.items() if row.colour == RED]
        for row in kept.values():
            fine = row.colour == RED or (row.colour == BLUE and reds)
            self._must(bool(fine), "P6", f"the run ended with {row}")
        if not reds:
            missing = [node for node in self.steps if not self._is_settled(node)]
            self._must(not missing, "P1", f"the run ended well, but {missing} were never adopted")
        for node, which in self.adopted.items():
            if node and self.steps[node][4]:
                found = data["outputs"].get(f"output {node}")
                self._must(found == which, "P2", f"output {node} is {found}, adopted was {which}")
        self._must(not data["issues"], "P6", f"issues are left: {data['issues']}")
        self._must(not data["moves"], "P6", f"moves are left: {data['moves']}")
        self._must(not data["alive"], "P7", f"batch jobs outlive the run: {data['alive']}")
        needed = {f"bundles/{name}" for name in data["bundles"]} if kept else set()
        left = [path for path in data["files"] if path not in needed | self.late_files]
        self._must(not left, "files", f"files are left: {left}")
        stray = [j for j in data["directories"] if j not in kept and j not in self.late_directories]
        self._must(not stray, "files", f"directories of finished jobs are left: {stray}")
