"""What masters and workers may do: orders, submissions, fences, claims, steps, results, moves.

Owns the promises about acts, one function for each kind of event; must not judge what is
committed: commits.py does. Shares no code with the product. Read next: commits.py.
"""

from __future__ import annotations

from tests.simulation.evidence import GREY, Data, Known

MOST_UNSEEN = 25
"""A node that sees no tree may cost so many attempts in an hour, as it is left out."""

HOUR_S = 3600.0

STALE_S = 60.0
"""A lease that has not changed for so long is nobody's."""

AT_WORK_S = 45.0
"""A master that took a turn since then has renewed its lease, in less than STALE_S."""

# ---- the plan, and who acts ---------------------------------------------------------------


def plan(known: Known, data: Data) -> None:
    known.retries, known.steps = data["retries"], data["steps"]


def master(known: Known, data: Data) -> None:
    known.must(data["epoch"] > known.epoch, "epoch", f"epoch {data['epoch']} is not new")
    known.epoch = data["epoch"]

    known.unseen = {}  # what made a node bad is not kept


def taken(known: Known, data: Data) -> None:
    """A master that lives and renews its lease keeps its tree; whoever only looks takes none."""
    if not data["living"]:
        return
    what = f"epoch {data['epoch']} is taken from a master that lives"
    known.must(not data["looks"], "lease", f"{what}, by what only looks")
    idle_s = data["unchanged_s"]
    known.must(idle_s >= STALE_S, "lease", f"{what}: its lease was renewed {idle_s:.0f} s before")
    at_work_s = data["at_work_s"]
    known.must(at_work_s >= AT_WORK_S, "lease", f"{what}, and was at work {at_work_s:.0f} s before")
    known.must(data["copying"], "lease", f"{what}, with the database that it has open")


def end_told(known: Known, data: Data) -> None:
    known.end_told.add(data["issue"])


def foreign_killed(known: Known, data: Data) -> None:
    known.must(False, "P7", f"another's batch job is killed: {data}")


def absence_told(known: Known, data: Data) -> None:
    known.must(False, "P3", f"a batch job shown in every answer is taken for gone: {data}")


def given_up_lives(known: Known, data: Data) -> None:
    known.must(False, "P7", f"what was given up is shown again, and not killed: {data}")


def age_told(known: Known, data: Data) -> None:
    known.must(False, "P8", f"a batch job is said to run for longer than it is there: {data}")


def finished_run(known: Known, data: Data) -> None:
    known.run_over = True


def not_adopted(known: Known, data: Data) -> None:
    known.not_adopted.add(data["issue"])


def late_file(known: Known, data: Data) -> None:
    """A worker given up long ago wakes up after the run: nobody is left to tidy after it."""
    known.unkempt.add(data["path"])
    if known.run_over:
        known.late_files.add(data["path"])


# ---- orders, submissions, fences ------------------------------------------------------------


def order(known: Known, data: Data) -> None:
    known.must_have_tree(data)
    for task, pack in enumerate(data["packs"]):
        issue = f"{data['submission']}.{task}"
        known.must(issue in known.intents, "P1", f"{issue} is ordered before it is committed")
        for job, attempt, step in pack:
            _order_job(known, issue, job, attempt, step)


def _order_job(known: Known, issue: str, job: int, attempt: int, step: int) -> None:
    row = known.jobs.get(job)
    what = f"job {job} attempt {attempt} step {step} in {issue}"
    before = known.last_ordered.get(job, 0)
    known.must(attempt > before, "attempts grow", f"{what}: {before} was ordered before")
    known.last_ordered[job] = max(before, attempt)
    known.must((job, attempt) not in known.issue_of, "P4", f"{what}: ordered twice")
    committed = row is not None and (row.colour, row.attempt, row.step) == (GREY, attempt, step)
    known.must(committed, "P1", f"{what} is ordered, but {row} is committed")
    known.must(
        known.done_count.get(job, 0) <= step, "P5", f"{what}: a finished step is ordered again"
    )
    if before:
        _check_given_up(known, job, before, what)
    known.issue_of[job, attempt] = issue


def _check_given_up(known: Known, job: int, attempt: int, what: str) -> None:
    """The attempt before must be over, fenced off, recalled, or without its order."""
    issue = known.issue_of[job, attempt]
    ok = (
        issue in known.recalled
        or issue in known.end_told
        or issue.rpartition(".")[0] in known.withdrawn
        or (issue, job) in known.returned
        or any(
            key[:3] == (issue, job, attempt) and not what_["goes_on"] and what_["own"]
            for key, what_ in known.finished.items()
        )
    )
    known.must(ok, "P4", f"{what}: {issue} before it was neither fenced nor known to be over")


