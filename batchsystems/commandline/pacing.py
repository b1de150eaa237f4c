"""Pacing: how often a scheduler may be troubled, and how long it is waited for. Pure.

Owns token buckets, the schedule of polls and the time-outs; time is always an argument.
Read next: engine.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from batchsystems.site.fields import PERIOD, RATE, Declared

MARGIN = 1.2
"""By how much longer jobs are expected to take than at the pace at which others have ended."""


@dataclass(frozen=True, slots=True)
class Pace(Declared):
    """How much load a site allows."""

    submits_per_s: float = RATE(
        5.0, "submissions and kills, in a second", "pacing.submits_per_second"
    )
    queries_per_minute: float = RATE(
        30.0, "commands that only look, in a minute", "pacing.queries_per_minute"
    )
    commands_per_minute: float | None = RATE(
        None,
        "all commands together in a minute, if that is limited too",
        "pacing.commands_per_minute",
    )
    poll_s: float = PERIOD(
        30.0,
        "the longest time between two looks at the queue while jobs are out; the shortest is a "
        "tenth of it, and ten times as long the longest while the scheduler gives no answer",
        "pacing.poll_interval",
    )


@dataclass(frozen=True, slots=True)
class Timeouts(Declared):
    """How long to wait before something is believed, and how much is asked at once."""

    query_s: float = PERIOD(
        120.0, "the longest a look at queue or history may take", "timeouts.query"
    )
    absence_s: float = PERIOD(
        60.0, "a job not in the queue, nor in the history, for this long is gone", "grace.absence"
    )
    held_s: float = PERIOD(120.0, "a job that can never start is ended after this", "grace.stuck")
    submit_s: float = 120.0
    kill_s: float = 120.0
    """The longest that one of these commands may take."""
    query_tries: int = 2
    """How often one query is made in a row."""
    visibility_s: float = 120.0
    """A submission without a clear answer may still appear for this long."""
    two_looks_s: float = 60.0
    """The least time between the two looks that must both not find it."""
    history_s: float = 600.0
    """How long to wait for a history that gives no answer, or says that the job still runs."""
    history_pause_s: float = 5.0
    """Between two askings of it, growing to a minute."""
    hold_s: float = 5.0
    hold_most_s: float = 300.0
    """Pause after a submission that must wait, doubled each time; the longest."""
    stale_s: float = 120.0
    """Without a complete answer for this long nothing is said of jobs."""
    kill_again_s: float = 60.0
    """A kill without effect is repeated after this."""
    clock_slack_s: float = 300.0
    """By how much the scheduler's clock may differ before that is told."""
    reason_s: float = 30.0
    reason_most_s: float = 1800.0
    """A submission that waits for this long is asked about; the longest time until asked again."""
    adopt_s: float = 60.0
    """How long adopt() waits for answers."""
    flush_s: float = 60.0
    """How long close() waits until all that was taken is submitted."""
    close_s: float = 10.0
    """How long it then waits for kills that were asked for."""
    tries: int = 5
    """Of a submission refused in words nobody knows, and of a kill that is not done."""
    kill_chunk: int = 500
    history_chunk: int = 1000
    """The most ids in one such command."""
    tasks: int = 1000
    """In one array, where the scheduler does not say."""

    def timeout_s(self, verb: str) -> float:
        """Return the time-out of a command for this purpose."""
        return {"submit": self.submit_s, "kill": self.kill_s}.get(verb, self.query_s)


class TokenBucket:
    """A token bucket: `rate` tokens a second, at most `burst` of them saved up."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, max(1.0, burst)
        self._tokens, self._at = self._burst, float("-inf")

    def wait_s(self, now: float) -> float:
        """Return how long until a token is there: 0 if one is."""
        if self._at > float("-inf"):
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        lacking = 1.0 - self._tokens
        return 0.0 if lacking <= 1e-9 else lacking / self._rate

    def take(self) -> None:
        """Take a token, which wait_s() said was there."""
        self._tokens -= 1.0


class RateLimits:
    """All the buckets a command has to pass."""

    def __init__(self, pace: Pace) -> None:
        acts = TokenBucket(pace.submits_per_s, pace.submits_per_s)
        looks = TokenBucket(pace.queries_per_minute / 60, pace.queries_per_minute / 6)
        every = pace.commands_per_minute
        total = [] if every is None else [TokenBucket(every / 60, every / 4)]
        self._buckets = {True: [acts, *total], False: [looks, *total]}

    def wait_s(self, acts: bool, now: float) -> float:
        """Return how long until such a command may run."""
        return max(bucket.wait_s(now) for bucket in self._buckets[acts])

    def take(self, acts: bool) -> None:
        """Count a command."""
        for bucket in self._buckets[acts]:
            bucket.take()


class PollSchedule:
    """When to look at the queue next.

    Soon after something was submitted; then when, at the pace at which jobs have ended, the last
    of them should be done; ever more rarely while nothing happens or nothing answers.
    """

    def __init__(self, pace: Pace) -> None:
        share_s = 0.0 if pace.commands_per_minute is None else 120.0 / pace.commands_per_minute
        self._least_s = max(pace.poll_s / 10, 60.0 / pace.queries_per_minute, share_s)
        self._most_s = max(pace.poll_s, self._least_s)
        self._backoff_s = 10 * self._most_s
        self._interval_s = self._least_s
        self._last = float("-inf")
        self.due = float("inf")

    def stirred(self, now: float) -> None:
        """Note that something was done whose effect is worth seeing."""
        self._interval_s = self._least_s
        self.due = max(min(self.due, now + self._least_s), self._last + self._least_s)

    def at_once(self, now: float) -> None:
        """Look as soon as the buckets allow."""
        self.due = now

    def answered(self, now: float, left: int, ended: int) -> None:
        """Note a complete answer: so many jobs left, so many ended since the last one."""
        since_s = min(now - self._last, self._most_s) if self._last > float("-inf") else 0.0
        self._last = now
        if not left:
            self._interval_s, self.due = self._least_s, float("inf")
            return
        if ended and since_s:
            self._interval_s = MARGIN * left * since_s / ended
        else:
            self._interval_s *= 2
        self._interval_s = min(max(self._interval_s, self._least_s), self._most_s)
        self.due = now + self._interval_s

    def failed(self, now: float, failures: int) -> None:
        """Note that there was no complete answer, for the how-manieth time in a row."""
        self.due = now + min(self._least_s * 2.0 ** min(failures, 20), self._backoff_s)

    def needed(self, now: float) -> None:
        """See to it that a look is planned at all."""
        if self.due == float("inf"):
            self.stirred(now)

    @property
    def calm_s(self) -> float:
        """The longest time between two good answers that is nothing unusual."""
        return self._most_s
