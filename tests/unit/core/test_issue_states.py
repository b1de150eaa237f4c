"""The issue machine: every cell filled, and the promises its table makes."""

from __future__ import annotations

import pytest

from jobtree.core.issue_states import TABLE, Action, News, State, advance


def states_after(state: State, *news: News) -> list[State]:
    seen = []
    for each in news:
        state = advance(state, each).state
        seen.append(state)
    return seen


def test_every_state_has_its_changes_and_what_is_not_listed_changes_nothing() -> None:
    assert set(TABLE) == set(State)
    for state in State:
        for news in set(News) - set(TABLE[state]):
            assert advance(state, news) == (state, ())


def test_the_plain_life_of_an_issue() -> None:
    life = states_after(State.SUBMITTING, News.ACCEPTED, News.CLAIMED, News.PUBLISHED, News.ENDED)
    assert life == [State.QUEUED, State.RUNNING, State.PUBLISHED, State.ENDED]


def test_absence_is_never_success_nor_failure_at_once() -> None:
    for state in (State.QUEUED, State.RUNNING):
        change = advance(state, News.ABSENT)
        assert change.state == State.VANISHED
        assert not change.actions


def test_a_submission_in_doubt_is_not_given_up_by_absence_or_more_doubt() -> None:
    for news in (News.ABSENT, News.UNSURE):
        assert advance(State.AMBIGUOUS, news) == (State.AMBIGUOUS, ())


@pytest.mark.parametrize("state", [State.SUBMITTING, State.AMBIGUOUS])
def test_a_submission_nobody_knows_after_a_restart_is_fenced_and_given_out_again(
    state: State,
) -> None:
    change = advance(state, News.OVERDUE)
    assert change.state == State.ENDED
    assert change.actions.index(Action.FENCE) < change.actions.index(Action.COLLECT)


def test_a_lost_issue_is_fenced_before_its_jobs_are_given_out_again() -> None:
    actions = advance(State.VANISHED, News.OVERDUE).actions
    assert actions.index(Action.FENCE) < actions.index(Action.COLLECT)


def test_a_vanished_issue_that_shows_again_goes_on() -> None:
    assert advance(State.VANISHED, News.PRESENT).state == State.RUNNING


def test_results_are_read_once_when_published_and_the_end_only_tidies() -> None:
    assert advance(State.RUNNING, News.PUBLISHED).actions == (Action.COLLECT,)
    assert advance(State.PUBLISHED, News.ENDED).actions == (Action.TIDY,)


def test_a_published_issue_still_in_the_queue_after_the_grace_is_killed() -> None:
    change = advance(State.PUBLISHED, News.OVERDUE)
    assert (change.state, change.actions) == (State.PUBLISHED, (Action.KILL,))


@pytest.mark.parametrize("state", [s for s in State if s not in (State.PUBLISHED, State.ENDED)])
def test_a_kill_fences_first_and_settles_only_when_it_is_confirmed(state: State) -> None:
    change = advance(state, News.KILL)
    assert change.state == State.KILLING
    assert Action.COLLECT not in change.actions
    assert Action.KILL in change.actions
    for confirmation in (News.ENDED, News.ABSENT, News.OVERDUE):
        assert Action.COLLECT in advance(State.KILLING, confirmation).actions


@pytest.mark.parametrize("state", State)
def test_every_way_into_ended_tidies(state: State) -> None:
    for news in News:
        change = advance(state, news)
        if change.state == State.ENDED and state != State.ENDED:
            assert change.actions[-1] == Action.TIDY


@pytest.mark.parametrize("news", News)
def test_nothing_moves_an_ended_issue(news: News) -> None:
    assert advance(State.ENDED, news) == (State.ENDED, ())
