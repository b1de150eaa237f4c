"""The ledger of nodes: who is left out, who is spared, who is forgiven."""

from __future__ import annotations

import pytest

from jobtree.core.node_health import COOL_DOWN_S, MOST_SAID, Excluded, NodeHealth, at_least


def noted(health: NodeHealth, node: str, *results: bool, now: float = 0.0) -> list[Excluded]:
    return [found for good in results if (found := health.note(node, good, now)) is not None]


def experienced() -> NodeHealth:
    """Return a ledger of a cluster of eight nodes, on each of which two jobs went well."""
    health = NodeHealth()
    for number in range(8):
        noted(health, f"n{number}", True, True)
    return health


def test_a_black_hole_is_left_out_after_three_jobs() -> None:
    health = experienced()
    assert noted(health, "hole", False, False) == []
    (found,) = noted(health, "hole", False)
    assert found.node == "hole"
    assert found.why == "3 of the last 3 batch jobs failed there, 0 of 16 elsewhere"
    assert [each.node for each in health.excluded()] == ["hole"]


def test_a_node_where_nothing_begins_is_left_out_before_any_other_is_known() -> None:
    health = NodeHealth()
    assert health.note("n1.cluster", good=False, now=0.0, launch_error="") is None
    found = health.note("n1", good=False, now=0.0, launch_error="")
    assert found is not None
    assert found.why == "the last 2 batch jobs could not even begin there"


def test_a_node_where_a_worker_began_meanwhile_is_compared_with_others() -> None:
    health = NodeHealth()
    for _ in range(5):
        assert health.note("n1", good=False, now=0.0, launch_error="") is None
        assert health.note("n1", good=True, now=0.0) is None


def test_a_file_server_that_is_away_does_not_take_the_whole_cluster() -> None:
    health = NodeHealth()
    for number in range(40):
        for _ in range(3):
            health.note(f"n{number}", good=False, now=0.0, launch_error="")
    assert len(health.excluded()) == 10


def test_it_is_said_once() -> None:
    health = experienced()
    assert len(noted(health, "hole", *[False] * 20)) == 1


def test_a_good_node_turned_bad_is_left_out_later() -> None:
    health = experienced()
    noted(health, "n0", *[True] * 30)
    assert noted(health, "n0", False, False, False) == []
    assert noted(health, "n0", *[False] * 20)


def test_a_workflow_that_fails_everywhere_blames_no_node() -> None:
    health = NodeHealth()
    found = [noted(health, f"n{at % 10}", False) for at in range(200)]
    assert not any(found)


def test_a_node_among_failing_ones_is_not_blamed() -> None:
    health = NodeHealth()
    for at in range(8):
        noted(health, f"n{at}", True, False)
    assert noted(health, "n0", False, False, False) == []


def test_with_nothing_to_compare_nothing_is_concluded() -> None:
    assert noted(NodeHealth(), "only", *[False] * 50) == []


def test_a_quarter_of_the_cluster_at_most_is_left_out() -> None:
    health = experienced()
    for number in range(8):
        noted(health, f"bad{number}", *[False] * 10)
    assert 1 <= len(health.excluded()) <= 4


def test_of_two_nodes_one_may_be_left_out() -> None:
    health = NodeHealth()
    noted(health, "good", *[True] * 20)
    assert noted(health, "bad", *[False] * 5)


def test_it_is_forgiven_after_a_while_with_a_clean_slate() -> None:
    health = experienced()
    noted(health, "hole", *[False] * 3, now=100.0)
    assert health.readmit_due(100.0 + COOL_DOWN_S - 1) == []
    assert health.readmit_due(100.0 + COOL_DOWN_S) == ["hole"]
    assert health.excluded() == []
    assert noted(health, "hole", False, False) == [], "old failures are forgotten"


def test_names_with_and_without_domain_are_one_node() -> None:
    health = experienced()
    noted(health, "hole.cluster.example", False, False)
    assert noted(health, "hole", False)
    assert health.clear(["hole.cluster.example"]) == ["hole"]


def test_a_job_of_unknown_place_is_not_noted() -> None:
    health = experienced()
    assert noted(health, "", *[False] * 10) == []


@pytest.mark.parametrize(
    ("successes", "trials", "rate", "chance"),
    [(0, 5, 0.3, 1.0), (5, 5, 0.5, 0.03125), (2, 3, 0.5, 0.5), (1, 1, 0.2, 0.2)],
)
def test_chances_are_binomial(successes: int, trials: int, rate: float, chance: float) -> None:
    assert at_least(successes, trials, rate) == pytest.approx(chance)


SETUP = "worker.setup, line 1: module load python: exit status 127"


def test_no_node_is_at_fault_where_several_fail_with_the_same_words() -> None:
    health = NodeHealth()
    for _ in range(2):
        found = health.note("n1", good=False, now=0.0, launch_error=SETUP)
    assert found is not None
    for node in ("n2", "n2", "n3", "n1"):
        assert health.note(node, good=False, now=0.0, launch_error=SETUP) is None
        assert health.excluded() == []


def test_the_same_words_count_where_others_do_well() -> None:
    health = NodeHealth()
    assert health.note("n3", good=True, now=0.0) is None
    for node in ("n1", "n1", "n2", "n2"):
        health.note(node, good=False, now=0.0, launch_error="no such directory: /home/ann")
    assert [each.node for each in health.excluded()] == ["n1", "n2"]


def test_words_that_differ_are_each_node_s_own() -> None:
    health = NodeHealth()
    for node in ("n1", "n1", "n2", "n2"):
        health.note(node, good=False, now=0.0, launch_error=f"the tree is not to be seen on {node}")
    assert [each.node for each in health.excluded()] == ["n1", "n2"]


def test_a_node_that_was_taken_back_has_said_nothing() -> None:
    health = NodeHealth()
    for _ in range(2):
        health.note("n1", good=False, now=0.0, launch_error=SETUP)
    health.clear(["n1"])
    for _ in range(2):
        health.note("n2", good=False, now=0.0, launch_error=SETUP)
    assert [each.node for each in health.excluded()] == ["n2"]


def test_only_the_latest_words_are_remembered() -> None:
    health = NodeHealth()
    for number in range(2 * MOST_SAID):
        health.note("n1", good=False, now=0.0, launch_error=f"cannot open orders/j-{number}")
        health.note("n1", good=False, now=0.0, launch_error=SETUP)
    assert len(health._said) == MOST_SAID
    assert SETUP in health._said
