"""Pacing: how often a scheduler may be troubled, and how long it is waited for. Pure.

Owns token buckets, the schedule of polls and the time-outs; time is always an argument.
Read next: engine.py.
"""

from __future__ import annotations

from dataclasses import dataclass

MARGIN = 1.2
"""By how much longer jobs are expected to take than at the pace at which others have ended."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much load a site allows.

    submits_per_s: submissions and kills, queries_per_minute: all that only looks,
    commands_per_minute: everything together (None: no further limit). poll_s: the longest time
    between two looks at the queue while jobs are out, poll_min_s: the shortest.
    poll_backoff_s: the longest while the scheduler gives no answer.
    """

    submits_per_s: float = 5.0
    queries_per_minute: float = 30.0
    commands_per_minute: float | None = None
    poll_s: float = 30.0
    poll_min_s: float = 3.0
    poll_backoff_s: float = 300.0

    def __post_init__(self) -> None:
        for name in ("submits_per_s", "queries_per_minute", "commands_per_minute", "poll_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be more than 0, not {value!r}")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait before something is believed, and how much is asked at once.

    submit_s, query_s, kill_s: time-outs of single commands. query_tries: how often one query is
    made in a row. visibility_s: a submission without a clear answer may still appear for this
    long; two_looks_s: the least time between the two looks that must both not find it.
    absence_s: a job is gone if it is not in the queue for this long (and not in the history);
    history_s: how long to wait for a history that gives no answer, or says that the job still
    runs; history_pause_s: between two askings of it, growing to a minute. hold_s: pause after a
    submission that must wait, doubled up to hold_most_s. held_s: a job that is stuck for this
    long is ended. stale_s: without a complete answer for this long nothing is said of jobs.
    kill_again_s: a kill without effect is repeated. clock_slack_s: by how much the scheduler's
    clock may differ before that is told. reason_s: a submission that waits for this long is
    asked about, and again after twice as long, up to reason_most_s. adopt_s: how long adopt()
    waits for answers. flush_s: how long close() waits until all that was taken is submitted,
    close_s: how long it then waits for kills that were asked for. tries: how often a submission
    is made that is refused in words nobody knows, and a kill that the scheduler will not do.
    """

    submit_s: float = 120.0
    query_s: float = 120.0
    kill_s: float = 120.0
    query_tries: int = 2
    visibility_s: float = 120.0
    two_looks_s: float = 60.0
    absence_s: float = 60.0
    history_s: float = 600.0
    history_pause_s: float = 5.0
    hold_s: float = 5.0
    hold_most_s: float = 300.0
    held_s: float = 120.0
    stale_s: float = 120.0
    kill_again_s: float = 60.0
    clock_slack_s: float = 300.0
    reason_s: float = 30.0
    reason_most_s: float = 1800.0
    adopt_s: float = 60.0
    flush_s: float = 60.0
    close_s: float = 10.0
    tries: int = 5
    kill_chunk: int = 500
    history_chunk: int = 1000
    tasks: int = 1000

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
        self._least_s = max(pace.poll_min_s, 60.0 / pace.queries_per_minute, share_s)
        self._most_s = max(pace.poll_s, self._least_s)
        self._backoff_s = max(pace.poll_backoff_s, self._most_s)
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
