"""Planted faults: what the simulator must find if someone writes it.

Owns the ways of breaking the product, each by patching it from outside; must not break the
checker. Read next: test_planted.py. The second half are bugs this simulator once found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobtree.core import issue_states, job_states, rescue
from jobtree.core.exit_status import NOT_OURS
from jobtree.core.issue_states import Action, Change, News, State
from jobtree.core.job import Colour
from jobtree.core.rescue import Charge, Verdict
from jobtree.mailbox.master_side import Mailbox
from jobtree.mailbox.results import Done, Failed, ResultReader
from jobtree.master import issue_events, loop, result_events, watchdog
from jobtree.master.issue import Issue
from jobtree.master.run_state import RunState
from jobtree.store import lease, store
from tests.simulation import disk, lives, worker

Plant = Callable[[pytest.MonkeyPatch], None]


def absence_is_success(patch: pytest.MonkeyPatch) -> None:
    """A job that is gone from the queue is taken for done."""
    settle = issue_events._collect

    def lenient(run: RunState, issue: Issue, ending: Any) -> None:
        if issue.killed_for.startswith("missing") or ending.reason in ("ENDED", "OK"):
            for job_id in list(issue.open):
                job = result_events.held_job(run, issue, job_id)
                issue.open.pop(job_id)
                if job is not None:
                    run.record(job, "done", job.stack[-1].label, issue=issue.name)
                    run.apply(job, job_states.StepDone())
        settle(run, issue, ending)

    patch.setattr(issue_events, "_collect", lenient)


def stale_attempt_adopted(patch: pytest.MonkeyPatch) -> None:
    """A killed attempt's job is issued again at once, and whoever finishes first is adopted."""
    kill = issue_events.kill

    def hasty(run: RunState, issue: Issue, why: str) -> None:
        kill(run, issue, why)
        for job_id in issue.open:
            job = run.store.get(job_id)
            if job is not None and job.colour == Colour.GREY:
                run.apply(job, job_states.Unstarted())

    def any_grey(run: RunState, issue: Issue, job_id: int) -> Any:
        job = run.store.get(job_id)
        return job if job is not None and job.colour == Colour.GREY else None

    adopt_done = result_events._apply_done

    def blind(run: RunState, issue: Issue, line: Done) -> None:
        job = any_grey(run, issue, line.job)
        if job is not None:
            issue.open.setdefault(line.job, (0, 0))
            line = line._replace(attempt=job.attempt, step=job.step)
        adopt_done(run, issue, line)

    patch.setattr(watchdog, "kill", hasty)
    patch.setattr(result_events, "held_job", any_grey)
    patch.setattr(result_events, "_apply_done", blind)


def raised_before_read(patch: pytest.MonkeyPatch) -> None:
    """An ended issue's jobs are given back without reading its file to the end."""
    settle = issue_events._collect

    def hasty(run: RunState, issue: Issue, ending: Any) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(type(run.mailbox), "read", lambda *_, **__: [])
            settle(run, issue, ending)

    patch.setattr(issue_events, "_collect", hasty)


def claim_ignored(patch: pytest.MonkeyPatch) -> None:
    """Twins both run."""

    def take(self: worker.Worker) -> disk.File:
        path = f"claims/{self.issue}"
        return self.disk.files.get(path) or self.disk.create(path, 0) or disk.File(path, 0)

    patch.setattr(worker.Worker, "take_claim", take)


def committed_after(patch: pytest.MonkeyPatch) -> None:
    """Submissions go out before the intent is committed."""

    def act_and_commit(self: loop.Master) -> None:
        run = self.run_state
        effects, run.effects = run.effects, []
        for effect in effects:
            effect()
        run.store.commit()
        run.ready.committed()
        run.mailbox.forget_bundles(run.pop_unused_bundles())

    patch.setattr(loop.Master, "commit_and_act", act_and_commit)


def fence_missing(patch: pytest.MonkeyPatch) -> None:
    """What is given up is not fenced."""

    def without(change: Change) -> Change:
        return Change(change.state, tuple(a for a in change.actions if a != Action.FENCE))

    table = {
        state: {news: without(change) for news, change in changes.items()}
        for state, changes in issue_states.TABLE.items()
    }
    patch.setattr(issue_states, "TABLE", table)


def sync_missing(patch: pytest.MonkeyPatch) -> None:
    """Lines are believed before they are on disk."""
    read = ResultReader.read
    patch.setattr(ResultReader, "read", lambda self, final=False: read(self, True))


def mates_pay(patch: pytest.MonkeyPatch) -> None:
    """What was left of a pack is charged like the step that ran."""

    def charge(run: RunState, issue: Issue, job_id: int) -> None:
        issue_events._charge(run, issue, job_id, Verdict(Charge.FAULT, "its pack was lost"))

    patch.setattr(issue_events, "hand_back", charge)


