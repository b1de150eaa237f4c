"""Clock offset: what the scheduler's clock shows, learnt from what it says of our own jobs. Pure.

Owns the difference between its clock and ours; must not decide what a job's fate is. Read next:
reconcile.py.

A job of ours was submitted between the moment its submission began and the one it was answered:
what the scheduler says of that moment tells what its clock showed then. A clock that is wrong, a
zone that was lost on the way and a clock of our own that is set meanwhile are all the same here.
Times called `at` are the engine's, which never jump; times called `there` the scheduler's.
"""

from __future__ import annotations

from collections.abc import Callable

from batchsystems.commandline.answers import Observation
from batchsystems.commandline.jobs import NEVER, Job

PRINTED_S = 1.0
"""Schedulers tell whole seconds, without the rest."""


class SchedulerClock:
    """The scheduler's clock, taken to agree with ours until it says otherwise.

    epoch: returns our own epoch seconds, which may be set to and fro. slack_s: a difference that
    is not worth a word. differs: what is to be said of a greater one, "" if there is none; since
    when by the engine's time.
    """

    def __init__(self, epoch: Callable[[], float], slack_s: float) -> None:
        self._epoch, self._slack_s = epoch, slack_s
        self.differs, self.differs_since = "", 0.0
        self._shift: float | None = None

    def there(self, at: float, now: float) -> float:
        """Return what the scheduler's clock showed, or will, at a moment of the engine."""
        return at + (self._epoch() - now if self._shift is None else self._shift)

    def at(self, epoch: float, now: float) -> float:
        """Return the engine's moment of a time by our own clock; NEVER if that is still to come."""
        at = now - (self._epoch() - epoch)
        return at if at <= now else NEVER

    def learn(self, there: float, earliest: float, latest: float, now: float) -> None:
        """Take in that between two moments of the engine the scheduler's clock showed this."""
        shift = self.there(0.0, now)
        self._shift = min(max(shift, there - latest), there + PRINTED_S - earliest)

    def see(self, job: Job, observation: Observation, now: float) -> None:
        """Learn from the first sight of a job of ours."""
        there, latest = observation.submitted, job.accepted_at
        if there is None:
            there, latest = observation.started, now
        if there is None:
            return
        job.shown = there
        self.learn(there, job.begun, latest, now)
        ahead_s = self.there(now, now) - self._epoch()
        if abs(ahead_s) <= self._slack_s:
            self.differs = ""
            return
        if not self.differs:
            self.differs_since = now
        how = "ahead of" if ahead_s > 0 else "behind"
        self.differs = (
            f"its clock is about {abs(ahead_s):.0f} s {how} this machine's, or one of its commands "
            "does not keep to TZ=UTC; jobs are known by id and name, so that none is harmed: set "
            "the clocks (NTP), and look for what wraps these commands"
        )

    def running_s(self, job: Job, started: float, now: float) -> float:
        """Return how long a job has run that started at this time by the scheduler's clock."""
        return bounded(job, self.there(now, now) - started, now)


def bounded(job: Job, running_s: float, now: float) -> float:
    """Return how long a job may have run: no longer than it is there, whatever is said.

    Where a clock that was set hides since when it is, no longer than it is known here.
    """
    since = job.begun if job.begun > NEVER else job.accepted_at
    return max(0.0, min(running_s, now - since))
