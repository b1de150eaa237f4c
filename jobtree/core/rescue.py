"""The rescue policy: whom a lost attempt is charged to, and when waiting has been long enough.

Owns those judgements; pure: the clock and all evidence are arguments. Read next:
../master/watchdog.py, the life of a lost job.
"""

import re
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from jobtree.core.exit_status import NOT_OURS, WORKER_FAILED
from jobtree.core.job import Requirements

CRASH_SIGNALS = frozenset({3, 4, 5, 6, 7, 8, 11, 13, 14, 25, 26, 27, 31})
"""QUIT ILL TRAP ABRT BUS FPE SEGV PIPE ALRM XFSZ VTALRM PROF SYS: what a program does to itself."""

KILL_SIGNALS = frozenset({9, 15})
"""KILL TERM: how operators, schedulers and the kernel end what they want ended.

All others may be either's: schedulers warn by USR1, USR2 and XCPU, and so may a step do to itself.
"""

UNHEARD = "its own words did not arrive: the tree may not be there on that node"

UNEXPECTED = "unexpected "
"""So begin the last words of a worker that met what neither it nor its node was to blame for."""

NEVER_BEGAN = "it was said to run, but no worker has begun"
"""Why an issue is killed that no worker has claimed: charged, so that it ends some day."""

LAUNCHES = ("FAILED", "LAUNCH_FAILED")
"""Reasons of an end that may be the program's that was to be launched."""

UNCAUGHT = 1
"""Python's exit status for what nothing has caught; no worker ends so that is whole."""

REPLACED = "jobTree was replaced while it ran"

OUTDATED = "OUTDATED"
"""The reason of an end that may have come of it that another jobTree took the worker's place."""

UNSEEN = ("LAUNCH_FAILED", "LOST", "ENDED")
"""Reasons that say little by themselves: what the batch system said is told with them."""


class Policy(NamedTuple):
    """When to act, and how far to raise requests."""

    missing_s: float = 60.0  # a job absent from complete answers is given up after this
    unanswered_s: float = 600.0  # one whose submission was never answered, if no answer lists it
    silent_s: float = 600.0  # a worker without a heartbeat is killed after this
    kill_s: float = 60.0  # a kill nobody confirmed counts as done, the worker being fenced
    publish_s: float = 120.0  # what is still in the queue after its results is killed
    longest_step_s: float = float("inf")  # --maxJobDuration
    cool_down_s: float = 3600.0  # a node left out is used again after this
    memory_factor: float = 2.0  # a request for memory is raised so many times
    time_factor: float = 2.0
    largest_memory_bytes: int = 2**62  # the most that one job may ask for
    largest_time_s: float = float("inf")
    launches: int = 3  # so many failed launches in a row make submissions wait, ever longer
    hold_most_s: float = 300.0  # and for so long at most


def within(policy: Policy, memory_bytes: int | None, time_s: float | None) -> Policy:
    """Return a policy that asks for no more than this (None: no limit is known)."""
    return policy._replace(
        largest_memory_bytes=min(policy.largest_memory_bytes, memory_bytes or 2**62),
        largest_time_s=min(policy.largest_time_s, time_s or float("inf")),
    )


class Charge(IntEnum):
    """Who pays for an attempt that ended before its step did."""

    NOBODY = 0
    USER = 1  # a retry: the step failed by its own doing
    CRASH = 2  # a retry: it took its process down, so the next try gets one of its own
    FAULT = 3  # a rescue
    MEMORY = 4  # a rescue, and the next try asks for more memory
    TIME = 5  # a rescue, and the next try asks for more time


class Verdict(NamedTuple):
    """Who pays for a lost attempt, and what the next one gets."""

    charge: Charge
    why: str  # for people
    memory_bytes: int = 0  # the raised request, for MEMORY
    time_s: float = 0.0  # the same for TIME
    isolate: bool = False  # a process of its own: if that alone dies, its step has done it


class Ending(NamedTuple):
    """How an issue ended."""

    reason: str  # the scheduler's, by name
    exit_status: int | None = None
    signal: int | None = None
    killed_for: str = ""  # why this master had it killed; "": it had not
    node: str = ""
    said: str = ""  # what the batch system makes of it, for people


def judge(
    ending: Ending, granted: Requirements, policy: Policy, before: Sequence[str] = ()
) -> Verdict:
    """Return who pays for the step that was running when its issue ended like this.

    before: why earlier attempts at this very step were lost. What neither its node nor whoever
    ends jobs is known to do is the step's own doing when it happens again.
    """
    place = f" on {ending.node}" if ending.node else ""
    if ending.killed_for:
        return Verdict(Charge.FAULT, f"killed: {ending.killed_for}")
    if ending.reason == "OUT_OF_MEMORY":
        return _judge_memory(granted, policy, place)
    if ending.reason == "TIME_LIMIT":
        return _judge_time(granted, policy, place)
    if ending.reason == "REJECTED":
        return Verdict(Charge.USER, "the batch system refuses it")
    if ending.reason == "FAILED" and ending.signal in CRASH_SIGNALS:
        return Verdict(Charge.CRASH, f"took its process down by signal {ending.signal}{place}")
    if ending.reason == "FAILED" and ending.signal is not None:
        why = f"its worker was killed by signal {ending.signal}"
        if ending.signal in KILL_SIGNALS:
            return Verdict(Charge.FAULT, f"{why}{place}")
        return _judge_again(why, f"{why}{place}", before)
    told = _judge_status(ending, place, before)
    if told is not None:
        return told
    said = ending.said if ending.reason == "ENDED" else ""
    return Verdict(Charge.FAULT, f"{said or ending.reason.lower().replace('_', ' ')}{place}")


