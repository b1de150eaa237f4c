"""What a master may commit: rows of jobs, results adopted, charges, counts.

Owns the promises about what is written; must not judge acts: conduct.py does. Shares no code
with the tree or the store. Read next: checker.py, the end of a run.
"""

from __future__ import annotations

from tests.simulation.evidence import BLACK, BLUE, GREY, RED, Data, Known, Row

ISSUE_KILLING, ISSUE_ENDED = 6, 7


def commit(known: Known, data: Data) -> None:
    known.intents |= set(data["issues"])
    if data["void"]:
        return
    _check_kills(known, data)
    before = dict(known.jobs)
    for job, row in data["jobs"].items():
        _take_row(known, job, Row(*row))
    charged: dict[int, dict[str, int]] = {}
    for job, step, attempt, word, issue in data["rows"]:
        known.history.append((job, step, attempt, word, issue))
        charges = charged.setdefault(job, {"done": 0, "failed": 0, "lost": 0})
        charges[word] += 1
        if word == "done":
            _take_done(known, job, step, attempt, issue, data)
        elif word == "failed":
            _take_failed(known, job, step, attempt, issue)
        else:
            _take_lost(known, job, issue)
    for job in data["removed"]:
        old = known.jobs.pop(job)
        known.gone_jobs.add(job)
        known.dead_children[old.parent] = known.dead_children.get(old.parent, 0) + 1
    touched = dict.fromkeys([*data["jobs"], *charged])
    touched |= dict.fromkeys(before[job].parent for job in data["removed"])
    for job in touched:
        now = known.jobs.get(job)
        if now is None:
            continue
        _check_row(known, now)
        charges = charged.get(job, {"done": 0, "failed": 0, "lost": 0})
        if job in before:
            _check_change(known, before[job], now, charges, data["began"])


def _check_kills(known: Known, data: Data) -> None:
    """What was to be killed is given up only once it was fenced, or known to have ended."""
    over = [i for i, state in data["issues"].items() if state == ISSUE_ENDED]
    for issue in (*over, *data["forgotten"]):
        if known.to_kill.pop(issue, False):
            told = issue in known.fenced | known.end_told | known.not_adopted
            known.must(told, "P7", f"{issue} was to be killed; it was never fenced")
    for issue, state in data["issues"].items():
        known.to_kill[issue] = state == ISSUE_KILLING


def _take_row(known: Known, job: int, row: Row) -> None:
    if job not in known.jobs:
        known.must(job not in known.gone_jobs, "P2", f"job {job} lives again")
        known.born[row.parent] = known.born.get(row.parent, 0) + 1
    known.jobs[job] = row


def _take_done(known: Known, job: int, step: int, attempt: int, issue: str, data: Data) -> None:
    key = (issue, job, attempt, step)
    what = f"job {job} step {step} attempt {attempt} of {issue}"
    told = known.finished.get(key)
    known.must(told is not None and told["ok"], "P3", f"{what} adopted; no worker finished it")
    known.must((job, step) not in known.done, "P2", f"{what} adopted: already adopted")
    over = data["issues"].get(issue) == ISSUE_ENDED or issue in data["forgotten"]
    known.must(
        key in known.synced or over, "P1", f"{what} adopted before it was on disk, worker alive"
    )
    known.must(
        known.issue_of.get((job, attempt)) == issue, "P2", f"{what} adopted: not its attempt"
    )
    node = known.node_of.get(key, 0)
    known.must(node not in known.adopted, "P2", f"step {node} adopted twice: {what}")
    known.done[job, step] = (attempt, issue)
    known.done_count[job] = known.done_count.get(job, 0) + 1
    known.adopted[node] = (job, attempt, step)
    known.adopted_of_job.setdefault(job, []).append(node)


def _take_failed(known: Known, job: int, step: int, attempt: int, issue: str) -> None:
    which = (job, attempt, step)
    if which in known.move_failed:
        known.move_failed.discard(which)
        node = known.adopted_of_job[job].pop()
        known.adopted.pop(node)
        known.done.pop((job, step))
        known.done_count[job] -= 1
        return
    told = known.finished.get((issue, job, attempt, step))
    own = told is not None and not told["ok"] and told["own"]
    known.must(
        own, "charges", f"the user pays for job {job} step {step} attempt {attempt} of {issue}"
    )


def _take_lost(known: Known, job: int, issue: str) -> None:
    if issue in known.hello:
        paying = known.lost_of.setdefault(issue, set())
        paying.add(job)
        known.must(len(paying) == 1, "charges", f"pack-mates {sorted(paying)} pay for {issue}")


def _check_change(known: Known, old: Row, new: Row, charges: dict[str, int], began: float) -> None:
    both = (old, new)
    known.must(new.attempt >= old.attempt, "attempts grow", "an attempt shrank", both)
    known.must(new.step >= old.step, "P1", "a step is lost", both)
    paid = old.retries - new.retries
    known.must(paid <= charges["failed"], "charges", "retries paid without a failure", both)
    paid = old.rescues - new.rescues
    known.must(paid <= charges["lost"], "charges", "rescues paid without a loss", both)
    if new.colour == RED and old.colour != RED:
        fair = charges["failed"] > 0 and (
            charges["failed"] > old.retries
            or (charges["done"] and charges["failed"] > known.retries)
        )
        known.must(bool(fair), "charges", "failed for good with retries left", both)
    given_up = old.colour == GREY and (new.colour != GREY or new.attempt != old.attempt)
    if given_up and new.step == old.step and not charges["done"]:
        issue = known.issue_of.get((old.id, old.attempt), "")
        seen = known.visible.get((issue, old.id, old.attempt, old.step))
        known.must(
            seen is None or seen >= began,
            "P1",
            f"an attempt of {issue} was given up with its result unread",
            old,
        )


def _check_row(known: Known, row: Row) -> None:
    born, dead = known.born.get(row.id, 0), known.dead_children.get(row.id, 0)
    known.must(row.child_count == born, "counts", "children born are not those counted", row)
    known.must(row.black_child_count == dead, "counts", "finished children miscounted", row)
    waits = row.black_child_count < row.child_count
    known.must(waits == (row.colour == BLUE), "counts", "the colour is wrong", row)
    nodes = known.adopted_of_job.get(row.id, [])
    moving = row.colour == BLACK
    known.must(row.step == len(nodes) - moving, "P2", "not as many steps as adopted", row)
    if moving:
        nodes = nodes[:-1]
    due = sum(len(known.steps[node][2]) for node in nodes if node and len(known.steps[node][2]) > 1)
    known.must(row.child_count == due, "P2", "not the children of its adopted steps", row)
