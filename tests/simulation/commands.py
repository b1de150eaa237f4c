"""The real engine of command-line adapters, on the virtual cluster: commands, answers, clocks.

Owns what a scheduler's commands do and say, and how they fail; the engine that runs them is the
product's. Read next: adapter.py, the adapter of all other seeds, which tells a master more oddly
but has neither names nor clocks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from batchsystems.commandline.answers import (
    Observation,
    Phase,
    QueryResult,
    Rejected,
    Rejection,
    Submitted,
    Unkilled,
)
from batchsystems.commandline.dialect import Dialect, Request
from batchsystems.commandline.engine import Engine
from batchsystems.commandline.limits import Limits
from batchsystems.commandline.operation import Operation
from batchsystems.commandline.pacing import Pace, Timeouts
from batchsystems.interface import (
    BatchSystem,
    Capacity,
    JobEnd,
    JobRecord,
    JobSpec,
    Reason,
    Refused,
    Resources,
    Update,
)
from batchsystems.slurm.dialect import ZONES_S
from batchsystems.transport.local import Command, CommandResult
from tests.simulation.cluster import NAMESAKE, PREDECESSOR, BatchJob, Cluster
from tests.simulation.world import VirtualClock

SHOWN_S = 60.0
"""For this long the queue shows what has ended."""

UNSEEN_S = 200.0
"""For so long at most a submission that was not answered is on its way."""

THEIR_ID = "0f0f0f0f"

SEEN_S = 90.0
"""What has been in the queue for so long cannot be taken for not there."""


class VirtualDialect(Dialect):
    """Commands are words for VirtualCommands; answers are found by a number."""

    name = "virtual"

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []
        self.answers: list[list[Observation]] = []

    def submit(self, request: Request, limits: Limits) -> Command:
        self.requests.append(request)
        return Command("submit", ("submit", str(len(self.requests) - 1)))

    def parse_submit(self, ran: CommandResult) -> Submitted | Rejected:
        return (
            Submitted(ran.stdout)
            if ran.status == 0
            else Rejected(Rejection(ran.stderr), "it says no")
        )

    def queue(self, names: Sequence[str] = ()) -> Command:
        return Command("queue", ("queue",))

    def parse_queue(self, ran: CommandResult) -> QueryResult:
        if ran.status != 0:
            return QueryResult(why=ran.stderr)
        return QueryResult(self.answers[int(ran.stdout)], complete=True)

    def history(self, natives: Sequence[str], names: Sequence[str], since: float) -> Command:
        words = ("history", ",".join(natives), ",".join(names), repr(since - ZONES_S))
        return Command("history", words)

    def parse_history(self, ran: CommandResult, limits: Limits) -> QueryResult:
        return self.parse_queue(ran)

    def kill(self, natives: Sequence[str]) -> Command:
        return Command("kill", ("kill", *natives))

    def kill_named(self, name: str) -> Command:
        return Command("kill", ("kill", f"name={name}"))

    def parse_kill(self, ran: CommandResult) -> Unkilled | None:
        return Unkilled(ran.stderr) if ran.status else None


class VirtualCommands:
    """What the scheduler's commands do to the virtual cluster."""

    def __init__(self, cluster: Cluster, dialect: VirtualDialect, our_id: str) -> None:
        self._cluster, self._dialect, self._our_id = cluster, dialect, our_id
        self._world, self._rng = cluster.world, cluster.world.stream("commands")

    def run(self, command: Command) -> CommandResult:
        """Run a command, as well as that works now."""
        verb, *words = command.argv
        if self._cluster.is_out():
            return CommandResult(
                1, stderr=Rejection.OUTAGE.value if verb == "submit" else "it is away"
            )
        if verb == "submit":
            return self._submit(self._dialect.requests[int(words[0])])
        if verb == "kill":
            self._kill(words)
            return CommandResult(0)
        self._cluster.disturb_clocks()
        rows = self._queue() if verb == "queue" else self._history(*words)
        self._dialect.answers.append(rows)
        return CommandResult(0, str(len(self._dialect.answers) - 1))

    # ---- submissions -------------------------------------------------------------------------

    def _submit(self, request: Request) -> CommandResult:
        world = self._world
        self._let_others_submit(request)
        if world.strikes("submission refused"):
            return CommandResult(1, stderr=Rejection.FULL.value)
        if world.strikes("submission timed out, not accepted"):
            return CommandResult(1, stderr=Rejection.UNKNOWN.value)
        if world.strikes("submission timed out, accepted"):
            late_s = self._rng.choice([0.0, 10.0, 100.0])
            world.after(late_s, partial(self._accept, request))
            return CommandResult(1, stderr=Rejection.UNKNOWN.value)
        return CommandResult(0, self._accept(request))

    def _let_others_submit(self, request: Request) -> None:
        """Have a tree of the same name, or the one that was here before, submit what we do.

        All that their names differ in is the id.
        """
        for owner in (NAMESAKE, PREDECESSOR):
            if self._world.strikes(f"{owner} submits"):
                self._accept(request, owner)

    def _accept(self, request: Request, owner: str = "") -> str:
        number = self._cluster.new_number()
        order, called = os.path.basename(request.command[-2]), request.name
        if owner:
            order, called = (name.replace(self._our_id, THEIR_ID) for name in (order, called))
        for task in range(request.size or 1):
            spec = JobSpec(order, request.command, request.resources, request.first + task)
            native = number if request.size is None else self._dialect.ids.join(number, task)
            self._cluster.accept(spec, request.avoid, native, called, owner)
        return number

    # ---- looks and kills ---------------------------------------------------------------------

    def _queue(self) -> list[Observation]:
        now = self._world.now
        return [
            self._observation(job)
            for job in self._cluster.jobs.values()
            if job.known
            and job.hidden_until <= now
            and (job.end is None or now - job.ended_at < SHOWN_S)
        ]

    def _history(self, natives: str, names: str, since: str) -> list[Observation]:
        wanted, called = natives.split(","), names.split(",")
        oldest, now = float(since) - self._cluster.zone_s, self._world.now
        return [
            self._observation(job)
            for job in self._cluster.jobs.values()
            if job.known
            and job.hidden_until <= now
            and job.submitted >= oldest
            and (self._dialect.ids.submission_of(job.native) in wanted or job.called in called)
        ]

    def _observation(self, job: BatchJob) -> Observation:
        zone_s = self._cluster.zone_s
        phase = Phase.RUNNING if job.node is not None else Phase.WAITING
        started = job.started + zone_s if job.node is not None else None
        if job.end is not None:
            phase = Phase.ENDED
        submitted = job.submitted + zone_s
        return Observation(
            job.native,
            job.called,
            phase,
            submitted=submitted,
            node="" if job.node is None else job.node.name,
            end=job.end,
            started=started,
        )

    def _kill(self, words: Sequence[str]) -> None:
        for job in list(self._cluster.jobs.values()):
            whole = self._dialect.ids.submission_of(job.native)
            if job.native in words or whole in words or f"name={job.called}" in words:
                self._kill_one(job)

    def _kill_one(self, job: BatchJob) -> None:
        world = self._world
        job.kills += 1
        if world.strikes("kill ignored"):
            return
        late_s = self._rng.choice([20.0, 90.0, 300.0]) if world.strikes("kill late") else 0.0
        if job.owner and job.end is None:
            world.record("foreign killed", native=job.native, called=job.called)
        world.after(late_s, lambda: self._cluster.kill(job))