def _judge_again(way: str, why: str, before: Sequence[str]) -> Verdict:
    """Return who pays for what may be the step's own doing: the step, if it was so before."""
    ways = [each[len(way) : len(way) + 1] for each in before if each.startswith(way)]
    if any(following in ("", " ", ":", ",") for following in ways):
        return Verdict(Charge.CRASH, f"{why}, as before at this very step")
    return Verdict(Charge.FAULT, why, isolate=True)


def _judge_status(ending: Ending, place: str, before: Sequence[str]) -> Verdict | None:
    """Return who pays by the exit status that is told of the worker, None if it tells nothing."""
    status = ending.exit_status
    if status == NOT_OURS:
        return Verdict(Charge.NOBODY, f"a copy of its worker lost the claim{place}")
    if status == WORKER_FAILED:
        why = f"its worker could not go on{place}" + (f": {ending.said}" if ending.said else "")
        if ending.said.startswith(UNEXPECTED):
            way = f"its worker gave up: {ending.said.partition(':')[0]}"
            return _judge_again(way, f"its worker gave up: {ending.said}{place}", before)
        return Verdict(Charge.FAULT, why)
    if ending.reason == OUTDATED:
        return Verdict(Charge.FAULT, f"its worker gave up{place}: {REPLACED}")
    if ending.reason == "OK":  # a worker ends so once all is published: it is not what has ended
        return Verdict(Charge.FAULT, f"is said to have ended well{place}, but had not")
    if ending.reason == "FAILED" and status is not None:
        why = f"ended its process with exit status {status}{place}"
        return Verdict(Charge.CRASH, why)
    return None


def lacks_a_part(why: str) -> bool:
    """Tell whether a step failed because jobTree itself lacked a part of it, as its worker says."""
    return re.match(r"(ModuleNotFound|Import)Error: .*'(jobtree|batchsystems)\.", why) is not None


def failed_launch(ending: Ending, words: str, of_another: bool = False) -> Ending:
    """Return how an issue ended that no worker began; words: that worker's own last.

    What ended by itself before a step began was no step's doing: its node is at fault, or the site.
    Unless it was submitted by a jobTree that another has replaced since: then neither is.
    """
    status = ending.exit_status
    if of_another and ending.reason in LAUNCHES and status != NOT_OURS:
        return ending._replace(reason=OUTDATED, said=words or ending.said)
    if ending.reason != "FAILED" or status is None or status in (0, NOT_OURS):
        return ending
    unheard = UNHEARD if status == WORKER_FAILED else ""
    return ending._replace(reason="LAUNCH_FAILED", said=words or unheard or ending.said)


def judge_unclaimed(ending: Ending) -> Verdict:
    """Return who pays for the pack of an issue that ended before any worker began it."""
    if ending.killed_for:
        charge = Charge.FAULT if ending.killed_for == NEVER_BEGAN else Charge.NOBODY
        return Verdict(charge, f"killed: {ending.killed_for}")
    if ending.reason == OUTDATED:
        return Verdict(Charge.NOBODY, "was submitted by another jobTree")
    if ending.reason == "CANCELLED":
        return Verdict(Charge.FAULT, "removed from the queue")
    said = ending.reason.lower().replace("_", " ")
    if ending.signal is not None:
        said = f"killed by signal {ending.signal}"
    elif ending.exit_status is not None:
        said = f"{said}, exit status {ending.exit_status}"
    place = f" on {ending.node}" if ending.node else ""
    told = f": {ending.said}" if ending.said and ending.reason in UNSEEN else ""
    return Verdict(Charge.FAULT, f"its worker ended before it began ({said}{place}){told}")


def hold_s(failed_launches: int, policy: Policy) -> float:
    """Return how long to submit nothing when so many launches in a row came to nothing.

    One bad node is no reason to wait; where nothing at all starts, trying at once again would
    spend every job's rescues in a minute.
    """
    if failed_launches < policy.launches:
        return 0.0
    return min(2.0 ** min(failed_launches - policy.launches, 20), policy.hold_most_s)


def _judge_memory(granted: Requirements, policy: Policy, place: str) -> Verdict:
    had = granted.memory_bytes or 0
    why = f"out of memory at {had / 2**30:.3g} GiB{place}"
    more = min(int(had * policy.memory_factor), policy.largest_memory_bytes)
    if more <= had:
        return Verdict(Charge.USER, f"{why}; no machine here has more to give")
    return Verdict(Charge.MEMORY, why, memory_bytes=more)


def _judge_time(granted: Requirements, policy: Policy, place: str) -> Verdict:
    had = granted.time_s or 0.0
    why = f"reached its time limit of {had:.0f} s{place}"
    more = min(had * policy.time_factor, policy.largest_time_s)
    if more <= had:
        return Verdict(Charge.USER, f"{why}; no queue here has more to give")
    return Verdict(Charge.TIME, why, time_s=more)


def over_long(running_s: float | None, policy: Policy) -> bool:
    """Tell whether the step now running has run for longer than any may."""
    return running_s is not None and running_s > policy.longest_step_s


def missing_long_enough(since_s: float, answers: int, policy: Policy) -> bool:
    """Tell whether an absent issue is given up: two complete answers, and the grace over."""
    return answers >= 2 and since_s >= policy.missing_s


def unanswered_long_enough(since_s: float, answers: int, policy: Policy) -> bool:
    """Tell whether a submission nobody has answered, and no complete answer lists, is given up."""
    return answers >= 2 and since_s >= policy.unanswered_s


def silent_too_long(since_beat_s: float, policy: Policy) -> bool:
    """Tell whether a worker's heartbeat has been unchanged, by our own clock, for too long."""
    return since_beat_s > policy.silent_s