def withdraw(known: Known, data: Data) -> None:
    known.must_have_tree(data)
    known.withdrawn.add(data["submission"])


def submitted(known: Known, data: Data) -> None:
    known.must_have_tree(data)
    issue = f"{data['submission']}.{data['index']}"
    known.must(issue in known.intents, "P1", f"{issue} is submitted before it is committed")


def fence(known: Known, data: Data) -> None:
    known.must_have_tree(data)
    if data["word"] == "stop":
        known.fenced.add(data["issue"])
    known.recalled.add(data["issue"])


# ---- workers --------------------------------------------------------------------------------


def claim(known: Known, data: Data) -> None:
    if not data["won"]:
        return
    issue, worker = data["issue"], data["worker"]
    stray = worker.startswith("predecessor")
    known.must(not stray, "P4", f"{worker} claims {issue}, submitted for the tree before this")
    if issue.rpartition(".")[0] in known.withdrawn:
        known.late_claims.add(worker)  # it may look once more, and leave; it must run nothing
        return
    holder = known.holder.get(issue)
    known.must(holder is None, "P4", f"{worker} claims {issue}, which {holder} holds")
    known.holder[issue] = worker


def gone(known: Known, data: Data) -> None:
    issue, worker = data["issue"], data["worker"]
    if known.holder.get(issue) == worker:
        del known.holder[issue]
    if known.run_over and not data["how"].startswith("left"):
        # it woke up after the run and was killed before it had looked again: nobody tidies up
        known.late_files |= {f"claims/{issue}~{worker}", f"claims/{issue}~lost.{worker}"}
        if worker in known.late_claims:
            known.late_files |= {f"claims/{issue}", f"results/{issue}"}


def started(known: Known, data: Data) -> None:
    worker, issue, node, job = data["worker"], data["issue"], data["node"], data["job"]
    known.node_of[issue, job, data["attempt"], data["step"]] = node
    known.must(
        worker not in known.late_claims,
        "P4",
        f"{worker} runs a step of {issue}, whose order was withdrawn before its claim",
    )
    here = known.done_by_worker.setdefault((worker, job), set())
    for needed in known.needed(node):
        settled = needed in here or known.is_settled(needed)
        known.must(settled, "P2", f"step {node} starts in {issue} before step {needed} is adopted")


def unseen(known: Known, data: Data) -> None:
    """A batch job was lost for its node's want of the tree, which is to be left out for that."""
    node = data["node"]
    times = [at for at in known.unseen.get(node, []) if at > known.now - HOUR_S]
    known.unseen[node] = [*times, known.now]
    lost = len(known.unseen[node])
    known.must(lost <= MOST_UNSEEN, "nodes", f"{lost} attempts lost on {node}, without the tree")


def finished(known: Known, data: Data) -> None:
    key = (data["issue"], data["job"], data["attempt"], data["step"])
    known.finished[key] = data
    if data["ok"]:
        known.done_by_worker.setdefault((data["worker"], data["job"]), set()).add(data["node"])


def returned(known: Known, data: Data) -> None:
    known.returned |= {(data["issue"], job) for job in data["jobs"]}


def visible(known: Known, data: Data) -> None:
    issue, line = data["issue"], data["line"]
    which = (data["job"], data["attempt"], data["step"])
    if line == "hello":
        known.hello.add(issue)
    elif line == "synced":
        known.synced |= {(issue, *held) for held in known.unsynced.pop(issue, set())}
    elif line == "done":
        if data["whole"]:  # else its children were still on their way: not to be believed
            known.visible[issue, *which] = known.now
        known.unsynced.setdefault(issue, set()).add(which)


def pickle_lost(known: Known, data: Data) -> None:
    row = known.jobs.get(data["job"])
    current = row is not None and row.colour == GREY and row.attempt == data["attempt"]
    known.must(not current, "P1", f"a pickle that is needed is gone: {data}")


def directory(known: Known, data: Data) -> None:
    row = known.jobs.get(data["job"])
    if row is None or row.attempt != data["attempt"] or row.colour != GREY:
        known.late_directories.add(data["job"])


# ---- moves ----------------------------------------------------------------------------------


def moved(known: Known, data: Data) -> None:
    known.must_have_tree(data)
    which = (data["job"], data["attempt"], data["step"])
    found = known.done.get((data["job"], data["step"]))
    known.must(
        found is not None and found[0] == data["attempt"],
        "P2",
        f"the output of job {which[0]} attempt {which[1]} is moved; adopted: {found}",
    )
    known.moved[which] = known.moved.get(which, 0) + 1


def move_failed(known: Known, data: Data) -> None:
    known.move_failed.add((data["job"], data["attempt"], data["step"]))