class CommandAdapter(BatchSystem):
    """One master's engine; what is a thread in the product is events here."""

    name = "virtual"

    def __init__(
        self, cluster: Cluster, epoch: int, point: Callable[[str], None], our_id: str
    ) -> None:
        self._cluster, self._epoch, self._point = cluster, epoch, point
        self._world, self._rng = cluster.world, cluster.world.stream("engine")
        self._dialect = VirtualDialect()
        self._commands = VirtualCommands(cluster, self._dialect, our_id)
        timeouts = Timeouts(tasks=self._rng.choice([1, 3, 1000]))
        clock = VirtualClock(self._world)
        self._engine = Engine(self._dialect, Pace(), timeouts, clock.epoch)
        self._issues: dict[int, str] = {}
        self._adopted: set[int] = set()
        self._given_up: dict[str, float] = {}
        self._busy = self._gone = False
        self._planned = 0

    # ---- the thread ---------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Do what is due, unless a command runs, or come back when something is."""
        if self._busy or self._gone:
            return
        now = self._world.now
        operation = self._engine.next_operation(now)
        self._planned += 1
        if operation is None:
            planned = self._planned
            idle_s = min(max(self._engine.idle_s(now), 0.001), 3600.0)
            self._world.after(idle_s, lambda: self._come_back(planned))
            return
        self._busy = True
        began_s, rest_s = (self._rng.uniform(0, self._cluster.slowness_s) for _ in "ab")
        self._world.after(began_s, lambda: self._run(operation, rest_s))

    def _come_back(self, planned: int) -> None:
        if planned == self._planned:
            self._go_on()

    def _run(self, operation: Operation, rest_s: float) -> None:
        assert operation.command is not None
        ran = self._commands.run(operation.command)
        self._world.after(rest_s, lambda: self._on_answer(operation, ran))

    def _on_answer(self, operation: Operation, ran: CommandResult) -> None:
        self._busy = False
        if not self._gone:
            if (
                ran.status == 0
                and operation.command is not None
                and operation.command.verb == "queue"
            ):
                self._watch(self._dialect.answers[int(ran.stdout)])
            operation.on_answer(operation.parse(ran), operation.begun, self._world.now)
            self._go_on()

    def _watch(self, rows: Sequence[Observation]) -> None:
        """Record what was given up, shows again, and is not killed for all that."""
        now = self._world.now
        for row in rows:
            if row.native in self._given_up and row.phase is not Phase.ENDED:
                since = self._given_up[row.native] = self._given_up[row.native] or now
                if now - since > SEEN_S and not self._cluster.jobs[row.native].kills:
                    self._world.record("given up lives", native=row.native, since=since)

    # ---- the contract --------------------------------------------------------------------------

    def issueJob(self, spec: JobSpec) -> int:
        return self.issueJobs([spec])[0]

    def issueJobs(self, specs: Sequence[JobSpec]) -> list[int]:
        self._point("kill only")
        for spec in specs:
            self._world.record(
                "submitted", epoch=self._epoch, submission=spec.name, index=spec.index
            )
        handles = self._engine.submission_queue.post(specs, "/")
        for handle, spec in zip(handles, specs, strict=True):
            self._issues[handle] = f"{spec.name}.{spec.index}"
        self._world.after(0.0, self._go_on)
        self._point("after submission")
        return handles

    def getUpdatedJobs(self) -> dict[int, Update]:
        told = self._engine.job_table.take_news()
        for handle, update in told.items():
            if isinstance(update, JobEnd | Refused):
                reason = "REFUSED" if isinstance(update, Refused) else update.reason.name
                issue = self._issues[handle]
                self._world.record("end told", epoch=self._epoch, issue=issue, reason=reason)
                if reason in (Reason.LOST.name, Reason.ENDED.name, "REFUSED"):
                    self._note_absence(issue, reason)
        return told

    def _note_absence(self, issue: str, reason: str) -> None:
        """Record what was said not to be there, and was to be seen all the time."""
        for job in self._cluster.jobs.values():
            if job.owner or job.issue != issue or job.end is not None or not job.known:
                continue
            self._given_up.setdefault(job.native, 0.0)
            seen_s = self._world.now - job.accepted_at
            if seen_s > SEEN_S and job.hidden_until == 0.0:
                self._world.record("absence told", issue=issue, native=job.native, reason=reason)

    def getIssuedJobIDs(self) -> frozenset[int]:
        return self._engine.issued(self._world.now)

    def getRunningJobIDs(self) -> dict[int, float]:
        running = self._engine.running(self._world.now)
        for handle, running_s in running.items():
            if handle in self._adopted and self._world.fired["clock jumped"]:
                continue  # nothing that is kept of it tells the time any more
            job = self._cluster.jobs.get(self._engine.job_table.jobs[handle].native)
            if job is not None:
                most_s = self._world.now - job.accepted_at
                if running_s > most_s + UNSEEN_S:
                    self._world.record("age told", issue=job.issue, told=running_s, true=most_s)
        return running

    def killJobs(self, ids: Iterable[int]) -> None:
        self._point("kill only")
        wanted = list(ids)
        for handle in wanted:
            self._world.record("kill asked", epoch=self._epoch, issue=self._issues[handle])
        self._engine.kill(wanted, self._world.now)
        self._world.after(0.0, self._go_on)
        self._point("after kill")

    def adopt(self, records: Sequence[JobRecord]) -> list[int | None]:
        if not records:
            return []
        world = self._world
        self._engine.begin_adoption(records, world.now)
        world.after(0.0, self._go_on)
        deadline = world.now + Timeouts().adopt_s
        while not self._engine.adoption_answered() and world.now < deadline:
            world.run_until(world.now + 0.5)
        handles = self._engine.finish_adoption(world.now)
        for handle, record in zip(handles, records, strict=True):
            issue = f"{record.name}.{record.index}"
            if handle is None:
                world.record("not adopted", epoch=self._epoch, issue=issue)
            else:
                self._issues[handle] = issue
                self._adopted.add(handle)
        world.after(0.0, self._go_on)
        return handles

    def exclude(self, nodes: Iterable[str]) -> None:
        self._engine.avoid = tuple(sorted(set(nodes)))

    def capacity(self) -> Capacity:
        slots = self._cluster.slots if self._cluster.says_capacity else None
        return Capacity(slots, Resources(cpus=64, memory_bytes=2**40))

    def close(self) -> None:
        self._gone = True
