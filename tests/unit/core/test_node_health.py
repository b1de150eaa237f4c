"""The ledger of nodes: who is left out, who is spared, who is forgiven."""

from __future__ import annotations

import pytest

from jobtree.core.node_health import COOL_DOWN_S, Excluded, Ledger, at_least


def noted(ledger: Ledger, node: str, *fared: bool, now: float = 0.0) -> list[Excluded]:
    return [found for good in fared if (found := ledger.note(node, good, now)) is not None]


def experienced() -> Ledger:
    """Return a ledger of a cluster of eight nodes, on each of which two jobs went well."""
    ledger = Ledger()
    for number in range(8):
        noted(ledger, f"n{number}", True, True)
    return ledger


def test_a_black_hole_is_left_out_after_three_jobs() -> None:
    ledger = experienced()
    assert noted(ledger, "hole", False, False) == []
    (found,) = noted(ledger, "hole", False)
    assert found.node == "hole"
    assert found.why == "3 of the last 3 batch jobs failed there, 0 of 16 elsewhere"
    assert [each.node for each in ledger.excluded()] == ["hole"]


def test_a_node_where_nothing_begins_is_left_out_before_any_other_is_known() -> None:
    ledger = Ledger()
    assert ledger.note("n1.cluster", good=False, now=0.0, unbegun="") is None
    found = ledger.note("n1", good=False, now=0.0, unbegun="")
    assert found is not None
    assert found.why == "the last 2 batch jobs could not even begin there"


def test_a_node_where_a_worker_began_meanwhile_is_compared_with_others() -> None:
    ledger = Ledger()
    for _ in range(5):
        assert ledger.note("n1", good=False, now=0.0, unbegun="") is None
        assert ledger.note("n1", good=True, now=0.0) is None


def test_a_file_server_that_is_away_does_not_take_the_whole_cluster() -> None:
    ledger = Ledger()
    for number in range(40):
        for _ in range(3):
            ledger.note(f"n{number}", good=False, now=0.0, unbegun="")
    assert len(ledger.excluded()) == 10


def test_it_is_said_once() -> None:
    ledger = experienced()
    assert len(noted(ledger, "hole", *[False] * 20)) == 1


def test_a_good_node_turned_bad_is_left_out_later() -> None:
    ledger = experienced()
    noted(ledger, "n0", *[True] * 30)
    assert noted(ledger, "n0", False, False, False) == []
    assert noted(ledger, "n0", *[False] * 20)


def test_a_workflow_that_fails_everywhere_blames_no_node() -> None:
    ledger = Ledger()
    found = [noted(ledger, f"n{at % 10}", False) for at in range(200)]
    assert not any(found)


def test_a_node_among_failing_ones_is_not_blamed() -> None:
    ledger = Ledger()
    for at in range(8):
        noted(ledger, f"n{at}", True, False)
    assert noted(ledger, "n0", False, False, False) == []


def test_with_nothing_to_compare_nothing_is_concluded() -> None:
    assert noted(Ledger(), "only", *[False] * 50) == []


def test_a_quarter_of_the_cluster_at_most_is_left_out() -> None:
    ledger = experienced()
    for number in range(8):
        noted(ledger, f"bad{number}", *[False] * 10)
    assert 1 <= len(ledger.excluded()) <= 4


def test_of_two_nodes_one_may_be_left_out() -> None:
    ledger = Ledger()
    noted(ledger, "good", *[True] * 20)
    assert noted(ledger, "bad", *[False] * 5)


def test_it_is_forgiven_after_a_while_with_a_clean_slate() -> None:
    ledger = experienced()
    noted(ledger, "hole", *[False] * 3, now=100.0)
    assert ledger.forgive(100.0 + COOL_DOWN_S - 1) == []
    assert ledger.forgive(100.0 + COOL_DOWN_S) == ["hole"]
    assert ledger.excluded() == []
    assert noted(ledger, "hole", False, False) == [], "old failures are forgotten"


def test_names_with_and_without_domain_are_one_node() -> None:
    ledger = experienced()
    noted(ledger, "hole.cluster.example", False, False)
    assert noted(ledger, "hole", False)
    assert ledger.clear(["hole.cluster.example"]) == ["hole"]


def test_a_job_of_unknown_place_is_not_noted() -> None:
    ledger = experienced()
    assert noted(ledger, "", *[False] * 10) == []


@pytest.mark.parametrize(
    ("successes", "trials", "rate", "chance"),
    [(0, 5, 0.3, 1.0), (5, 5, 0.5, 0.03125), (2, 3, 0.5, 0.5), (1, 1, 0.2, 0.2)],
)
def test_chances_are_binomial(successes: int, trials: int, rate: float, chance: float) -> None:
    assert at_least(successes, trials, rate) == pytest.approx(chance)


SETUP = "worker.setup, line 1: module load python: exit status 127"


def test_no_node_is_at_fault_where_several_fail_with_the_same_words() -> None:
    ledger = Ledger()
    for _ in range(2):
        found = ledger.note("n1", good=False, now=0.0, unbegun=SETUP)
    assert found is not None
    for node in ("n2", "n2", "n3", "n1"):
        assert ledger.note(node, good=False, now=0.0, unbegun=SETUP) is None
        assert ledger.excluded() == []


def test_the_same_words_count_where_others_do_well() -> None:
    ledger = Ledger()
    assert ledger.note("n3", good=True, now=0.0) is None
    for node in ("n1", "n1", "n2", "n2"):
        ledger.note(node, good=False, now=0.0, unbegun="no such directory: /home/ann")
    assert [each.node for each in ledger.excluded()] == ["n1", "n2"]


def test_words_that_differ_are_each_node_s_own() -> None:
    ledger = Ledger()
    for node in ("n1", "n1", "n2", "n2"):
        ledger.note(node, good=False, now=0.0, unbegun=f"the tree is not to be seen on {node}")
    assert [each.node for each in ledger.excluded()] == ["n1", "n2"]