def mates_pay_silently(patch: pytest.MonkeyPatch) -> None:
    """What was left of a pack loses a retry, with no word of it."""

    def charge(run: RunState, issue: Issue, job_id: int) -> None:
        job = result_events.held_job(run, issue, job_id)
        issue.open.pop(job_id, None)
        if job is not None:
            run.apply(job, job_states.StepFailed())

    patch.setattr(issue_events, "hand_back", charge)


def two_commits(patch: pytest.MonkeyPatch) -> None:
    """A result's record and the job's step are two commits."""
    record = RunState.record

    def commit_too(self: RunState, job: Any, event: str, label: str, **known: Any) -> None:
        record(self, job, event, label, **known)
        self.store.commit()

    patch.setattr(RunState, "record", commit_too)


def lease_unchecked(patch: pytest.MonkeyPatch) -> None:
    """A master goes on though another has its tree."""
    patch.setattr(lease.Lease, "is_ours", lambda self: True)


def failed_step_bears(patch: pytest.MonkeyPatch) -> None:
    """The children of a failed step are born."""
    fail = result_events._apply_failed

    def fertile(run: RunState, issue: Issue, line: Failed) -> None:
        job = result_events.held_job(run, issue, line.job)
        fail(run, issue, line)
        if job is not None:
            child = job_states.first_job(
                run.store.new_ids(1)[0], job.id, job.stack[-1], run.budgets
            )
            for born in run.store.add([child]):
                run.ready.push(born)

    patch.setattr(result_events, "_apply_failed", fertile)


# ---- bugs that were there -----------------------------------------------------------------


def used_bundle_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A bundle whose pickles are all used up is taken to be needed still."""
    patch.setattr(store.Store, "needs_bundle", lambda self, name: True)


def bundle_removed_under_worker(patch: pytest.MonkeyPatch) -> None:
    """A bundle is removed while its worker still adds pickles to it, or jobs need them."""

    def all_unused(self: RunState) -> list[str]:
        unused, self.store.unused_bundles = self.store.unused_bundles, []
        return unused

    patch.setattr(RunState, "pop_unused_bundles", all_unused)
    patch.setattr(store.Store, "needs_bundle", lambda self, name: False)


def lost_claim_charged(patch: pytest.MonkeyPatch) -> None:
    """The exit status of a twin that lost its claim is charged to the user."""
    patch.setattr(rescue, "NOT_OURS", -1)


def refused_unread(patch: pytest.MonkeyPatch) -> None:
    """What a refused submission wrote, as it ran all the same, is not read."""

    def release(run: RunState, issue: Issue) -> None:
        for job_id in list(issue.open):
            result_events.hand_back(run, issue, job_id)

    patch.setattr(issue_events, "_release", release)


def unseen_name_absent(patch: pytest.MonkeyPatch) -> None:
    """A results file not seen is taken for not there, without listing its directory."""
    patch.setattr(disk.VirtualMailbox, "_prepare_last_read", lambda *_: None)


def bundle_tail_unchecked(patch: pytest.MonkeyPatch) -> None:
    """A dead node's last line is believed though the pickles it names are lost."""
    patch.setattr(Mailbox, "_pickles", lambda *_: iter(()))


def unanswered_forever(patch: pytest.MonkeyPatch) -> None:
    """A submission that is never answered is waited for without end."""
    patch.setattr(rescue, "unanswered_long_enough", lambda *_: False)


def acts_after_sleep(patch: pytest.MonkeyPatch) -> None:
    """The lease is asked once a turn only: a master may wake up between commit and effects."""

    def commit_and_act(self: loop.Master) -> None:
        run = self.run_state
        run.store.commit()
        run.ready.committed()
        run.mailbox.forget_bundles(run.pop_unused_bundles())
        effects, run.effects = run.effects, []
        for effect in effects:
            effect()

    patch.setattr(loop.Master, "commit_and_act", commit_and_act)


def directory_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A directory that only a lost attempt had made is never removed."""
    charge = issue_events._charge

    def charge_forgetfully(run: RunState, issue: Issue, job_id: int, verdict: Verdict) -> None:
        before = run.store.get(job_id)
        charge(run, issue, job_id, verdict)
        after = run.store.get(job_id)
        if before is not None and after is not None and not before.has_directory:
            run.store.put(after, after._replace(has_directory=False))

    patch.setattr(issue_events, "_charge", charge_forgetfully)


def kill_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What a master that died was about to kill is neither fenced nor killed by the next."""
    adopt = loop.Master._adopt

    def forgetful(self: loop.Master, name: str) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.delitem(issue_states.TABLE[State.KILLING], News.KILL)
            adopt(self, name)

    patch.setattr(loop.Master, "_adopt", forgetful)


def late_order_obeyed(patch: pytest.MonkeyPatch) -> None:
    """A worker that claims after its order was withdrawn runs it all the same."""
    patch.setattr(worker.Worker, "order_stands", lambda self: True)


