"""The rescue policy: who pays for an attempt that was lost, and how long to wait."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jobtree.core.job import Requirements
from jobtree.core.rescue import (
    NEVER_BEGAN,
    Charge,
    Ending,
    Policy,
    Verdict,
    failed_launch,
    hold_s,
    judge,
    judge_unclaimed,
    lacks_a_part,
    missing_long_enough,
    over_long,
    silent_too_long,
    unanswered_long_enough,
    within,
)
from jobtree.mailbox.last_error import format_error, last_error
from jobtree.master.node_exclusion import mark_node_failure

POLICY = Policy(largest_memory_bytes=16 * 2**30)
GRANTED = Requirements(4 * 2**30, 1, 0, 600.0)


@pytest.mark.parametrize(
    ("ending", "charge"),
    [
        (Ending("FAILED", signal=11), Charge.CRASH),
        (Ending("FAILED", signal=6), Charge.CRASH),
        (Ending("FAILED", signal=9), Charge.FAULT),
        (Ending("FAILED", signal=15), Charge.FAULT),
        (Ending("FAILED", exit_status=3), Charge.CRASH),
        (Ending("OK", exit_status=0), Charge.FAULT),
        (Ending("FAILED", exit_status=70), Charge.FAULT),
        (Ending("FAILED", exit_status=75), Charge.NOBODY),
        (Ending("NODE_FAILED"), Charge.FAULT),
        (Ending("PREEMPTED"), Charge.FAULT),
        (Ending("CANCELLED"), Charge.FAULT),
        (Ending("LAUNCH_FAILED", exit_status=127), Charge.FAULT),
        (Ending("LOST"), Charge.FAULT),
        (Ending("ENDED"), Charge.FAULT),
        (Ending("REJECTED"), Charge.USER),
        (Ending("OUT_OF_MEMORY", signal=9), Charge.MEMORY),
        (Ending("TIME_LIMIT", signal=15), Charge.TIME),
        (Ending("FAILED", signal=11, killed_for="over-long"), Charge.FAULT),
    ],
)
def test_who_pays(ending: Ending, charge: Charge) -> None:
    assert judge(ending, GRANTED, POLICY).charge == charge


def test_out_of_memory_doubles_up_to_the_largest_machine_then_is_the_users() -> None:
    assert judge(Ending("OUT_OF_MEMORY"), GRANTED, POLICY).memory_bytes == 8 * 2**30
    large = GRANTED._replace(memory_bytes=12 * 2**30)
    assert judge(Ending("OUT_OF_MEMORY"), large, POLICY).memory_bytes == 16 * 2**30
    full = GRANTED._replace(memory_bytes=16 * 2**30)
    verdict = judge(Ending("OUT_OF_MEMORY"), full, POLICY)
    assert verdict.charge == Charge.USER
    assert "no machine" in verdict.why


def test_a_time_limit_asks_for_more_time() -> None:
    assert judge(Ending("TIME_LIMIT"), GRANTED, POLICY).time_s == 1200.0


def test_an_issue_no_worker_began_charges_the_fault_budget_so_that_it_ends() -> None:
    verdict = judge_unclaimed(Ending("LAUNCH_FAILED", exit_status=127, node="n1"))
    assert verdict.charge == Charge.FAULT
    assert "127" in verdict.why
    assert "n1" in verdict.why


def test_an_issue_we_killed_before_it_began_charges_nobody() -> None:
    assert judge_unclaimed(Ending("CANCELLED", killed_for="kill")).charge == Charge.NOBODY


def test_an_issue_that_ran_for_long_and_never_began_is_charged_so_that_it_ends() -> None:
    assert judge_unclaimed(Ending("CANCELLED", killed_for=NEVER_BEGAN)).charge == Charge.FAULT


def test_missing_takes_two_complete_answers_and_the_grace() -> None:
    assert not missing_long_enough(1e9, 1, POLICY)
    assert not missing_long_enough(POLICY.missing_s - 1, 5, POLICY)
    assert missing_long_enough(POLICY.missing_s, 2, POLICY)


def test_an_unanswered_submission_takes_two_complete_answers_and_a_longer_grace() -> None:
    assert not unanswered_long_enough(1e9, 1, POLICY)
    assert not unanswered_long_enough(POLICY.unanswered_s - 1, 5, POLICY)
    assert unanswered_long_enough(POLICY.unanswered_s, 2, POLICY)


def test_over_long_and_silent() -> None:
    policy = POLICY._replace(longest_step_s=10.0, silent_s=5.0)
    assert over_long(11.0, policy)
    assert not over_long(9.0, policy)
    assert not over_long(None, policy)
    assert silent_too_long(6.0, policy)
    assert not silent_too_long(4.0, policy)


def test_a_time_limit_doubles_up_to_the_longest_queue_then_is_the_users() -> None:
    policy = within(POLICY, None, 1000.0)
    assert judge(Ending("TIME_LIMIT"), GRANTED, policy).time_s == 1000.0
    verdict = judge(Ending("TIME_LIMIT"), GRANTED._replace(time_s=1000.0), policy)
    assert verdict.charge == Charge.USER
    assert "no queue" in verdict.why


def test_a_policy_is_kept_within_what_is_known_to_be_possible() -> None:
    assert within(POLICY, None, None) == POLICY
    tight = within(POLICY, 2**30, 5.0)
    assert (tight.largest_memory_bytes, tight.largest_time_s) == (2**30, 5.0)
    assert within(tight, 2**31, 9.0) == tight


def test_what_the_batch_system_says_of_a_failed_launch_is_passed_on() -> None:
    ending = Ending("LAUNCH_FAILED", said="the directory of its output may be missing")
    assert judge_unclaimed(ending).why.endswith("the directory of its output may be missing")


def test_launch_after_launch_that_fails_makes_submissions_wait_ever_longer() -> None:
    waits = [hold_s(count, POLICY) for count in range(1, 30)]
    assert waits[:5] == [0.0, 0.0, 1.0, 2.0, 4.0]
    assert waits[-1] == POLICY.hold_most_s


def test_what_is_gone_without_a_verdict_is_told_with_what_is_known() -> None:
    ending = Ending("ENDED", said="missing from the batch system")
    verdict = judge(ending, GRANTED, POLICY)
    assert verdict == Verdict(Charge.FAULT, "missing from the batch system")
    assert judge_unclaimed(ending).why.endswith("(ended): missing from the batch system")


def test_a_worker_that_gives_up_before_it_began_is_a_failed_launch_told_in_its_words() -> None:
    unseen = "the tree /t is not to be seen on the node n3"
    ending = failed_launch(Ending("FAILED", 70, node="n3"), unseen)
    assert ending.reason == "LAUNCH_FAILED"
    assert judge_unclaimed(ending).why.endswith(unseen)
    unheard = failed_launch(Ending("FAILED", 70, node="n3"), "")
    assert "the tree may not be there on that node" in judge_unclaimed(unheard).why


@pytest.mark.parametrize(("status", "signal"), [(75, None), (None, 9), (0, None)])
def test_a_lost_claim_and_a_kill_are_no_failed_launches(
    status: int | None, signal: int | None
) -> None:
    ending = Ending("FAILED", status, signal)
    assert failed_launch(ending, "") == ending


def test_a_node_without_python_is_a_failed_launch() -> None:
    assert failed_launch(Ending("FAILED", 127), "").reason == "LAUNCH_FAILED"


@pytest.mark.parametrize("ending", [Ending("FAILED", 2, node="n3"), Ending("LAUNCH_FAILED")])
def test_nobody_and_no_node_is_charged_with_a_launch_of_a_jobtree_that_is_gone(
    ending: Ending,
) -> None:
    outdated = failed_launch(ending, "", of_another=True)
    assert judge_unclaimed(outdated).charge == Charge.NOBODY
    issue: Any = SimpleNamespace(killed_for="", node_ok=None)
    mark_node_failure(issue, outdated)
    assert issue.node_ok is None
    mark_node_failure(issue, failed_launch(ending, ""))
    assert issue.node_ok is False


def test_a_worker_that_lacks_a_part_of_a_jobtree_that_is_gone_costs_no_retry() -> None:
    assert judge(Ending("OUTDATED", 1), GRANTED, POLICY).charge == Charge.FAULT
    assert judge(Ending("OUTDATED", 70, said="no disk"), GRANTED, POLICY).why.endswith("no disk")
    assert lacks_a_part("ModuleNotFoundError: No module named 'jobtree.jobfile'")
    assert lacks_a_part("ImportError: cannot import name 'load' from 'jobtree.store' (/a/store.py)")
    assert not lacks_a_part("ModuleNotFoundError: No module named 'numpy.linalg'")
    assert not lacks_a_part("ValueError: 'jobtree.x'")


def test_last_words_are_those_of_a_task() -> None:
    printed = "noise\n" + format_error(3, OSError(5, "no disk"), expected=True)
    printed += format_error(4, ValueError("odd\nmore"), expected=False)
    assert last_error(printed, 3) == "[Errno 5] no disk"
    assert last_error(printed, 4) == "unexpected ValueError: odd"
    assert last_error(printed, 5) == ""
    assert last_error("jobtree worker: of another version\n", 5) == "of another version"


SELF = "its worker was killed by signal 10"


@pytest.mark.parametrize("signal", [13, 14, 25, 26, 27])
def test_what_only_a_step_does_to_itself_is_charged_to_it_at_once(signal: int) -> None:
    assert judge(Ending("FAILED", signal=signal), GRANTED, POLICY).charge == Charge.CRASH


@pytest.mark.parametrize("signal", [1, 2, 10, 12, 24, 34])
def test_what_may_be_a_schedulers_warning_is_tried_once_more_in_a_process_of_its_own(
    signal: int,
) -> None:
    first = judge(Ending("FAILED", signal=signal, node="n1"), GRANTED, POLICY)
    assert (first.charge, first.isolate) == (Charge.FAULT, True)
    again = judge(Ending("FAILED", signal=signal, node="n2"), GRANTED, POLICY, [first.why])
    assert again.charge == Charge.CRASH
    assert again.why.endswith("on n2, as before at this very step")


@pytest.mark.parametrize(
    ("before", "charge"),
    [
        ([], Charge.FAULT),
        (["node failed on n1", "its worker was killed by signal 9 on n1"], Charge.FAULT),
        ([f"{SELF}2 on n1"], Charge.FAULT),
        (["killed: no heartbeat for 600 s", f"{SELF} on n1", "preempted"], Charge.CRASH),
        ([SELF], Charge.CRASH),
    ],
)
def test_the_same_way_twice(before: list[str], charge: Charge) -> None:
    assert judge(Ending("FAILED", signal=10), GRANTED, POLICY, before).charge == charge


@pytest.mark.parametrize(
    "ending",
    [
        Ending("FAILED", signal=9),
        Ending("FAILED", signal=15),
        Ending("NODE_FAILED"),
        Ending("PREEMPTED"),
        Ending("CANCELLED"),
        Ending("FAILED", 70, said="[Errno 28] No space left on device"),
        Ending("FAILED", signal=10, killed_for="no heartbeat"),
    ],
)
def test_what_comes_from_outside_has_its_whole_budget(ending: Ending) -> None:
    first = judge(ending, GRANTED, POLICY)
    again = judge(ending, GRANTED, POLICY, [first.why] * 5)
    assert (again.charge, again.isolate) == (Charge.FAULT, False)


def test_a_worker_that_breaks_twice_at_a_step_is_the_steps_failure() -> None:
    ending = Ending("FAILED", 70, said="unexpected TypeError: Object at 0x7f12 is odd", node="n1")
    first = judge(ending, GRANTED, POLICY)
    assert first.charge == Charge.FAULT
    other = ending._replace(said="unexpected TypeError: Object at 0x8134 is odd", node="n2")
    again = judge(other, GRANTED, POLICY, [first.why])
    assert again.charge == Charge.CRASH
    assert "Object at 0x8134 is odd" in again.why
    differs = ending._replace(said="unexpected ValueError: x")
    assert judge(differs, GRANTED, POLICY, [first.why]).charge == Charge.FAULT