def unseen_tree_taken_for_withdrawn(patch: pytest.MonkeyPatch) -> None:
    """A worker on a node without the tree ends as one that has lost its claim."""
    look = worker.Worker.look_in_vain

    def give_way(self: worker.Worker) -> int:
        look(self)
        return NOT_OURS

    patch.setattr(worker.Worker, "look_in_vain", give_way)


def namespace_ignored(patch: pytest.MonkeyPatch) -> None:
    """A holder is judged by its host's name, its boot and its process's number alone."""

    def by_host(holder: Any, place: Any, look: Any) -> bool | None:
        if holder.released:
            return False
        if holder.host != place.host:
            return None
        return bool(holder.boot == place.boot and look(holder.pid) == holder.started)

    patch.setattr(lease, "is_alive", by_host)


def looking_takes(patch: pytest.MonkeyPatch) -> None:
    """A command that only looks takes a tree whose holder it cannot see."""
    lives_ = lease.Watch.lives

    def hopeful(self: lease.Watch) -> bool | None:
        return bool(lives_(self))

    patch.setattr(lease.Watch, "lives", hopeful)


def lease_not_renewed(patch: pytest.MonkeyPatch) -> None:
    """A master writes its lease once, and is taken for dead after a minute of work."""
    patch.setattr(lease.Lease, "renew", lease.Lease.is_ours)


def copy_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Whoever takes a tree that another may still write opens the same file."""
    make = lives.VirtualLeases.make
    patch.setattr(
        lives.VirtualLeases, "make", lambda self, h: make(self, h._replace(copying=False))
    )


def own_signals_rescued(patch: pytest.MonkeyPatch) -> None:
    """A step that takes its process down by a signal of its own is rescued, whatever it does."""
    again = rescue._judge_again

    def lenient(way: str, why: str, before: Any) -> Verdict:
        return again(way, why, ())._replace(isolate=False)

    patch.setattr(rescue, "_judge_again", lenient)


FORCED: dict[str, dict[str, float]] = {
    "fence missing": {"job lost": 0.3, "job absent for a while": 0.3},
    "was there: a refused submission's results unread": {
        "submission refused, yet started": 0.5,
        "update late": 0.7,
    },
    "was there: lost pickles believed": {"node died": 0.5, "tail torn": 1.0},
    "was there: a name not seen taken for absent": {"name seen late": 0.7},
    "was there: a lost attempt's directory stays": {"worker killed": 0.1},
    "was there: a sleeper acts on its void commit": {"master taken over": 0.02},
    "was there: a kill forgotten in a restart": {
        "worker stalled": 0.05,
        "master killed at a fence": 0.7,
        "kill ignored": 0.9,
    },
    "retries charged to a pack-mate": {"worker killed": 0.1},
    "was there: a tree not seen taken for a withdrawn order": {"node without the tree": 1.0},
    "was there: a holder judged by host and process alone": {"tree wanted elsewhere": 0.1},
    "what only looks takes the tree": {"tree wanted elsewhere": 0.1},
    "a lease that is not renewed": {"tree wanted elsewhere": 0.1},
    "retries charged to a pack-mate, silently": {"worker killed": 0.1},
}
"""Faults that strike every seed, for plants that seldom show."""

PLANTS: dict[str, Plant] = {
    "absence taken as success": absence_is_success,
    "a stale attempt adopted": stale_attempt_adopted,
    "attempt raised before the old file is read": raised_before_read,
    "claim ignored": claim_ignored,
    "commit after submission": committed_after,
    "fence missing": fence_missing,
    "fsync missing": sync_missing,
    "retries charged to a pack-mate": mates_pay,
    "retries charged to a pack-mate, silently": mates_pay_silently,
    "two commits for one adoption": two_commits,
    "lease not checked": lease_unchecked,
    "children of a failed step born": failed_step_bears,
    "was there: a used-up bundle stays": used_bundle_forgotten,
    "was there: a bundle removed under its worker": bundle_removed_under_worker,
    "was there: a lost claim charged to the user": lost_claim_charged,
    "was there: a refused submission's results unread": refused_unread,
    "was there: a name not seen taken for absent": unseen_name_absent,
    "was there: lost pickles believed": bundle_tail_unchecked,
    "was there: an unanswered submission waited for": unanswered_forever,
    "was there: a sleeper acts on its void commit": acts_after_sleep,
    "was there: a lost attempt's directory stays": directory_forgotten,
    "was there: a kill forgotten in a restart": kill_forgotten,
    "was there: a withdrawn order obeyed": late_order_obeyed,
    "was there: a step's own signal rescued without end": own_signals_rescued,
    "was there: a tree not seen taken for a withdrawn order": unseen_tree_taken_for_withdrawn,
    "was there: a holder judged by host and process alone": namespace_ignored,
    "what only looks takes the tree": looking_takes,
    "a lease that is not renewed": lease_not_renewed,
    "a tree taken over without a copy": copy_forgotten,
}
